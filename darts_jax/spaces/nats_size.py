"""NATS-Bench's space of sizes: the width of every layer of one fixed topology.

Dong et al. (2021), section 3.2. The network is NAS-Bench-201's of one cell in a stage,
the cell the best of the topologies on CIFAR-100. Its five layers, three cells and the
two residual blocks between them, have 8 to 64 channels each: 32,768 networks. The stem
is as wide as the first cell.
"""

from darts_jax.spaces.graph import Cell, Edge, Macro, Space
from darts_jax.spaces.nasbench201 import nasbench201_layout
from darts_jax.spaces.structure import RESIDUAL
from darts_jax.spaces.widths import STEM, width_choice

WIDEST = 64
SHARES = tuple(n / 8 for n in range(1, 9))
"""Shares of the widest layer's channels."""

_WIDTHS = tuple(map(width_choice, SHARES))
_SKIP = "skip_or_project"
_CONV = "nor_conv_3x3"

_STAGE = Cell(
    1,
    4,
    (
        Edge(0, 1, (_CONV,)),
        Edge(0, 2, (_CONV,)),
        Edge(1, 2, (_CONV,)),
        Edge(0, 3, (_SKIP,)),
        Edge(1, 3, (_CONV,)),
        Edge(2, 3, (_CONV,)),
        Edge(3, 4, _WIDTHS),
    ),
    output=(4,),
)
_REDUCTION = Cell(
    1,
    3,
    (
        Edge(0, 1, (_CONV,), 2),
        Edge(0, 2, ("pool_and_project",), 2),
        Edge(1, 2, (_CONV,)),
        Edge(2, 3, _WIDTHS),
    ),
    output=(3,),
)

LAYERS = ("stage_1", "reduction_1", "stage_2", "reduction_2", "stage_3")
"""Kinds of cells in the order of the network, as of the benchmark's ``8:16:24:...``."""

_IS_REDUCTION = [kind == RESIDUAL for kind in nasbench201_layout(1)]

NATS_SIZE = Space(
    "nats_size",
    {
        layer: _REDUCTION if reduces else _STAGE
        for layer, reduces in zip(LAYERS, _IS_REDUCTION, strict=True)
    },
    Macro(
        lambda cells: LAYERS,
        reductions=("reduction_1", "reduction_2"),
        stem_multiplier=1,
        preprocesses=False,
        final_norm=True,
        widths=dict.fromkeys((STEM, *LAYERS), WIDEST),
        base=WIDEST,
        stem_follows="stage_1",
    ),
    discretization="argmax",
)
