"""Chains of inverted-residual blocks (Sandler et al., 2018), as mobile networks are.

A stage of the network is a kind of cell: a chain in which every edge leads to the next
state, the first with the stage's stride and to its width. What an edge may be is a
block; a block that is ``skip_connect`` is left out, so that depth is searched, too. A
last edge may choose the stage's width. The macro structure fixes how many stages there
are and how deep they can be: it has no use for a number of cells.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from darts_jax.spaces.graph import Cell, Edge, Macro, Space
from darts_jax.spaces.widths import FEATURES, STEM, width_choice


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Attributes:
      channels: of every block's output, where the space's ``base`` are asked for.
      depth: how many blocks there may be.
      stride: of the first.
      operations: what a block may be; one after the first may be left out, too.
      shares: of the channels, to choose from; none: no choice.
    """

    channels: int
    depth: int
    stride: int
    operations: tuple[str, ...]
    shares: tuple[float, ...] = ()

    @property
    def cell(self) -> Cell:
        """The chain."""
        blocks = [
            Edge(i, i + 1, (*self.operations, *(("skip_connect",) if i else ())))
            for i in range(self.depth)
        ]
        blocks[0] = dataclasses.replace(blocks[0], stride=self.stride)
        last = self.depth
        if self.shares:
            names = tuple(width_choice(share) for share in self.shares)
            blocks.append(Edge(last, last + 1, names))
            last += 1
        return Cell(1, last, tuple(blocks), output=(last,))


def mobile_space(
    name: str,
    stages: Sequence[Stage],
    *,
    stem: int,
    features: int,
    stem_stride: int = 2,
    activation: str = "relu6",
) -> Space:
    """A space of chains.

    Args:
      stem: channels of the first convolution, which are the network's ``channels``.
      features: channels of the last one, before the pooling.
      activation: after either.
    """
    kinds = tuple(f"stage_{i}" for i in range(1, len(stages) + 1))
    widths = {kind: stage.channels for kind, stage in zip(kinds, stages, strict=True)}
    macro = Macro(
        lambda cells: kinds,
        reductions=tuple(
            k for k, stage in zip(kinds, stages, strict=True) if stage.stride == 2
        ),
        stem_multiplier=1,
        preprocesses=False,
        final_norm=False,
        widths={STEM: stem, **widths, FEATURES: features},
        base=stem,
        stem_stride=stem_stride,
        activation=activation,
    )
    cells: Mapping[str, Cell] = {
        kind: stage.cell for kind, stage in zip(kinds, stages, strict=True)
    }
    return Space(name, cells, macro, discretization="argmax")


def blocks(
    expansions: Sequence[int],
    kernels: Sequence[int] = (3, 5, 7),
    family: str = "mb",
    suffix: str = "",
) -> tuple[str, ...]:
    """Names of blocks: ``mb3_5x5_se_swish`` and the like."""
    return tuple(f"{family}{e}_{k}x{k}{suffix}" for e in expansions for k in kernels)


def _stages(
    first: str, operations: tuple[str, ...], *shape: tuple[int, int, int]
) -> list[Stage]:
    """A fixed block, then stages of (channels, depth, stride)."""
    (channels, depth, stride), *others = shape
    return [
        Stage(channels, depth, stride, (first,)),
        *(Stage(*other, operations) for other in others),
    ]


# ProxylessNAS's space on ImageNet (Cai et al., 2019), as its released code has it.
MOBILE = mobile_space(
    "mobile",
    _stages(
        "mb1_3x3",
        blocks((3, 6)),
        *((16, 1, 1), (24, 4, 2), (40, 4, 2), (80, 4, 2)),
        *((96, 4, 1), (192, 4, 2), (320, 1, 1)),
    ),
    stem=32,
    features=1280,
)

# The same choices with squeeze-and-excitation and swish, at EfficientNet-B0's widths.
EFFICIENTNET = mobile_space(
    "efficientnet",
    _stages(
        "mb1_3x3_se_swish",
        blocks((3, 6), suffix="_se_swish"),
        *((16, 1, 1), (24, 4, 2), (40, 4, 2), (80, 4, 2)),
        *((112, 4, 1), (192, 4, 2), (320, 1, 1)),
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
        blocks((1, 3, 6), (3, 5), family="ir"),
        *((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2)),
        *((112, 4, 1), (184, 4, 2), (352, 1, 1)),
    ),
    stem=16,
    features=1984,
    activation="relu",
)

# For images of 28 or 32 pixels, of which 7 or 8 are left: two searched stages, their
# widths too, and no kernel that would see all there is.
_SMALL = blocks((3, 6), (3, 5))
MOBILE_SMALL = mobile_space(
    "mobile_small",
    [
        Stage(16, 1, 1, ("mb1_3x3",)),
        Stage(32, 3, 1, _SMALL, (0.5, 0.75, 1.0)),
        Stage(64, 3, 2, _SMALL, (0.5, 0.75, 1.0)),
    ],
    stem=16,
    features=160,
)
