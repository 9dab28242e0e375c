"""Random genotypes of a space, and moves from one genotype to another.

A genotype decides, for every node, which of its edges are kept, and the operation of
each. The space's discretization rule determines how many edges are kept and whether
``none`` counts as an operation. This module needs the standard library only; random
numbers come from anything with ``integers`` and ``random``, such as
`numpy.random.Generator`.
"""

import dataclasses
import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from darts_jax.errors import InputError
from darts_jax.spaces.graph import Cell, Contest, Genotype, KeptEdge, Space

_T = TypeVar("_T")


class Rng(Protocol):
    """A source of random numbers, such as `numpy.random.Generator`."""

    def integers(self, low: int, /) -> Any:
        """Returns a whole number from 0 to ``low`` - 1."""


class UniformRng(Rng, Protocol):
    """A source of shares, too."""

    def random(self) -> float:
        """Returns a number from 0 to 1, without 1."""


@dataclasses.dataclass(frozen=True)
class KeptEdges:
    """Constraint of a discretization rule on the genotypes that it gives.

    Attributes:
      keeps: most edges that a node keeps; None: all.
      keeps_none: whether a kept edge may be ``none``.
    """

    keeps: int | None
    keeps_none: bool

    def contests(self, cell: Cell) -> tuple[Contest, ...]:
        """Returns the edges of a cell that compete, and how many are kept.

        Args:
          cell: whose own contests come before this rule.
        """
        if cell.contests:
            return cell.contests
        nodes = map(cell.incoming, range(cell.inputs, cell.states))
        most = len(cell.edges) if self.keeps is None else self.keeps
        return tuple(Contest(edges, min(most, len(edges))) for edges in nodes)


RULES: dict[str, KeptEdges] = {
    "argmax": KeptEdges(keeps=None, keeps_none=True),
    "one_strongest": KeptEdges(keeps=1, keeps_none=False),
    "two_strongest": KeptEdges(keeps=2, keeps_none=False),
    "edge_weighted": KeptEdges(keeps=2, keeps_none=False),
}
"""Constraints by discretization; ``RULES["mine"] = KeptEdges(...)`` adds one."""


@dataclasses.dataclass(frozen=True)
class DecisionNode:
    """The decisions on edges that compete, in most cells those into one node.

    Attributes:
      kind: kind of its cell.
      targets: source -> the state in which the edge from there ends.
      operations: source -> candidate operations of the edge from there.
      keeps: number of edges that are kept.
    """

    kind: str
    targets: Mapping[int, int]
    operations: Mapping[int, tuple[str, ...]]
    keeps: int

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """All sets of edges that may be kept, as tuples of ascending sources."""
        return tuple(itertools.combinations(self.operations, self.keeps))

    def choice(self, source: int, operation: str) -> KeptEdge:
        """Returns the edge from a source with an operation."""
        return KeptEdge(self.targets[source], source, operation)


def decision_nodes(space: Space) -> tuple[DecisionNode, ...]:
    """Returns the decisions of all nodes of a space, kind after kind.

    Args:
      space: any space whose discretization is in `RULES`.

    Raises:
      InputError: the discretization is not in `RULES`.
    """
    if space.discretization not in RULES:
        raise InputError(
            f"nothing says which genotypes rule {space.discretization!r} of space "
            f"{space.name!r} can give; known: {', '.join(RULES)}; add yours to "
            "spaces.moves.RULES"
        )
    rule = RULES[space.discretization]
    return tuple(
        _node(kind, cell, contest, rule)
        for kind, cell in space.cells.items()
        for contest in rule.contests(cell)
    )


def sample_genotype(space: Space, rng: Rng) -> Genotype:
    """Draws a genotype uniformly from all genotypes of a space, node by node.

    Args:
      space: any space whose discretization is in `RULES`.
      rng: source of random numbers.

    Example:
      >>> import numpy as np
      >>> from darts_jax.spaces import get_space
      >>> print(sample_genotype(get_space("nasbench201"), np.random.default_rng(0)))
      normal 1 = avg_pool_3x3(0)
      normal 2 = nor_conv_3x3(0) + nor_conv_1x1(1)
      normal 3 = skip_connect(0) + skip_connect(1) + none(2)
    """
    nodes = decision_nodes(space)
    while True:
        choices = []
        for node in nodes:
            choices += [
                (node.kind, node.choice(s, _pick(node.operations[s], rng)))
                for s in _pick(node.sources, rng)
            ]
        drawn = assemble_genotype(space, choices)
        if space.has(drawn):
            return drawn


def list_neighbours(space: Space, genotype: Genotype) -> list[Genotype]:
    """Returns all genotypes that differ in one decision, each once.

    The decision is the operation of a kept edge, or its source. An edge from another
    source keeps the operation; where that is no candidate, it takes each candidate.

    Args:
      space: of the genotype.
      genotype: whose neighbours are listed.

    Raises:
      InputError: the genotype is not of the space.
    """
    near = (
        _replaced(space, genotype, node.kind, old, new)
        for node in decision_nodes(space)
        for old in _kept(node, genotype)
        for moves in _moves(node, genotype, old)
        for new in moves
    )
    return [other for other in near if space.has(other)]


