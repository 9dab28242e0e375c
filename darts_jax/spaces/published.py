"""The genotypes of the papers, as their authors' code publishes them, by name.

A cell is written as the sums that make its nodes, separated by bars: in
``"sep_conv_3x3 0 + skip_connect 1 | ..."`` the first node is a separable convolution
of state 0 plus state 1. The output concatenates all nodes, or those after an arrow.
NASNet and AmoebaNet cells have five nodes and operations outside the DARTS search
space, but their networks are stacked the DARTS way, so they name that space too.
This module needs the standard library only.
"""

from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.published_mobile import MOBILE_NETWORKS, MOBILE_SOURCES
from darts_jax.spaces.recurrent import PUBLISHED_RECURRENT

_INPUTS = 2

_TABLE = {  # name: (source, normal cell, reduction cell)
    "NASNet": (
        "Zoph et al. (2018), as transcribed by Liu et al. (2019)",
        "sep_conv_5x5 1 + sep_conv_3x3 0 | sep_conv_5x5 0 + sep_conv_3x3 0 | "
        "avg_pool_3x3 1 + skip_connect 0 | avg_pool_3x3 0 + avg_pool_3x3 0 | "
        "sep_conv_3x3 1 + skip_connect 1",
        "sep_conv_5x5 1 + sep_conv_7x7 0 | max_pool_3x3 1 + sep_conv_7x7 0 | "
        "avg_pool_3x3 1 + sep_conv_5x5 0 | skip_connect 3 + avg_pool_3x3 2 | "
        "sep_conv_3x3 2 + max_pool_3x3 1 -> 4 5 6",
    ),
    "AmoebaNet": (
        "Real et al. (2019), AmoebaNet-A, as transcribed by Liu et al. (2019)",
        "avg_pool_3x3 0 + max_pool_3x3 1 | sep_conv_3x3 0 + sep_conv_5x5 2 | "
        "sep_conv_3x3 0 + avg_pool_3x3 3 | sep_conv_3x3 1 + skip_connect 1 | "
        "skip_connect 0 + avg_pool_3x3 1 -> 4 5 6",
        "avg_pool_3x3 0 + sep_conv_3x3 1 | max_pool_3x3 0 + sep_conv_7x7 2 | "
        "sep_conv_7x7 0 + avg_pool_3x3 1 | max_pool_3x3 0 + max_pool_3x3 1 | "
        "conv_7x1_1x7 0 + sep_conv_3x3 5 -> 3 4 6",
    ),
    "DARTS_V1": (
        "Liu et al. (2019), DARTS, first order",
        "sep_conv_3x3 1 + sep_conv_3x3 0 | skip_connect 0 + sep_conv_3x3 1 | "
        "skip_connect 0 + sep_conv_3x3 1 | sep_conv_3x3 0 + skip_connect 2",
        "max_pool_3x3 0 + max_pool_3x3 1 | skip_connect 2 + max_pool_3x3 0 | "
        "max_pool_3x3 0 + skip_connect 2 | skip_connect 2 + avg_pool_3x3 0",
    ),
    "DARTS_V2": (
        "Liu et al. (2019), DARTS, second order",
        "sep_conv_3x3 0 + sep_conv_3x3 1 | sep_conv_3x3 0 + sep_conv_3x3 1 | "
        "sep_conv_3x3 1 + skip_connect 0 | skip_connect 0 + dil_conv_3x3 2",
        "max_pool_3x3 0 + max_pool_3x3 1 | skip_connect 2 + max_pool_3x3 1 | "
        "max_pool_3x3 0 + skip_connect 2 | skip_connect 2 + max_pool_3x3 1",
    ),
    "PC_DARTS_cifar": (
        "Xu et al. (2020), PC-DARTS, searched on CIFAR-10",
        "sep_conv_3x3 1 + skip_connect 0 | sep_conv_3x3 0 + dil_conv_3x3 1 | "
        "sep_conv_5x5 0 + sep_conv_3x3 1 | avg_pool_3x3 0 + dil_conv_3x3 1",
        "sep_conv_5x5 1 + max_pool_3x3 0 | sep_conv_5x5 1 + sep_conv_5x5 2 | "
        "sep_conv_3x3 0 + sep_conv_3x3 3 | sep_conv_3x3 1 + sep_conv_3x3 2",
    ),
    "PC_DARTS_image": (
        "Xu et al. (2020), PC-DARTS, searched on ImageNet",
        "skip_connect 1 + sep_conv_3x3 0 | sep_conv_3x3 0 + skip_connect 1 | "
        "sep_conv_3x3 1 + sep_conv_3x3 3 | sep_conv_3x3 1 + dil_conv_5x5 4",
        "sep_conv_3x3 0 + skip_connect 1 | dil_conv_5x5 2 + max_pool_3x3 1 | "
        "sep_conv_3x3 2 + sep_conv_3x3 1 | sep_conv_5x5 0 + sep_conv_3x3 3",
    ),
    "PDARTS": (
        "Chen et al. (2019), P-DARTS, searched on CIFAR-10",
        "skip_connect 0 + dil_conv_3x3 1 | skip_connect 0 + sep_conv_3x3 1 | "
        "sep_conv_3x3 1 + sep_conv_3x3 3 | sep_conv_3x3 0 + dil_conv_5x5 4",
        "avg_pool_3x3 0 + sep_conv_5x5 1 | sep_conv_3x3 0 + dil_conv_5x5 2 | "
        "max_pool_3x3 0 + dil_conv_3x3 1 | dil_conv_3x3 1 + dil_conv_5x5 3",
    ),
    "DrNAS_cifar10": (
        "Chen et al. (2021), DrNAS, searched on CIFAR-10",
        "sep_conv_3x3 0 + sep_conv_5x5 1 | sep_conv_3x3 1 + sep_conv_3x3 2 | "
        "skip_connect 0 + sep_conv_3x3 1 | sep_conv_3x3 2 + dil_conv_5x5 3",
        "max_pool_3x3 0 + sep_conv_5x5 1 | dil_conv_5x5 2 + sep_conv_5x5 1 | "
        "sep_conv_5x5 1 + dil_conv_5x5 3 | skip_connect 4 + sep_conv_5x5 1",
    ),
    "DrNAS_imagenet": (
        "Chen et al. (2021), DrNAS, searched on ImageNet",
        "sep_conv_3x3 1 + sep_conv_3x3 0 | sep_conv_3x3 0 + sep_conv_3x3 1 | "
        "sep_conv_3x3 0 + dil_conv_3x3 3 | skip_connect 0 + sep_conv_3x3 1",
        "max_pool_3x3 0 + sep_conv_3x3 1 | sep_conv_3x3 0 + skip_connect 2 | "
        "sep_conv_3x3 0 + sep_conv_3x3 2 | sep_conv_3x3 3 + sep_conv_3x3 1",
    ),
    "SDARTS_RS": (
        "Chen and Hsieh (2020), SmoothDARTS, random smoothing",
        "sep_conv_3x3 1 + sep_conv_3x3 0 | sep_conv_5x5 1 + skip_connect 0 | "
        "sep_conv_3x3 3 + skip_connect 1 | sep_conv_3x3 1 + dil_conv_3x3 2",
        "max_pool_3x3 0 + sep_conv_3x3 1 | skip_connect 2 + max_pool_3x3 0 | "
        "dil_conv_5x5 3 + max_pool_3x3 0 | sep_conv_3x3 2 + sep_conv_5x5 3",
    ),
    "SDARTS_ADV": (
        "Chen and Hsieh (2020), SmoothDARTS, adversarial training",
        "sep_conv_3x3 0 + sep_conv_3x3 1 | sep_conv_3x3 1 + skip_connect 0 | "
        "sep_conv_5x5 0 + dil_conv_3x3 3 | dil_conv_3x3 4 + skip_connect 0",
        "max_pool_3x3 0 + sep_conv_5x5 1 | skip_connect 2 + max_pool_3x3 0 | "
        "skip_connect 3 + skip_connect 2 | skip_connect 2 + sep_conv_5x5 4",
    ),
    "DARTS_PT": (
        "Wang et al. (2021), DARTS-PT, first of the four published cells",
        "sep_conv_3x3 0 + sep_conv_3x3 1 | sep_conv_5x5 0 + dil_conv_3x3 1 | "
        "skip_connect 0 + skip_connect 2 | skip_connect 0 + max_pool_3x3 4",
        "sep_conv_3x3 0 + avg_pool_3x3 1 | dil_conv_5x5 1 + dil_conv_3x3 2 | "
        "avg_pool_3x3 0 + max_pool_3x3 2 | sep_conv_3x3 2 + skip_connect 4",
    ),
    "GDAS_V1": (
        "Dong and Yang (2019), GDAS",
        "skip_connect 0 + skip_connect 1 | skip_connect 0 + sep_conv_5x5 2 | "
        "sep_conv_3x3 3 + skip_connect 0 | sep_conv_5x5 4 + sep_conv_3x3 3",
        "sep_conv_5x5 0 + sep_conv_3x3 1 | sep_conv_5x5 2 + sep_conv_5x5 1 | "
        "dil_conv_5x5 2 + sep_conv_3x3 1 | sep_conv_5x5 0 + sep_conv_5x5 2",
    ),
    "SNAS_mild": (
        "Xie et al. (2019), SNAS, mild constraint",
        "sep_conv_3x3 0 + sep_conv_3x3 1 | skip_connect 0 + dil_conv_3x3 1 | "
        "skip_connect 0 + skip_connect 1 | skip_connect 0 + sep_conv_3x3 1",
        "max_pool_3x3 0 + max_pool_3x3 1 | max_pool_3x3 1 + skip_connect 2 | "
        "max_pool_3x3 1 + skip_connect 2 | max_pool_3x3 0 + dil_conv_5x5 2",
    ),
}


