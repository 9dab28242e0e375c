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
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from darts_jax.errors import InputError
from darts_jax.spaces.structure import require_cell, require_space
from darts_jax.spaces.widths import (
    COLUMNS,
    LEAVE_OUT,
    STEM,
    TAKE,
    rounded,
    width_share,
)


@dataclasses.dataclass(frozen=True, order=True)
class Edge:
    """An edge from one state to another, with its candidate operations.

    Attributes:
      source: number of the state it leaves.
      target: number of the state it ends in.
      operations: names of the candidates.
      stride: 1 or 2, of the operations.
    """

    source: int
    target: int
    operations: tuple[str, ...]
    stride: int = 1

    @property
    def width_shares(self) -> tuple[float, ...]:
        """Shares of the channels to choose the cell's width from; none on most edges.

        The edge then has no operation, but decides the width of all states.
        """
        shares = map(width_share, self.operations)
        return tuple(share for share in shares if share is not None)


@dataclasses.dataclass(frozen=True)
class Contest:
    """Edges that compete for a place in a genotype.

    Attributes:
      edges: their indices; no two leave the same state.
      keeps: number of edges that a genotype keeps.
    """

    edges: tuple[int, ...]
    keeps: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """A kind of cell.

    Attributes:
      inputs: number of input states: the outputs of that many preceding cells.
      nodes: number of states computed from them.
      edges: candidate edges, ordered by (target, source).
      output: the states whose channels are concatenated to the cell's output.
      contests: all edges, by those that compete; empty: the edges into a node do, and
        the rule of discretization says how many of them are kept.
    """

    inputs: int
    nodes: int
    edges: tuple[Edge, ...]
    output: tuple[int, ...]
    contests: tuple[Contest, ...] = ()

    def __post_init__(self) -> None:
        require_cell(self)

    @property
    def states(self) -> int:
        return self.inputs + self.nodes

    @property
    def stride(self) -> int:
        """Stride of the whole cell."""
        return max(edge.stride for edge in self.edges)

    @property
    def operations(self) -> tuple[str, ...]:
        """All candidate operations of the cell's edges, each once."""
        return tuple(dict.fromkeys(op for edge in self.edges for op in edge.operations))

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the architecture parameters: edges, most operations of an edge."""
        return len(self.edges), max(len(edge.operations) for edge in self.edges)

    @property
    def mask(self) -> tuple[tuple[bool, ...], ...]:
        """True where an entry of the architecture parameters is an operation."""
        width = self.shape[1]
        return tuple(
            tuple(column < len(edge.operations) for column in range(width))
            for edge in self.edges
        )

    @property
    def is_chain(self) -> bool:
        """True if one edge leads to each state: a skipped edge leaves out a block."""
        return all(len(self.incoming(s)) == 1 for s in range(self.inputs, self.states))

    @property
    def width_edge(self) -> int | None:
        """Index of the edge that decides the width of all states, if one does."""
        deciding = (e for e, edge in enumerate(self.edges) if edge.width_shares)
        return next(deciding, None)

    @property
    def width_shares(self) -> tuple[float, ...]:
        """Shares of the states' channels to choose the width from."""
        if self.width_edge is None:
            return (1.0,)
        return self.edges[self.width_edge].width_shares

    @property
    def rivals(self) -> tuple[int, ...]:
        """A number for each edge, the same for those that compete.

        In a contest that keeps all of its edges, none competes.
        """
        if not self.contests:
            return tuple(edge.target for edge in self.edges)
        firsts = {
            e: e if contest.keeps == len(contest.edges) else contest.edges[0]
            for contest in self.contests
            for e in contest.edges
        }
        return tuple(firsts[e] for e in range(len(self.edges)))

    def keep(self, choices: "Sequence[KeptEdge]") -> "CellGenotype":
        """Returns the genotype of these choices, its output without empty states.

        Args:
          choices: kept edges, in the order of their targets.
        """
        filled = {choice.target for choice in choices}
        output = tuple(state for state in self.output if state in filled)
        return CellGenotype(self.inputs, tuple(choices), output)

    def incoming(self, target: int) -> tuple[int, ...]:
        """Returns the indices of the edges that end in state ``target``."""
        return tuple(i for i, edge in enumerate(self.edges) if edge.target == target)


