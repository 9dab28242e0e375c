"""Checks that a genotype fits its space.

Discretization rules may keep any number of a node's edges, so any number from 1 fits.
Published genotypes always fit: NASNet's and AmoebaNet's cells have a node and
operations that no DARTS cell has. This module needs the standard library only.
"""

import collections
from collections.abc import Iterator, Sequence

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.spaces import SPACES
from darts_jax.spaces.graph import Cell, CellGenotype, Genotype, KeptEdge, Space
from darts_jax.spaces.moves import RULES
from darts_jax.spaces.published import NAMED
from darts_jax.spaces.widths import FEATURES, STEM

_MOST_SHOWN = 12


def check_genotype(genotype: Genotype) -> Genotype:
    """Returns the genotype if it fits its space or is a published one.

    It fits if it has the space's kinds of cells and no other, each with the space's
    inputs, output and edges; an edge is kept once, as an operation that it may be, and
    every node keeps one or more. Three kinds of cells have more or less freedom:

    - A stage of a mobile network is a chain of any length of the stage's blocks, as
      blocks that are left out need not be written, and `scaled` adds more.
    - A node of a cell of images may be left out whole, if nothing reads it and the
      output does not name it; FairDARTS's published cells have such nodes. One that is
      zero may instead keep the edge from the first input as ``none``.
    - A node of a recurrent cell keeps one edge.

    Args:
      genotype: of any space in ``SPACES``.

    Raises:
      InputError: it does not fit, or its space is not known, in one line.
    """
    if any(genotype == known for known in NAMED.values()):
        return genotype
    if genotype.space not in SPACES:
        raise unknown_name_error("space", genotype.space, list(SPACES))
    space = SPACES[genotype.space]
    if set(genotype.cells) != set(space.cells):
        raise InputError(
            f"the genotype has {_listed(genotype.cells)}; space {space.name!r} has "
            f"{_listed(space.cells)}: want these and no other"
        )
    _check_widths(space, genotype)
    for kind, cell in genotype.cells.items():
        if cell.inputs != space.cells[kind].inputs:
            raise InputError(
                f"{kind} of the genotype has {cell.inputs} inputs; that of space "
                f"{space.name!r} has {space.cells[kind].inputs}"
            )
        if kind in space.macro.widths and space.cells[kind].is_chain:
            _check_stage(space, kind, genotype)
        else:
            _check_cell(space, kind, cell)
    return genotype


def describe_dead_states(genotype: Genotype) -> list[str]:
    """Returns a line for each cell with states that no input reaches.

    Args:
      genotype: that fits its space.
    """
    lines = []
    for kind, cell in genotype.cells.items():
        zero = sorted(set(cell.output) - _reached(cell))
        if len(zero) == len(set(cell.output)):
            lines.append(
                f"no path without `none` leads through the {kind} cell: it gives zeros "
                "whatever the input, and the network is not expected to beat chance"
            )
        elif zero:
            states = ", ".join(map(str, zero))
            lines.append(
                f"no path without `none` leads to state {states} of the {kind} cell: "
                "these channels of its output are zeros"
            )
    return lines


def describe_departures(genotype: Genotype) -> list[str]:
    """Returns a line for each node with another number of edges than its space's rule.

    Another discretization may have kept them, or an edge was lost on the way.

    Args:
      genotype: that fits its space.
    """
    space = SPACES.get(genotype.space)
    rule = RULES.get(space.discretization) if space else None
    if space is None or rule is None or genotype in NAMED.values():
        return []
    told = []
    for kind, cell in genotype.cells.items():
        own = space.cells[kind]
        if kind in space.macro.widths and own.is_chain:
            continue
        counts = collections.Counter(choice.target for choice in cell.choices)
        for contest in rule.contests(own):
            ends = sorted({own.edges[e].target for e in contest.edges})
            count = sum(counts[node] for node in ends)
            if count != contest.keeps:
                named = f"state {ends[0]}" if len(ends) == 1 else f"states {ends}"
                told.append(
                    f"{named} of {kind} keeps {_edges(count)}; the rule of space "
                    f"{space.name!r} keeps {contest.keeps}"
                )
    return told


def _check_widths(space: Space, genotype: Genotype) -> None:
    known = (STEM, FEATURES, *space.cells, *space.macro.reductions)
    for name, width in genotype.widths.items():
        if name not in known:
            raise unknown_name_error("width", name, list(dict.fromkeys(known)))
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise InputError(
                f"width {name!r} of the genotype is {width!r}; want a whole number "
                "from 1"
            )


