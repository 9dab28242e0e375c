"""Published mobile networks as genotypes, each with its published widths.

A network is written as its stages, separated by bars: in ``"24 mb6_3x3 *2 | ..."`` the
stage has 24 channels and two blocks. Where a search left a block out, it is not
written. This module needs the standard library only.
"""

from typing import NamedTuple

from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.mobile import EFFICIENTNET
from darts_jax.spaces.scaling import make_chain, scaled
from darts_jax.spaces.widths import FEATURES, STEM


class _Written(NamedTuple):
    source: str
    space: str
    stem: int
    features: int
    stages: str


_TABLE = {
    "MobileNetV2": _Written(
        "Sandler et al. (2018), table 2",
        "mobile",
        32,
        1280,
        "16 mb1_3x3 | 24 mb6_3x3 *2 | 32 mb6_3x3 *3 | 64 mb6_3x3 *4 | 96 mb6_3x3 *3 | "
        "160 mb6_3x3 *3 | 320 mb6_3x3",
    ),
    "ProxylessNAS_GPU": _Written(
        "Cai et al. (2019), found for a V100; their released network",
        "mobile",
        40,
        1728,
        "24 mb1_3x3 | 32 mb3_5x5 | 56 mb3_7x7 mb3_3x3 | 112 mb6_7x7 mb3_5x5 | "
        "128 mb6_5x5 mb3_3x3 mb3_5x5 | 256 mb6_7x7 *3 mb6_5x5 | 432 mb6_7x7",
    ),
    "ProxylessNAS_CPU": _Written(
        "Cai et al. (2019), found for a Xeon; their released network",
        "mobile",
        40,
        1432,
        "24 mb1_3x3 | 32 mb6_3x3 mb3_3x3 *3 | 48 mb6_3x3 mb3_3x3 *2 mb3_5x5 | "
        "88 mb6_3x3 mb3_3x3 | 104 mb6_5x5 mb3_3x3 *3 | "
        "216 mb6_5x5 mb3_5x5 *2 mb3_3x3 | 360 mb6_5x5",
    ),
    "ProxylessNAS_Mobile": _Written(
        "Cai et al. (2019), found for a Pixel 1; their released network",
        "mobile",
        32,
        1280,
        "16 mb1_3x3 | 32 mb3_5x5 mb3_3x3 | 40 mb3_7x7 mb3_3x3 mb3_5x5 *2 | "
        "80 mb6_7x7 mb3_5x5 *3 | 96 mb6_5x5 mb3_5x5 *3 | 192 mb6_7x7 *2 mb3_7x7 *2 | "
        "320 mb6_7x7",
    ),
    "FBNet_C": _Written(
        "Wu et al. (2019), FBNet-C, as their released code has it, without biases",
        "fbnet",
        16,
        1984,
        "16 ir1_3x3 | 24 ir6_3x3 ir1_3x3 *2 | 32 ir6_5x5 ir3_5x5 ir6_5x5 ir6_3x3 | "
        "64 ir6_5x5 ir3_5x5 ir6_5x5 *2 | 112 ir6_5x5 *3 ir3_5x5 | 184 ir6_5x5 *4 | "
        "352 ir6_3x3",
    ),
    "EfficientNet_B0": _Written(
        "Tan and Le (2019), table 1",
        "efficientnet",
        32,
        1280,
        "16 mb1_3x3_se_swish | 24 mb6_3x3_se_swish *2 | 40 mb6_5x5_se_swish *2 | "
        "80 mb6_3x3_se_swish *3 | 112 mb6_5x5_se_swish *3 | 192 mb6_5x5_se_swish *4 | "
        "320 mb6_3x3_se_swish",
    ),
}

# Of EfficientNet-B1 to B7, as their released code has them: width and depth.
_COMPOUND = {
    "EfficientNet_B1": (1.0, 1.1),
    "EfficientNet_B2": (1.1, 1.2),
    "EfficientNet_B3": (1.2, 1.4),
    "EfficientNet_B4": (1.4, 1.8),
    "EfficientNet_B5": (1.6, 2.2),
    "EfficientNet_B6": (1.8, 2.6),
    "EfficientNet_B7": (2.0, 3.1),
}


def _network(written: _Written) -> Genotype:
    widths = {STEM: written.stem}
    cells = {}
    for number, text in enumerate(written.stages.split(" | "), start=1):
        channels, *terms = text.split()
        blocks: list[str] = []
        for term in terms:
            if term.startswith("*"):
                blocks += blocks[-1:] * (int(term[1:]) - 1)
            else:
                blocks.append(term)
        cells[f"stage_{number}"] = make_chain(blocks)
        widths[f"stage_{number}"] = int(channels)
    widths[FEATURES] = written.features
    return Genotype(written.space, cells, widths)


_BASES = {name: _network(written) for name, written in _TABLE.items()}
_LARGER = {
    name: scaled(
        _BASES["EfficientNet_B0"], EFFICIENTNET.macro, width=width, depth=depth
    ).genotype
    for name, (width, depth) in _COMPOUND.items()
}
MOBILE_NETWORKS: dict[str, Genotype] = _BASES | _LARGER
MOBILE_SOURCES: dict[str, str] = {
    name: written.source for name, written in _TABLE.items()
} | dict.fromkeys(_LARGER, "Tan and Le (2019), scaled from EfficientNet-B0")
