"""Spaces of chains, above all of mobile networks (Sandler et al., 2018).

A stage of the network is a kind of cell: a chain in which every edge is a block into
the next state. The first block has the stage's stride and leads to its width. A block
that is ``skip_connect`` is left out, so that depth is searched too. A last edge may
choose the stage's width. The macro structure fixes the stages; the number of cells is
ignored.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from darts_jax.spaces.graph import Cell, Edge, Macro, Space
from darts_jax.spaces.widths import FEATURES, STEM, width_choice


@dataclasses.dataclass(frozen=True)
class BlockStage:
    """A stage: blocks of one width.

    Attributes:
      channels: of every block's output, in a network of the space's ``base`` channels.
      depth: largest number of blocks.
      stride: of the first block.
      operations: candidates of a block; each but the first may also be left out.
      shares: candidate shares of the channels; empty: the width is fixed.
      first: candidates of the first block; empty: those of all.
    """

    channels: int
    depth: int
    stride: int
    operations: tuple[str, ...]
    shares: tuple[float, ...] = ()
    first: tuple[str, ...] = ()

    @property
    def cell(self) -> Cell:
        """The stage as a cell."""
        blocks = [
            Edge(i, i + 1, (*self.operations, *(("skip_connect",) if i else ())))
            for i in range(self.depth)
        ]
        first = self.first or self.operations
        blocks[0] = dataclasses.replace(blocks[0], operations=first, stride=self.stride)
        last = self.depth
        if self.shares:
            names = tuple(width_choice(share) for share in self.shares)
            blocks.append(Edge(last, last + 1, names))
            last += 1
        return Cell(1, last, tuple(blocks), output=(last,))


def mobile_space(
    name: str,
    stages: Sequence[BlockStage],
    *,
    stem: int,
    features: int,
    stem_stride: int = 2,
    activation: str = "relu6",
) -> Space:
    """Returns a space of mobile networks, whose stages are ``stage_1`` and so on.

    Args:
      name: of the space.
      stages: from the stem on.
      stem: as of `chain_space`.
      features: as of `chain_space`.
      stem_stride: as of `chain_space`.
      activation: as of `chain_space`.
    """
    return chain_space(
        name,
        {f"stage_{i}": stage for i, stage in enumerate(stages, start=1)},
        stem=stem,
        features=features,
        stem_stride=stem_stride,
        activation=activation,
    )


def chain_space(
    name: str,
    stages: Mapping[str, BlockStage],
    *,
    stem: int,
    features: int = 0,
    stem_stride: int,
    activation: str,
) -> Space:
    """Returns a space of chains.

    Args:
      name: of the space.
      stages: kind of cell -> stage, from the stem on.
      stem: channels of the first convolution, which are the network's ``channels``.
      features: channels of the last convolution, before the pooling; 0: there is none.
      stem_stride: stride of the first convolution.
      activation: after both convolutions.
    """
    kinds = tuple(stages)
    widths = {kind: stage.channels for kind, stage in stages.items()}
    if features:
        widths[FEATURES] = features
    macro = Macro(
        lambda cells: kinds,
        reductions=tuple(k for k, stage in stages.items() if stage.stride == 2),
        stem_multiplier=1,
        preprocesses=False,
        final_norm=False,
        widths={STEM: stem, **widths},
        base=stem,
        stem_stride=stem_stride,
        activation=activation,
    )
    cells: Mapping[str, Cell] = {kind: stage.cell for kind, stage in stages.items()}
    return Space(name, cells, macro, discretization="argmax")


def block_names(
    expansions: Sequence[int],
    kernels: Sequence[int] = (3, 5, 7),
    family: str = "mb",
    suffix: str = "",
) -> tuple[str, ...]:
    """Returns names of blocks, such as ``mb3_5x5_se_swish``, for all combinations.

    Args:
      expansions: ratios of expansion.
      kernels: sizes of the depthwise convolution.
      family: prefix, ``mb`` or ``ir``.
      suffix: of all names.
    """
    return tuple(f"{family}{e}_{k}x{k}{suffix}" for e in expansions for k in kernels)


def _stages(
    first: str, operations: tuple[str, ...], shape: Sequence[tuple[int, int, int]]
) -> list[BlockStage]:
    """Returns a fixed block, then stages of (channels, depth, stride)."""
    (channels, depth, stride), *others = shape
    return [
        BlockStage(channels, depth, stride, (first,)),
        *(BlockStage(c, d, s, operations) for c, d, s in others),
    ]


# ProxylessNAS's space on ImageNet (Cai et al., 2019), as its released code has it.
MOBILE = mobile_space(
    "mobile",
    _stages(
        "mb1_3x3",
        block_names((3, 6)),
        (
            (16, 1, 1),
            (24, 4, 2),
            (40, 4, 2),
            (80, 4, 2),
            (96, 4, 1),
            (192, 4, 2),
            (320, 1, 1),
        ),
    ),
    stem=32,
    features=1280,
)

# The same choices with squeeze-and-excitation and swish, at EfficientNet-B0's widths.
EFFICIENTNET = mobile_space(
    "efficientnet",
    _stages(
        "mb1_3x3_se_swish",
        block_names((3, 6), suffix="_se_swish"),
        (
            (16, 1, 1),
            (24, 4, 2),
            (40, 4, 2),
            (80, 4, 2),
            (112, 4, 1),
            (192, 4, 2),
            (320, 1, 1),
        ),
    ),
    stem=32,
    features=1280,
    activation="swish",
)

# FBNet's space (Wu et al., 2019) without its grouped convolutions.
FBNET = mobile_space(
    "fbnet",
    _stages(
        "ir1_3x3",
        block_names((1, 3, 6), (3, 5), family="ir"),
        (
            (16, 1, 1),
            (24, 4, 2),
            (32, 4, 2),
            (64, 4, 2),
            (112, 4, 1),
            (184, 4, 2),
            (352, 1, 1),
        ),
    ),
    stem=16,
    features=1984,
    activation="relu",
)

# For images of 28 or 32 pixels, of which 7 or 8 are left: two searched stages, their
# widths too, and no kernel that would see all there is.
_SMALL = block_names((3, 6), (3, 5))
MOBILE_SMALL = mobile_space(
    "mobile_small",
    [
        BlockStage(16, 1, 1, ("mb1_3x3",)),
        BlockStage(32, 3, 1, _SMALL, (0.5, 0.75, 1.0)),
        BlockStage(64, 3, 2, _SMALL, (0.5, 0.75, 1.0)),
    ],
    stem=16,
    features=160,
)
