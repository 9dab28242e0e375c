"""The cell of DARTS (Liu et al., 2019, section 3.1)."""

from collections.abc import Mapping, Sequence

from darts_jax.spaces.graph import Cell, Macro, Space, dense_edges

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


def darts_layout(cells: int) -> tuple[str, ...]:
    """Returns the kinds of cells: reduction at one and two thirds of the depth.

    Args:
      cells: their number.
    """
    reductions = {cells // 3, 2 * cells // 3}
    return tuple("reduce" if i in reductions else "normal" for i in range(cells))


MACRO = Macro(
    darts_layout,
    reductions=("reduce",),
    stem_multiplier=3,
    preprocesses=True,
    final_norm=False,
)


def darts_space(
    name: str,
    normal: Sequence[str] | Mapping[tuple[int, int], Sequence[str]],
    reduce: Sequence[str] | Mapping[tuple[int, int], Sequence[str]],
) -> Space:
    """Returns a space with DARTS's cells: 2 inputs, 4 nodes, 14 edges.

    Args:
      name: of the space.
      normal: operations of all edges of normal cells, or of each (source, target).
      reduce: the same for reduction cells.
    """
    cells = {
        kind: Cell(2, 4, dense_edges(2, 4, operations, stride), (2, 3, 4, 5))
        for kind, operations, stride in (("normal", normal, 1), ("reduce", reduce, 2))
    }
    return Space(name, cells, MACRO, discretization="two_strongest")


DARTS = darts_space("darts", OPERATIONS, OPERATIONS)
# DrNAS (Chen et al., 2021) leaves `none` out of the supernet, and so does the released
# code of SDARTS, DARTS-PT, beta-DARTS, Lambda-DARTS and NoisyDARTS.
DARTS_NO_NONE = darts_space("darts_no_none", OPERATIONS[1:], OPERATIONS[1:])