def mutate(space: Space, genotype: Genotype, rng: Rng) -> Genotype:
    """Draws one of the neighbours of a genotype (Real et al., 2019, section 3).

    Draws a node, one of its edges, whether its source or its operation changes, and the
    new value, each uniformly among those that can change.

    Args:
      space: of the genotype.
      genotype: to be mutated; stays as it is.
      rng: source of random numbers.

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
    while True:
        node, old = _pick(_pick(places, rng), rng)
        new = _pick(_pick(_moves(node, genotype, old), rng), rng)
        changed = _replaced(space, genotype, node.kind, old, new)
        if space.has(changed):
            return changed


def mutate_each(
    space: Space, genotype: Genotype, share: float, rng: UniformRng
) -> Genotype:
    """Draws a share of a genotype's decisions anew (Guo et al., 2020, section 3.3).

    Every node is drawn anew with this probability. What comes out may be none of the
    space where `Space.admits` says so.

    Args:
      space: of the genotype.
      genotype: to be mutated; stays as it is.
      share: probability, 0 to 1.
      rng: source of random numbers.
    """
    choices = []
    for node in decision_nodes(space):
        own = _kept(node, genotype)
        if rng.random() < share:
            own = [
                node.choice(s, _pick(node.operations[s], rng))
                for s in _pick(node.sources, rng)
            ]
        choices += [(node.kind, choice) for choice in own]
    return assemble_genotype(space, choices)


def recombine(
    space: Space, first: Genotype, second: Genotype, rng: UniformRng
) -> Genotype:
    """Takes every decision from one of two genotypes (Guo et al., 2020, section 3.3).

    What comes out may be none of the space where `Space.admits` says so.

    Args:
      space: of the genotypes.
      first: one of them.
      second: the other.
      rng: source of random numbers.
    """
    choices = [
        (node.kind, choice)
        for node in decision_nodes(space)
        for choice in _kept(node, (first, second)[int(rng.integers(2))])
    ]
    return assemble_genotype(space, choices)


def genotype_key(genotype: Genotype) -> Hashable:
    """Returns a key that two genotypes share if and only if their decisions are equal.

    The order in which the edges of a node are listed does not matter.

    Args:
      genotype: of any space.
    """
    return tuple(
        (kind, tuple(sorted(genotype.cells[kind].choices)))
        for kind in sorted(genotype.cells)
    )


def assemble_genotype(
    space: Space, choices: Sequence[tuple[str, KeptEdge]]
) -> Genotype:
    """Returns the genotype that keeps the given edges.

    Args:
      space: of the genotype.
      choices: (kind of cell, kept edge) in any order.
    """
    cells = {
        kind: cell.keep(sorted(choice for k, choice in choices if k == kind))
        for kind, cell in space.cells.items()
    }
    return Genotype(space.name, cells)


def _node(kind: str, cell: Cell, contest: Contest, rule: KeptEdges) -> DecisionNode:
    operations = {}
    targets = {}
    for edge in (cell.edges[e] for e in contest.edges):
        allowed = [op for op in edge.operations if op != "none" or rule.keeps_none]
        if allowed:
            operations[edge.source] = tuple(allowed)
            targets[edge.source] = edge.target
    keeps = min(contest.keeps, len(operations))
    return DecisionNode(kind, targets, operations, keeps)


def _pick(of: Sequence[_T], rng: Rng) -> _T:
    return of[int(rng.integers(len(of)))]


def _kept(node: DecisionNode, genotype: Genotype) -> list[KeptEdge]:
    """Returns the edges of a node that a genotype keeps."""
    cell = genotype.cells.get(node.kind)
    ends = set(node.targets.values())
    kept = [c for c in cell.choices if c.target in ends] if cell else []
    strange = [c for c in kept if c.operation not in node.operations.get(c.source, ())]
    if (
        strange
        or len({c.source for c in kept}) != node.keeps
        or len(kept) != node.keeps
    ):
        raise InputError(
            f"{node.kind} {_named(ends)} of the genotype keeps "
            f"{[(c.operation, c.source) for c in kept]}; its space wants {node.keeps} "
            f"edges of {dict(node.operations)}"
        )
    return kept


def _named(states: set[int]) -> str:
    return ", ".join(map(str, sorted(states)))


def _moves(
    node: DecisionNode, genotype: Genotype, old: KeptEdge
) -> list[list[KeptEdge]]:
    """Returns the non-empty lists of new values: by operation, by source."""
    operations = [
        node.choice(old.source, op)
        for op in node.operations[old.source]
        if op != old.operation
    ]
    taken = {choice.source for choice in _kept(node, genotype)}
    sources = [
        node.choice(source, op)
        for source, allowed in node.operations.items()
        if source not in taken
        for op in ([old.operation] if old.operation in allowed else allowed)
    ]
    return [moves for moves in (operations, sources) if moves]


def _replaced(
    space: Space, genotype: Genotype, kind: str, old: KeptEdge, new: KeptEdge
) -> Genotype:
    return assemble_genotype(
        space,
        [
            (k, new if (k, choice) == (kind, old) else choice)
            for k, cell in genotype.cells.items()
            for choice in cell.choices
        ],
    )
