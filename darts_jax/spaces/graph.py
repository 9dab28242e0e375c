"""Search spaces and genotypes as frozen data.

A *cell* is a directed acyclic graph whose nodes are feature maps ("states") and
whose edges list the operations that they may be. A *space* names its kinds of
cells and says how they are stacked into a network (its *macro* structure). A
*genotype* is one choice: the operation of every edge that is kept.

States are numbered as in Liu et al. (2019): first the inputs of the cell, then
its nodes. Edges are ordered by (target, source), as in the published code, and row
``e`` of an architecture parameter belongs to edge ``e``, column ``o`` to its
``o``-th operation. This module needs the standard library only.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from darts_jax.errors import InputError


@dataclasses.dataclass(frozen=True, order=True)
class Edge:
    """An edge from one state to another and the operations that it may be."""

    source: int
    target: int
    operations: tuple[str, ...]
    stride: int = 1


@dataclasses.dataclass(frozen=True)
class Cell:
    """A kind of cell.

    Attributes:
      inputs: number of input states: the outputs of that many preceding cells.
      nodes: number of states computed from them.
      edges: candidate edges, ordered by (target, source).
      output: the states whose channels are concatenated to the cell's output.
    """

    inputs: int
    nodes: int
    edges: tuple[Edge, ...]
    output: tuple[int, ...]

    def __post_init__(self) -> None:
        if list(self.edges) != sorted(self.edges, key=lambda e: (e.target, e.source)):
            raise InputError("edges of a cell must be ordered by (target, source)")
        for edge in self.edges:
            if not edge.source < edge.target or edge.target < self.inputs:
                raise InputError(f"edge {edge.source}->{edge.target} is not forward")
            if edge.target >= self.states:
                raise InputError(f"edge to state {edge.target} of {self.states}")

    @property
    def states(self) -> int:
        return self.inputs + self.nodes

    @property
    def stride(self) -> int:
        """Of the whole cell."""
        return max(edge.stride for edge in self.edges)

    @property
    def operations(self) -> tuple[str, ...]:
        """Every operation that some edge may be, each once."""
        return tuple(dict.fromkeys(op for edge in self.edges for op in edge.operations))

    @property
    def shape(self) -> tuple[int, int]:
        """Of this kind's architecture parameters: edges, most operations of an edge."""
        return len(self.edges), max(len(edge.operations) for edge in self.edges)

    @property
    def mask(self) -> tuple[tuple[bool, ...], ...]:
        """Which entries of the architecture parameters stand for an operation."""
        width = self.shape[1]
        return tuple(
            tuple(column < len(edge.operations) for column in range(width))
            for edge in self.edges
        )

    def incoming(self, target: int) -> tuple[int, ...]:
        """Indices of the edges that end in a state."""
        return tuple(i for i, edge in enumerate(self.edges) if edge.target == target)


@dataclasses.dataclass(frozen=True)
class Macro:
    """How cells are stacked.

    Attributes:
      layout: number of cells -> the kind of every block, first to last. A kind
        that is no cell of the space is ``"residual"``: a stride-2 residual block.
      reductions: the kinds that halve the image and double the channels.
      stem_multiplier: channels of the stem, in units of the cells' channels.
      preprocesses: whether a cell first projects its inputs to its own width.
      final_norm: whether BN and ReLU precede the global pooling.
    """

    layout: Callable[[int], tuple[str, ...]]
    reductions: tuple[str, ...]
    stem_multiplier: int
    preprocesses: bool
    final_norm: bool


@dataclasses.dataclass(frozen=True)
class Space:
    """Everything that a search may find.

    Attributes:
      name: the name under which configs and genotypes refer to it.
      cells: kind -> cell.
      macro: how the cells are stacked.
      discretization: name of the rule by which the genotype is read off.
      supernet_variants: operation -> the entry of the table of operations that
        the supernet uses in its place, where a paper's supernet differs.
      family: name of the networks that are made of it; a task has a builder of each
        that it can train.
    """

    name: str
    cells: Mapping[str, Cell]
    macro: Macro
    discretization: str
    supernet_variants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    family: str = "cells"


def dense_edges(
    inputs: int,
    nodes: int,
    operations: Sequence[str] | Mapping[tuple[int, int], Sequence[str]],
    stride: int = 1,
) -> tuple[Edge, ...]:
    """All forward edges into the nodes of a cell.

    Args:
      operations: one list for all edges, or one for every (source, target).
      stride: of the edges that leave an input.
    """
    pairs = [
        (source, target)
        for target in range(inputs, inputs + nodes)
        for source in range(target)
    ]
    if not isinstance(operations, Mapping):
        operations = dict.fromkeys(pairs, operations)
    return tuple(
        Edge(
            s,
            t,
            tuple(operations[s, t]),
            stride if s < inputs else 1,
        )
        for s, t in pairs
    )


