"""Sizes of operations, read off their names, and their ranks on an edge.

This module needs the standard library only.
"""

import re
from collections.abc import Callable, Sequence

from darts_jax.spaces.graph import Cell
from darts_jax.spaces.widths import width_share

_KERNEL = re.compile(r"_(\d+)x\1(?=_|$)")
_EXPANSION = re.compile(r"^(mb|ir)(\d+)(?=_|$)")
_SKIP = "skip_connect"


def kernel_size(operation: str) -> int | None:
    """Returns the side of an operation's kernel; None where its name has none.

    Args:
      operation: name, as "sep_conv_3x3".
    """
    found = _KERNEL.search(operation)
    return None if found is None else int(found[1])


def expansion(operation: str) -> int | None:
    """Returns the expansion of a mobile block; None for another operation.

    Args:
      operation: name, as "mb6_5x5".
    """
    found = _EXPANSION.match(operation)
    return None if found is None else int(found[2])


def without_kernel(operation: str) -> str:
    """Returns the name of an operation without the size of its kernel.

    Args:
      operation: name, as "sep_conv_3x3".
    """
    return _KERNEL.sub("", operation)


def without_expansion(operation: str) -> str:
    """Returns the name of a mobile block without its expansion.

    Args:
      operation: name, as "mb6_5x5".
    """
    return _EXPANSION.sub(r"\1", operation)


Ranks = list[list[int]]
"""[edge, op]: how many larger values the edge has; 0 for what has no size."""


def rank_operations(cell: Cell, axis: str) -> Ranks:
    """Returns the rank of every operation on an axis.

    Args:
      cell: whose edges they are.
      axis: "kernel", "expansion", "width", or "depth": leaving out the last block of a
        chain has rank 1, leaving out the one before rank 2.
    """
    if axis == "depth":
        return _rank_depth(cell)
    return [_rank(edge.operations, _SIZES[axis], cell.shape[1]) for edge in cell.edges]


_SIZES: dict[str, Callable[[str], float | None]] = {
    "kernel": kernel_size,
    "expansion": expansion,
    "width": width_share,
}


def _rank(
    operations: Sequence[str], size: Callable[[str], float | None], columns: int
) -> list[int]:
    sizes = [size(name) for name in operations]
    known = sorted({s for s in sizes if s is not None}, reverse=True)
    ranks = [0 if s is None else known.index(s) for s in sizes]
    return ranks + [0] * (columns - len(ranks))


def _rank_depth(cell: Cell) -> Ranks:
    is_chain = all(edge.target == edge.source + 1 for edge in cell.edges)
    ranks = [[0] * cell.shape[1] for _ in cell.edges]
    after = 0
    for e in reversed(range(len(cell.edges))):
        operations = cell.edges[e].operations
        if is_chain and _SKIP in operations and len(operations) > 1:
            after += 1
            ranks[e][operations.index(_SKIP)] = after
    return ranks