def _cell(text: str) -> CellGenotype:
    sums, _, output = text.partition(" -> ")
    nodes = sums.split(" | ")
    choices = [
        KeptEdge(target, int(source), operation)
        for target, node in enumerate(nodes, start=_INPUTS)
        for operation, source in (term.split() for term in node.split(" + "))
    ]
    states = tuple(int(state) for state in output.split())
    every_node = tuple(range(_INPUTS, _INPUTS + len(nodes)))
    return CellGenotype(_INPUTS, tuple(choices), states or every_node)


PUBLISHED: dict[str, Genotype] = {
    name: Genotype("darts", {"normal": _cell(normal), "reduce": _cell(reduce)})
    for name, (_, normal, reduce) in _TABLE.items()
} | MOBILE_NETWORKS
"""Name -> published genotype of cells for images, or of a mobile network."""
SOURCES: dict[str, str] = {
    name: source for name, (source, _, _) in _TABLE.items()
} | MOBILE_SOURCES


NAMED: dict[str, Genotype] = PUBLISHED | PUBLISHED_RECURRENT
"""Published genotypes of all families of spaces; ``PUBLISHED`` has those of images."""


def get_genotype(name: str) -> Genotype:
    """Returns the published genotype of a name, or the one that `read_genotype` reads.

    Args:
      name: a key of ``NAMED``, or a source as `read_genotype` takes it.

    Raises:
      InputError: it is neither; the message has the nearest name.
    """
    from darts_jax.spaces.reading import read_genotype

    return NAMED[name] if name in NAMED else read_genotype(name)