@dataclasses.dataclass(frozen=True)
class Macro:
    """Macro structure: how cells are stacked to a network.

    Attributes:
      layout: number of cells -> the kind of every block, first to last. A kind
        that is no cell of the space is ``"residual"``, a residual block of stride 2, or
        ``"pool"``, 2x2 max pooling.
      reductions: the kinds that halve the image and double the channels.
      stem_multiplier: channels of the stem, in units of the cells' channels.
      preprocesses: whether a cell first projects its inputs to its own width.
      final_norm: whether BN and ReLU precede the global pooling.
      widths: kind -> channels of its blocks, in a network of ``base`` channels. Blocks
        of a missing kind have as many as the block before, or twice as many if they
        reduce. ``STEM`` and ``FEATURES`` (a 1x1 convolution before the pooling) may
        have widths too.
      base: channels of the network that ``widths`` belong to.
      stem_stride: stride of the stem's convolution.
      activation: after stem and features; none if empty.
      axes: number of axes that windows span: 2 of images, 1 of signals, which are
        images of one row, 0 of tables, whose rows are images of one pixel.
      stem_follows: kind whose chosen width is the stem's too; none if empty.
    """

    layout: Callable[[int], tuple[str, ...]]
    reductions: tuple[str, ...]
    stem_multiplier: int
    preprocesses: bool
    final_norm: bool
    widths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    base: int = 1
    stem_stride: int = 1
    activation: str = ""
    axes: int = 2
    stem_follows: str = ""

    def widths_at(self, channels: int) -> dict[str, int]:
        """Returns widths by name for a network of ``channels``, the stem's too."""
        scaled = {
            name: rounded(width * channels / self.base)
            for name, width in self.widths.items()
        }
        return {STEM: self.stem_multiplier * channels} | scaled

    def halvings(self, cells: int) -> int:
        """Returns how often a network of ``cells`` cells halves the image."""
        reduces = (kind in self.reductions for kind in self.layout(cells))
        return sum(reduces) + int(self.stem_stride == 2)


@dataclasses.dataclass(frozen=True)
class Space:
    """A search space: kinds of cells, and how they are stacked.

    Example:
      >>> edge = darts_jax.Edge(0, 1, ("none", "skip_connect", "nor_conv_1x1"))
      >>> cell = darts_jax.Cell(inputs=1, nodes=1, edges=(edge,), output=(1,))
      >>> macro = darts_jax.Macro(
      ...     layout=lambda cells: ("normal",) * cells,
      ...     reductions=(),
      ...     stem_multiplier=1,
      ...     preprocesses=False,
      ...     final_norm=False,
      ... )
      >>> darts_jax.SPACES["one_edge"] = darts_jax.Space(
      ...     "one_edge", {"normal": cell}, macro, discretization="argmax"
      ... )
      >>> darts_jax.get_space("one_edge").cells["normal"].shape
      (1, 3)

    Attributes:
      name: the name under which configs and genotypes refer to it.
      cells: kind -> cell.
      macro: how the cells are stacked.
      discretization: name of the rule that reads a genotype off the architecture
        parameters, a key of `DISCRETIZATIONS`.
      supernet_variants: operation -> the entry of `OPERATIONS` that the supernet uses
        in its place, where a paper's supernet differs.
      family: name of the kind of network that is built from it; a task has a builder
        for each family that it can train. That of ``table`` has none: such a space is
        looked up, not trained.
      admits: whether a genotype that its cells could have is one of the space; None:
        all of them are.

    Raises:
      InputError: cells and macro structure do not fit each other.
    """

    name: str
    cells: Mapping[str, Cell]
    macro: Macro
    discretization: str
    supernet_variants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    family: str = "cells"
    admits: "Callable[[Genotype], bool] | None" = None

    def __post_init__(self) -> None:
        require_space(self)

    def has(self, genotype: "Genotype") -> bool:
        """Returns whether a genotype that its cells could have is one of the space.

        Args:
          genotype: whose edges and operations are those of the cells.
        """
        return self.admits is None or self.admits(genotype)


