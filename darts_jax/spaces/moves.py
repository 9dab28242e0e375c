"""Drawing genotypes of a space, and stepping from one to another.

What may be decided is the same for all that search by genotypes: for every node, which
of its edges are kept, and which operation each of these is. A rule by which genotypes
are read off says how many edges that is, and whether ``none`` is an operation like any
other. This module needs the standard library only; random numbers come from whatever
has ``integers``, as `numpy.random.Generator` has.
"""

import dataclasses
import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from darts_jax.errors import InputError
from darts_jax.spaces.graph import Cell, CellGenotype, Choice, Genotype, Space

_T = TypeVar("_T")


class Rng(Protocol):
    """Where random numbers come from: `numpy.random.Generator` is one."""

    def integers(self, low: int, /) -> Any:
        """A whole number from 0 to ``low`` - 1."""


@dataclasses.dataclass(frozen=True)
class KeptEdges:
    """Which genotypes a space has.

    Attributes:
      keeps: how many edges of a node, where it has so many; None for all.
      keeps_none: whether a kept edge may be ``none``.
    """

    keeps: int | None
    keeps_none: bool


RULES: dict[str, KeptEdges] = {
    "argmax": KeptEdges(keeps=None, keeps_none=True),
    "one_strongest": KeptEdges(keeps=1, keeps_none=False),
    "two_strongest": KeptEdges(keeps=2, keeps_none=False),
    "edge_weighted": KeptEdges(keeps=2, keeps_none=False),
}
"""By name of discretization. To add one: ``RULES["mine"] = KeptEdges(...)``."""


@dataclasses.dataclass(frozen=True)
class DecisionNode:
    """What may be decided of one node.

    Attributes:
      kind: of cell.
      operations: source -> what the edge from there may be, if it is kept.
      keeps: how many edges are kept.
    """

    kind: str
    target: int
    operations: Mapping[int, tuple[str, ...]]
    keeps: int

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Every choice of edges to keep, each by their sources in order."""
        return tuple(itertools.combinations(self.operations, self.keeps))


def decision_nodes(space: Space) -> tuple[DecisionNode, ...]:
    """Returns all nodes of a space, kind after kind.

    Raises:
      InputError: it is not known which genotypes the space has.
    """
    if space.discretization not in RULES:
        raise InputError(
            f"nothing says which genotypes rule {space.discretization!r} of space "
            f"{space.name!r} can give; known: {', '.join(RULES)}; add yours to "
            "spaces.moves.RULES"
        )
    rule = RULES[space.discretization]
    return tuple(
        _node(kind, cell, target, rule)
        for kind, cell in space.cells.items()
        for target in range(cell.inputs, cell.states)
    )


def sample_genotype(space: Space, rng: Rng) -> Genotype:
    """A genotype drawn uniformly from all that the space has, node by node."""
    choices = []
    for node in decision_nodes(space):
        choices += [
            (node.kind, Choice(node.target, s, _pick(node.operations[s], rng)))
            for s in _pick(node.sources, rng)
        ]
    return assemble_genotype(space, choices)


def list_neighbours(space: Space, genotype: Genotype) -> list[Genotype]:
    """Every genotype that differs in one decision, each once.

    That is the operation of one kept edge, or the source of one: the edge from there
    keeps the operation, and where it cannot be that, takes each that it can be.

    Raises:
      InputError: the genotype is not of the space.
    """
    return [
        _replaced(space, genotype, node.kind, old, new)
        for node in decision_nodes(space)
        for old in _kept(node, genotype)
        for moves in _moves(node, genotype, old)
        for new in moves
    ]


def mutate(space: Space, genotype: Genotype, rng: Rng) -> Genotype:
    """Returns one of the `list_neighbours`, drawn as Real et al. (2019, section 3) draw it.

    First a node, then one of its edges, then whether its source or its operation
    changes, then to what, each uniformly among what can change at all.

    Raises:
      InputError: the genotype is not of the space, or the only one.
    """
    places = [
        [(node, old) for old in _kept(node, genotype) if _moves(node, genotype, old)]
        for node in decision_nodes(space)
    ]
    places = [edges for edges in places if edges]
    if not places:
        raise InputError(f"space {space.name!r} has one genotype and no other")
    node, old = _pick(_pick(places, rng), rng)
    new = _pick(_pick(_moves(node, genotype, old), rng), rng)
    return _replaced(space, genotype, node.kind, old, new)


def genotype_key(genotype: Genotype) -> Hashable:
    """The same for two genotypes if, and only if, they decide the same.

    The order in which the edges of a node are listed does not count.
    """
    return tuple(
        (kind, tuple(sorted(genotype.cells[kind].choices)))
        for kind in sorted(genotype.cells)
    )


def assemble_genotype(space: Space, choices: Sequence[tuple[str, Choice]]) -> Genotype:
    """The genotype that keeps these edges, each of the kind beside it."""
    cells = {
        kind: CellGenotype(
            cell.inputs,
            tuple(sorted(choice for k, choice in choices if k == kind)),
            cell.output,
        )
        for kind, cell in space.cells.items()
    }
    return Genotype(space.name, cells)


def _node(kind: str, cell: Cell, target: int, rule: KeptEdges) -> DecisionNode:
    operations = {}
    for edge in (cell.edges[e] for e in cell.incoming(target)):
        allowed = [op for op in edge.operations if op != "none" or rule.keeps_none]
        if allowed:
            operations[edge.source] = tuple(allowed)
    most = len(operations)
    return DecisionNode(
        kind, target, operations, most if rule.keeps is None else min(rule.keeps, most)
    )


def _pick(of: Sequence[_T], rng: Rng) -> _T:
    return of[int(rng.integers(len(of)))]


def _kept(node: DecisionNode, genotype: Genotype) -> list[Choice]:
    """The edges of a node that a genotype keeps."""
    cell = genotype.cells.get(node.kind)
    kept = [c for c in cell.choices if c.target == node.target] if cell else []
    strange = [c for c in kept if c.operation not in node.operations.get(c.source, ())]
    if (
        strange
        or len({c.source for c in kept}) != node.keeps
        or len(kept) != node.keeps
    ):
        raise InputError(
            f"{node.kind} {node.target} of the genotype keeps "
            f"{[(c.operation, c.source) for c in kept]}; its space wants {node.keeps} "
            f"edges of {dict(node.operations)}"
        )
    return kept


def _moves(node: DecisionNode, genotype: Genotype, old: Choice) -> list[list[Choice]]:
    """What an edge may become: by operation, by source; nothing empty."""
    operations = [
        Choice(old.target, old.source, op)
        for op in node.operations[old.source]
        if op != old.operation
    ]
    taken = {choice.source for choice in _kept(node, genotype)}
    sources = [
        Choice(old.target, source, op)
        for source, allowed in node.operations.items()
        if source not in taken
        for op in ([old.operation] if old.operation in allowed else allowed)
    ]
    return [moves for moves in (operations, sources) if moves]


def _replaced(
    space: Space, genotype: Genotype, kind: str, old: Choice, new: Choice
) -> Genotype:
    return assemble_genotype(
        space,
        [
            (k, new if (k, choice) == (kind, old) else choice)
            for k, cell in genotype.cells.items()
            for choice in cell.choices
        ],
    )