def _check_stage(space: Space, kind: str, genotype: Genotype) -> None:
    """Checks a chain of blocks and, where widths are searched, its last edge."""
    cell = genotype.cells[kind]
    own = space.cells[kind]
    steps = [(c.source, c.target) for c in cell.choices]
    if steps != [(i, i + 1) for i in range(len(steps))] or not steps:
        raise InputError(
            f"{kind} of the genotype has edges {_arrows(steps)}; space {space.name!r} "
            "wants a chain: 0->1, 1->2 and so on"
        )
    chooses = own.width_edge is not None
    blocks = own.edges[:-1] if chooses else own.edges
    widths = own.edges[-1].operations if chooses else ()
    any_block = dict.fromkeys(op for edge in blocks for op in edge.operations)
    lists = [blocks[0].operations, *[tuple(any_block)] * (len(steps) - 1)]
    chosen = cell.choices
    if widths and (kind not in genotype.widths or chosen[-1].width_share):
        lists[-1] = widths
        if len(steps) == 1:
            raise InputError(
                f"{kind} of the genotype has no block before its width; space "
                f"{space.name!r} wants one or more"
            )
    for choice, operations in zip(chosen, lists, strict=True):
        _check_operation(kind, choice, operations)
    _check_output(space, kind, cell, (len(steps),))


def _check_cell(space: Space, kind: str, cell: CellGenotype) -> None:
    own = space.cells[kind]
    edges = {(edge.source, edge.target): edge.operations for edge in own.edges}
    kept: dict[int, list[int]] = collections.defaultdict(list)
    counts = collections.Counter(choice.target for choice in cell.choices)
    for choice in cell.choices:
        place = choice.source, choice.target
        name = f"{kind} of the genotype, edge {choice.source}->{choice.target}"
        if choice.target >= own.states:
            raise InputError(
                f"{name}: there is no state {choice.target}; space {space.name!r} has "
                f"0 to {own.states - 1}"
            )
        if place not in edges:
            raise InputError(
                f"{name}: space {space.name!r} has no such edge; into state "
                f"{choice.target} lead {_arrows(_into(own, choice.target))}"
            )
        if choice.source in kept[choice.target]:
            raise InputError(f"{name} is kept twice; want it once")
        kept[choice.target].append(choice.source)
        alone = counts[choice.target] == 1 and choice.source == 0
        if not (alone and choice.operation == "none"):
            _check_operation(kind, choice, edges[place])
    out = _left_out(space, own, cell, kept)
    for node in range(own.inputs, own.states):
        count = len(kept[node])
        wanted = "one or more"
        if space.family == "recurrent":
            wanted = "one"
            if count == 1:
                continue
        elif count or node in out or not own.incoming(node):
            continue
        raise InputError(
            f"state {node} of {kind} of the genotype keeps {_edges(count)}; space "
            f"{space.name!r} wants {wanted} of {_arrows(_into(own, node))}"
        )
    _check_output(space, kind, cell, tuple(s for s in own.output if s not in out))


def _left_out(
    space: Space, own: Cell, cell: CellGenotype, kept: dict[int, list[int]]
) -> set[int]:
    """Returns the nodes that an image cell leaves out, as its output shows."""
    if space.family != "cells":
        return set()
    read = {choice.source for choice in cell.choices} | set(cell.output)
    nodes = range(own.inputs, own.states)
    return {n for n in nodes if n in own.output and not kept[n] and n not in read}


def _check_operation(kind: str, choice: KeptEdge, operations: Sequence[str]) -> None:
    if choice.operation not in operations:
        wanted = unknown_name_error("operation", choice.operation[:60], operations)
        raise InputError(
            f"{kind} of the genotype, edge {choice.source}->{choice.target}: {wanted}"
        )


def _check_output(
    space: Space, kind: str, cell: CellGenotype, wanted: tuple[int, ...]
) -> None:
    if cell.output != wanted:
        raise InputError(
            f"{kind} of the genotype has output {_states(cell.output)}; space "
            f"{space.name!r} wants {_states(wanted)}"
        )


def _reached(cell: CellGenotype) -> set[int]:
    """Returns the states that depend on an input."""
    reached = set(range(cell.inputs))
    for choice in sorted(cell.choices):
        if choice.operation != "none" and choice.source in reached:
            reached.add(choice.target)
    return reached


def _into(cell: Cell, node: int) -> list[tuple[int, int]]:
    return [(cell.edges[e].source, node) for e in cell.incoming(node)]


def _arrows(edges: Sequence[tuple[int, int]]) -> str:
    return ", ".join(_few(f"{s}->{t}" for s, t in edges)) or "none"


def _states(states: Sequence[int]) -> str:
    return f"[{', '.join(_few(map(str, states)))}]"


def _edges(count: int) -> str:
    return f"{count or 'no'} edge{'' if count == 1 else 's'}"


def _listed(kinds: Sequence[str] | collections.abc.Mapping[str, object]) -> str:
    names = ", ".join(_few(repr(kind[:60]) for kind in kinds))
    return f"cells {names}" if names else "no cells"


def _few(texts: "Iterator[str] | Sequence[str]") -> list[str]:
    """Returns the first texts, so that a message stays one line."""
    texts = list(texts)
    return [*texts[:_MOST_SHOWN], *(["..."] if len(texts) > _MOST_SHOWN else [])]