def dense_edges(
    inputs: int,
    nodes: int,
    operations: Sequence[str] | Mapping[tuple[int, int], Sequence[str]],
    stride: int = 1,
) -> tuple[Edge, ...]:
    """Returns all forward edges into the nodes of a cell.

    Args:
      inputs: number of input states.
      nodes: number of nodes.
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
class KeptEdge:
    """A kept edge with its operation: ``target`` sums ``operation(source)``.

    Attributes:
      target: number of the state it ends in.
      source: number of the state it leaves.
      operation: name of the operation.
    """

    target: int
    source: int
    operation: str

    @property
    def width_share(self) -> float | None:
        """Share of the channels that the cell keeps, if the edge chooses its width."""
        return width_share(self.operation)


@dataclasses.dataclass(frozen=True)
class CellGenotype:
    """The kept edges of one kind of cell.

    Attributes:
      inputs: number of input states.
      choices: kept edges, in the order of their targets.
      output: states whose channels are concatenated to the cell's output.
    """

    inputs: int
    choices: tuple[KeptEdge, ...]
    output: tuple[int, ...]

    @property
    def states(self) -> int:
        """Inputs and nodes, up to the last that has an edge."""
        return max([self.inputs - 1, *(c.target for c in self.choices)]) + 1

    @property
    def skips(self) -> int:
        """Number of kept edges that are ``skip_connect``."""
        return sum(choice.operation == "skip_connect" for choice in self.choices)

    @property
    def width_share(self) -> float:
        """Share of the channels that the cell keeps; 1 where no width is chosen."""
        shares = (choice.width_share for choice in self.choices)
        return math.prod(share for share in shares if share is not None)

    @property
    def is_connected(self) -> bool:
        """True if a path without ``none`` leads from an input to the output."""
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
        strange = [state for state in self.output if state not in known]
        if strange or not self.output:
            told = f"state {strange[0]}, to which no edge leads" if strange else "none"
            raise InputError(f"genotype output {list(self.output)[:12]} names {told}")


@dataclasses.dataclass(frozen=True)
class Genotype:
    """A discrete architecture: the cells of a space with every edge decided.

    Example:
      >>> text = "|none~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
      >>> genotype = darts_jax.Genotype.from_nasbench201(text)
      >>> print(genotype)
      normal 1 = none(0)
      normal 2 = none(0) + skip_connect(1)
      normal 3 = none(0) + none(1) + avg_pool_3x3(2)
      >>> darts_jax.Genotype.from_json(genotype.to_json()) == genotype
      True

    Attributes:
      space: name of its space.
      cells: kind -> kept edges.
      space: name of the space.
      cells: kind -> the kept edges of its cell.
      widths: channels by kind, ``STEM`` and ``FEATURES``, where the network has its own
        in place of the macro structure's.
    """

    space: str
    cells: Mapping[str, CellGenotype]
    widths: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def widths_in(self, macro: Macro, channels: int) -> dict[str, int]:
        """Returns the widths of this genotype's network, by name.

        Args:
          macro: macro structure of its space.
          channels: number of channels that is asked for; see `Macro.widths_at`.
        """
        whole = macro.widths_at(channels) | dict(self.widths)
        shares = {kind: cell.width_share for kind, cell in self.cells.items()}
        shares[STEM] = shares.get(macro.stem_follows, 1)
        return {
            name: width if shares.get(name, 1) == 1 else rounded(width * shares[name])
            for name, width in whole.items()
        }

    @property
    def columns(self) -> tuple[int, ...] | None:
        """Numbers of a table's columns that the network reads; None: all."""
        choices = self.cells[COLUMNS].choices if COLUMNS in self.cells else ()
        # A choice in a user's network may have the name of our kind.
        if not choices or not {c.operation for c in choices} <= {TAKE, LEAVE_OUT}:
            return None
        return tuple(c.source for c in choices if c.operation == TAKE)

    def to_json(self) -> str:
        """Returns this project's JSON, which `from_json` reads."""
        choices = self._module_choices()
        if choices is not None:
            named = {"space": self.space, "choices": choices}
            return json.dumps(named, indent=1) + "\n"
        cells = {
            kind: {
                "inputs": cell.inputs,
                "edges": [[c.operation, c.source, c.target] for c in cell.choices],
                "output": list(cell.output),
            }
            for kind, cell in self.cells.items()
        }
        tree: dict[str, Any] = {"space": self.space, "cells": cells}
        if self.widths:
            tree["widths"] = dict(self.widths)
        return json.dumps(tree, indent=1) + "\n"

    def __str__(self) -> str:
        """Returns a line per node: ``normal 2 = sep_conv_3x3(0) + skip_connect(1)``."""
        choices = self._module_choices()
        if choices is not None:
            return "\n".join(f"{name} = {option}" for name, option in choices.items())
        lines = []
        for kind, cell in self.cells.items():
            if kind == COLUMNS and self.columns is not None:
                taken = ", ".join(str(column + 1) for column in self.columns)
                lines.append(f"{kind} = {taken or 'none'} of {len(cell.choices)}")
                continue
            for target in range(cell.inputs, cell.states):
                terms = [
                    f"{c.operation}({c.source})"
                    for c in cell.choices
                    if c.target == target
                ]
                lines.append(f"{kind} {target} = {' + '.join(terms) or 'zero'}")
        return "\n".join(lines)

    def _module_choices(self) -> dict[str, str] | None:
        """Returns the choices in a user's own network; None of another space."""
        from darts_jax.spaces import modules

        return modules.choices_of(self) if modules.is_module(self.space) else None

    @classmethod
    def from_json(cls, text: str) -> "Genotype":
        """Reads this project's JSON, or JSON of pairs, and checks it against its space.

        Args:
          text: the JSON.

        Raises:
          InputError: the text is not JSON, not a genotype, or none of its space.
        """
        from darts_jax.spaces.written import parse_json

        return parse_json(text)

    @classmethod
    def from_pairs(cls, tree: object, space: str | None = None) -> "Genotype":
        """Reads ``{"normal": [[operation, source], ...], "normal_concat": [...]}``.

        Two consecutive pairs are the inputs of one node (Liu et al., 2019, code); a
        node of the recurrent cell, ``{"recurrent": [...], "concat": [...]}``, has one.
        An edge may be a triple that names its node as well, as FairDARTS's are.

        Args:
          tree: a mapping, or a named tuple as published code has it.
          space: name of its space; None: the usual space of such pairs, or the first
            that it fits.

        Raises:
          InputError: it is no genotype, or none of the space.
        """
        from darts_jax.spaces.written import parse_pairs

        return parse_pairs(tree, space)

    def to_nasbench201(self) -> str:
        """Returns the benchmark's string: ``|op~0|+|op~0|op~1|+...``."""
        (cell,) = self.cells.values()
        groups = [
            "".join(f"|{c.operation}~{c.source}" for c in cell.choices if c.target == t)
            + "|"
            for t in range(1, cell.states)
        ]
        return "+".join(groups)

    @classmethod
    def from_nasbench201(cls, text: str, space: str | None = None) -> "Genotype":
        """Reads the benchmark's string, which lists every edge in order.

        Args:
          text: the string.
          space: name of its space; None: ``nasbench201``, or the first that it fits.

        Raises:
          InputError: it is no such string, or none of the space.
        """
        from darts_jax.spaces.written import parse_nasbench201

        return parse_nasbench201(text, space)
