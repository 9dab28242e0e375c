"""Imported weights of DARTS's networks against PyTorch modules.

The modules are written from the papers and carry the published names: those of DARTS's
`NetworkCIFAR` and `NetworkImageNet`.
"""

import numpy as np
import pytest

from darts_jax import interop
from darts_jax.models.network import AuxiliaryHead, Network
from darts_jax.spaces.darts import MACRO
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.published import get_genotype

pytest.importorskip("torch", reason="PyTorch, which is compared with, is not installed")

from tests.support.pytorch import (
    ALIKE,
    CLASSES,
    Darts,
    assert_equal_logits,
    check_export,
    check_network,
    conv,
    nn,
    operation,
    preprocesses,
    randomize,
    torch,
    torch_logits,
)


class KeptCell(nn.Module):
    """A genotype's cell of DARTS."""

    def __init__(self, pairs, concat, widths, c, reduces, after):
        super().__init__()
        self.pairs, self.concat = pairs, concat
        self.preprocess0, self.preprocess1 = preprocesses(widths, c, after, True)
        strides = [2 if reduces and source < 2 else 1 for _, source in pairs]
        made = zip(pairs, strides, strict=True)
        self._ops = nn.ModuleList(operation(op, c, s, True) for (op, _), s in made)

    def forward(self, earlier, last):
        states = [self.preprocess0(earlier), self.preprocess1(last)]
        for node in range(len(self.pairs) // 2):
            both = (2 * node, 2 * node + 1)
            states.append(sum(self._ops[n](states[self.pairs[n][1]]) for n in both))
        return torch.cat([states[i] for i in self.concat], 1)


class AuxiliaryHeadOf(nn.Module):
    def __init__(self, c, stride, normed):
        super().__init__()
        first = [nn.ReLU(), nn.AvgPool2d(5, stride), conv(c, 128, 1)]
        second = [nn.BatchNorm2d(128), nn.ReLU(), nn.Conv2d(128, 768, 2, bias=False)]
        last = [nn.BatchNorm2d(768), nn.ReLU()] if normed else [nn.ReLU()]
        self.features = nn.Sequential(*first, *second, *last)
        self.classifier = nn.Linear(768, CLASSES)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


# Every operation that has parameters, both pools and a doubled edge.
EVERYTHING = {
    "normal": [
        *(["sep_conv_3x3", 0], ["sep_conv_5x5", 1], ["sep_conv_7x7", 2]),
        *(["dil_conv_3x3", 0], ["dil_conv_5x5", 3], ["conv_3x1_1x3", 1]),
        *(["nor_conv_3x3", 4], ["avg_pool_3x3", 4]),
    ],
    "normal_concat": [2, 3, 5],
    "reduce": [
        *(["conv_7x1_1x7", 1], ["skip_connect", 0], ["dil_conv_5x5", 1]),
        *(["sep_conv_7x7", 0], ["max_pool_3x3", 0], ["max_pool_3x3", 1]),
        *(["skip_connect", 2], ["avg_pool_3x3", 1]),
    ],
    "reduce_concat": [3, 4, 5],
}
# Cells of one node that never reduce: equal ones follow each other and are stacked.
NARROW = {
    "normal": [["sep_conv_3x3", 0], ["dil_conv_3x3", 1]],
    "normal_concat": [2],
    "reduce": [["max_pool_3x3", 0], ["skip_connect", 1]],
    "reduce_concat": [2],
}


def genotype_of(pairs):
    """The genotype of cells of any size, whether a space has them or not."""
    cells = {}
    for kind in ("normal", "reduce"):
        choices = tuple(
            KeptEdge(2 + i // 2, source, operation)
            for i, (operation, source) in enumerate(pairs[kind])
        )
        cells[kind] = CellGenotype(2, choices, tuple(pairs[f"{kind}_concat"]))
    return Genotype("darts", cells)


def kept(pairs, cells, channels, imagenet=False, thirds=True):
    """The PyTorch network of a genotype."""

    def make(widths, c, reduces, after):
        kind = "reduce" if reduces else "normal"
        return KeptCell(pairs[kind], pairs[f"{kind}_concat"], widths, c, reduces, after)

    multiplier = len(pairs["normal_concat"])
    module = Darts(make, multiplier, cells, channels, imagenet, thirds)
    return randomize(module, 0)


def pairs_of(name):
    cells = get_genotype(name).cells.items()
    pairs = {k: [[c.operation, c.source] for c in cell.choices] for k, cell in cells}
    return pairs | {f"{k}_concat": list(cell.output) for k, cell in cells}


NETWORKS = {
    "DARTS_V2": (pairs_of("DARTS_V2"), MACRO, 3, False),
    "everything": (EVERYTHING, MACRO, 3, False),
    "stacked": (NARROW, ALIKE, 5, False),
    "ImageNet": (pairs_of("DARTS_V2"), MACRO, 4, True),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_gives_the_logits_of_the_original(name):
    pairs, macro, cells, imagenet = NETWORKS[name]
    module = kept(pairs, cells, 4, imagenet, thirds=macro is MACRO)
    genotype = genotype_of(pairs)
    net = Network(genotype, macro, CLASSES, cells, 4, imagenet)
    check_network(net, module, 64 if imagenet else 16)


@pytest.mark.parametrize(("imagenet", "side"), [(False, 8), (True, 7)])
def test_auxiliary_head_gives_the_logits_of_the_original(imagenet, side):
    stride, normed = (2, False) if imagenet else (3, True)
    module = kept(NARROW, 3, 8, imagenet)
    head = AuxiliaryHeadOf(module.auxiliary_width, stride, normed)
    module.auxiliary_head = randomize(head, 3)
    genotype = genotype_of(NARROW)
    net = Network(genotype, MACRO, CLASSES, 3, 8, imagenet, auxiliary=True)
    params, stats = interop.import_weights(net, module.state_dict())
    random = np.random.default_rng(4)
    x = random.normal(size=(3, side, side, module.auxiliary_width)).astype(np.float32)
    ours = AuxiliaryHead(CLASSES, stride, normed)
    variables = {"params": params["auxiliary"], "batch_stats": stats["auxiliary"]}
    assert_equal_logits(ours.apply(variables, x, False), torch_logits(head, x))
    check_export(net, params, stats, module)