@dataclasses.dataclass(frozen=True, order=True)
class Choice:
    """One kept edge: which operation turns ``source`` into a part of ``target``."""

    target: int
    source: int
    operation: str


@dataclasses.dataclass(frozen=True)
class CellGenotype:
    """The kept edges of one kind of cell, in the order of their targets."""

    inputs: int
    choices: tuple[Choice, ...]
    output: tuple[int, ...]

    @property
    def states(self) -> int:
        """Inputs and nodes, up to the last that has an edge."""
        return max([self.inputs - 1, *(c.target for c in self.choices)]) + 1

    @property
    def skips(self) -> int:
        """How many of the kept edges are ``skip_connect``."""
        return sum(choice.operation == "skip_connect" for choice in self.choices)

    @property
    def is_connected(self) -> bool:
        """Whether some path without ``none`` leads from an input to the output."""
        reached = set(range(self.inputs))
        for choice in sorted(self.choices):
            if choice.operation != "none" and choice.source in reached:
                reached.add(choice.target)
        return not reached.isdisjoint(self.output)

    def __post_init__(self) -> None:
        for c in self.choices:
            if not 0 <= c.source < c.target or c.target < self.inputs:
                raise InputError(
                    f"edge {c.source}->{c.target} ({c.operation}) is not forward"
                )
        known = range(self.states)
        if not self.output or not all(state in known for state in self.output):
            raise InputError(f"genotype output {list(self.output)} names no states")


@dataclasses.dataclass(frozen=True)
class Genotype:
    """A discrete architecture: the cells of a space with every edge decided."""

    space: str
    cells: Mapping[str, CellGenotype]

    def to_json(self) -> str:
        cells = {
            kind: {
                "inputs": cell.inputs,
                "edges": [[c.operation, c.source, c.target] for c in cell.choices],
                "output": list(cell.output),
            }
            for kind, cell in self.cells.items()
        }
        return json.dumps({"space": self.space, "cells": cells}, indent=1) + "\n"

    def __str__(self) -> str:
        """One line per node: ``normal 2 = sep_conv_3x3(0) + skip_connect(1)``."""
        lines = []
        for kind, cell in self.cells.items():
            for target in range(cell.inputs, cell.states):
                terms = [
                    f"{c.operation}({c.source})"
                    for c in cell.choices
                    if c.target == target
                ]
                lines.append(f"{kind} {target} = {' + '.join(terms) or 'zero'}")
        return "\n".join(lines)

    @classmethod
    def from_json(cls, text: str) -> "Genotype":
        """Reads this project's form or the published two-edges-per-node form.

        Raises:
          InputError: the text is not JSON or not a genotype.
        """
        try:
            tree = json.loads(text)
            if "cells" not in tree:
                return cls.from_pairs(tree)
            cells = {
                kind: CellGenotype(
                    int(cell["inputs"]),
                    tuple(
                        Choice(int(t), int(s), str(op)) for op, s, t in cell["edges"]
                    ),
                    tuple(int(state) for state in cell["output"]),
                )
                for kind, cell in tree["cells"].items()
            }
            return cls(str(tree["space"]), cells)
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"not a genotype: {error!r}") from None

    @classmethod
    def from_pairs(cls, tree: Mapping[str, Any], space: str = "darts") -> "Genotype":
        """From ``{"normal": [[operation, source], ...], "normal_concat": [...], ...}``.

        Two consecutive pairs are the inputs of one node (Liu et al., 2019, code).
        """
        cells = {}
        for kind in (k for k in tree if f"{k}_concat" in tree):
            choices = tuple(
                Choice(2 + i // 2, int(source), str(op))
                for i, (op, source) in enumerate(tree[kind])
            )
            cells[kind] = CellGenotype(2, choices, tuple(tree[f"{kind}_concat"]))
        if not cells:
            raise InputError(
                "not a genotype: no cells; wanted 'cells' or '<kind>_concat'"
            )
        return cls(space, cells)

    def to_nasbench201(self) -> str:
        """The benchmark's string: ``|op~0|+|op~0|op~1|+...``, one group per node."""
        (cell,) = self.cells.values()
        groups = [
            "".join(f"|{c.operation}~{c.source}" for c in cell.choices if c.target == t)
            + "|"
            for t in range(1, cell.states)
        ]
        return "+".join(groups)

    @classmethod
    def from_nasbench201(cls, text: str) -> "Genotype":
        """Reads the benchmark's string; raises InputError if it is not one."""
        choices = []
        for node, group in enumerate(text.strip().split("+"), start=1):
            for part in group.strip("|").split("|"):
                op, tilde, source = part.partition("~")
                if not (op and tilde and source.isdigit()):
                    raise InputError(
                        f"not a NAS-Bench-201 string: {part!r} in {text!r}"
                    )
                choices.append(Choice(node, int(source), op))
        cell = CellGenotype(1, tuple(choices), (choices[-1].target,))
        return cls("nasbench201", {"normal": cell})
