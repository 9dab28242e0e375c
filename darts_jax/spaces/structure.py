"""Checks of cells and spaces when they are made, before anything is computed.

This module needs the standard library only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darts_jax.errors import InputError
from darts_jax.spaces.widths import COLUMNS

if TYPE_CHECKING:
    from darts_jax.spaces.graph import Cell, Macro, Space

RESIDUAL = "residual"
POOL = "pool"
"""Kinds of blocks in a layout that are no cells: both halve the image."""

_DEEPEST = 24  # layouts of 1 to 24 cells are checked


def require_cell(cell: Cell) -> None:
    """Checks a cell's graph.

    Args:
      cell: to be checked.

    Raises:
      InputError: an edge or an output that cannot be, or that nothing reaches.
    """
    if cell.inputs < 1 or cell.nodes < 1:
        raise InputError(
            f"a cell has {cell.inputs} inputs and {cell.nodes} nodes; want at least 1 "
            "of either"
        )
    if list(cell.edges) != sorted(cell.edges, key=lambda e: (e.target, e.source)):
        raise InputError("edges of a cell must be ordered by (target, source)")
    ends = [(edge.source, edge.target) for edge in cell.edges]
    for edge in cell.edges:
        named = f"edge {edge.source}->{edge.target}"
        if not 0 <= edge.source < edge.target or edge.target < cell.inputs:
            raise InputError(f"{named} is not forward")
        if edge.target >= cell.states:
            raise InputError(f"edge to state {edge.target} of {cell.states}")
        if ends.count((edge.source, edge.target)) > 1:
            raise InputError(f"{named} is there twice; want one with all operations")
        _require_choice(named, edge.operations)
        if edge.stride < 1 or (edge.stride > 1 and edge.source >= cell.inputs):
            raise InputError(
                f"{named} has stride {edge.stride}; want 1, or 2 where it leaves an "
                "input of a cell that halves the image"
            )
    _require_output(cell)
    if cell.contests:
        _require_contests(cell)


def _require_contests(cell: Cell) -> None:
    listed = [e for contest in cell.contests for e in contest.edges]
    if sorted(listed) != list(range(len(cell.edges))):
        raise InputError(
            f"contests of a cell have edges {sorted(listed)[:12]}; want each of 0 to "
            f"{len(cell.edges) - 1} once"
        )
    ends = [{cell.edges[e].target for e in c.edges} for c in cell.contests]
    if sum(map(len, ends)) > len(set().union(*ends)):
        raise InputError("two contests of a cell have edges into one state; want one")
    for contest in cell.contests:
        sources = {cell.edges[e].source for e in contest.edges}
        if len(sources) < len(contest.edges) or not 1 <= contest.keeps <= len(sources):
            raise InputError(
                f"a contest keeps {contest.keeps} of edges {list(contest.edges)} that "
                f"leave states {sorted(sources)}; want 1 or more, each from another"
            )


def _require_choice(named: str, operations: tuple[str, ...]) -> None:
    if len(set(operations)) < len(operations):
        raise InputError(f"{named} names an operation twice: {', '.join(operations)}")
    if set(operations) <= {"none"}:
        raise InputError(
            f"{named} may be {'none alone' if operations else 'nothing'}; want "
            "operations, or leave the edge out"
        )


def _require_output(cell: Cell) -> None:
    nodes = range(cell.inputs, cell.states)
    if not cell.output or not all(state in nodes for state in cell.output):
        raise InputError(
            f"output {list(cell.output)} of a cell; want some of its nodes, "
            f"{cell.inputs} to {cell.states - 1}"
        )
    reached = set(range(cell.inputs))
    for edge in cell.edges:  # by target, so that one pass is enough
        if edge.source in reached:
            reached.add(edge.target)
    for state in cell.output:
        if state not in reached:
            raise InputError(
                f"output {state} of a cell is unreachable: no path leads to it from an "
                f"input; want an edge into state {state}, or another output"
            )


def require_space(space: Space) -> None:
    """Checks that a space's cells and its macro structure fit each other.

    Args:
      space: to be checked.

    Raises:
      InputError: a kind of cell that the layout lacks, a block without a cell, or a
        cell with stride 2 that is not among the reductions.
    """
    macro = space.macro
    cells = space.cells
    if not cells:
        raise InputError(f"space {space.name!r} has no cells")
    kinds = _kinds_of(macro)
    for kind in kinds:
        if kind not in cells and kind not in (RESIDUAL, POOL):
            raise InputError(
                f"the layout of space {space.name!r} has {kind!r} blocks, which are no "
                f"cells of it; want {', '.join(cells)}, {RESIDUAL} or {POOL}"
            )
    for kind, cell in cells.items():
        if kind not in kinds and kind != COLUMNS:
            raise InputError(
                f"space {space.name!r} has {kind!r} cells, and its layout none; it has "
                f"{', '.join(kinds)}"
            )
        if space.family == "cells":
            _require_fit(space, kind, cell)
    for kind in (RESIDUAL, POOL):
        if kind in kinds and kind not in macro.reductions:
            raise InputError(
                f"{kind} blocks of space {space.name!r} halve the image; want "
                f"{kind!r} among the reductions"
            )
    known = {operation for cell in cells.values() for operation in cell.operations}
    for operation in space.supernet_variants:
        if operation not in known:
            raise InputError(
                f"space {space.name!r} has a variant of {operation!r}, which none of "
                f"its edges may be; want one of {', '.join(sorted(known))}"
            )


def _kinds_of(macro: Macro) -> list[str]:
    """Returns every kind of block in the layouts of few and of many cells."""
    deep = range(1, _DEEPEST + 1)
    return list(dict.fromkeys(kind for cells in deep for kind in macro.layout(cells)))


def _require_fit(space: Space, kind: str, cell: Cell) -> None:
    where = f"{kind} cells of space {space.name!r}"
    wanted = (2,) if space.macro.preprocesses else (1, 2)
    if cell.inputs not in wanted:
        raise InputError(
            f"{where} have {cell.inputs} inputs; want {' or '.join(map(str, wanted))}"
        )
    stride = 2 if kind in space.macro.reductions else 1
    for edge in cell.edges:
        if edge.source < cell.inputs and edge.stride != stride:
            named = "is" if stride == 2 else "is not"
            raise InputError(
                f"{where}: edge {edge.source}->{edge.target} leaves an input with "
                f"stride {edge.stride}; want {stride}, as {kind!r} {named} among the "
                "reductions"
            )
