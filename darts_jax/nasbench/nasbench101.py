"""The cells of NAS-Bench-101 and their accuracies on CIFAR-10 (Ying et al., 2019).

A row is a graph of up to 7 vertices: the input, up to 5 blocks and the output. ``ops``
names the blocks' operations, ``blocks`` uint8 [cell, 5] has the operation of every
block, or ``len(ops)`` where a graph has fewer, ``graph`` bool [cell, 21] the edges of
its adjacency matrix above the diagonal, row by row; the output is always vertex 6.
Graphs that differ in the numbers of their blocks alone are one cell.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Bool, Int, UInt

from darts_jax.errors import InputError
from darts_jax.nasbench.table import (
    Progress,
    Table,
    read_columns,
    require_arrays,
)
from darts_jax.nasbench.tfrecord import read_trainings
from darts_jax.spaces.graph import Genotype, KeptEdge
from darts_jax.spaces.moves import assemble_genotype
from darts_jax.spaces.nasbench1shot1 import BLOCKS, NASBENCH101, PARENTS, cell_graph

VERTICES = 7
EDGES = tuple(itertools.combinations(range(VERTICES), 2))
"""(source, target) of every entry of ``graph``."""
OFFICIAL = dict(
    zip(("maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu"), BLOCKS, strict=True)
)
"""Operation in the official files -> in this project's spaces."""

_OUTPUT = VERTICES - 1
_CODED = ("ops", "graph", "blocks")
_CELLS_AT_ONCE = 50_000  # adjacency matrices of all would take 200 MB


@dataclasses.dataclass(frozen=True, eq=False)
class NASBench101(Table):
    """The benchmark, as `load_table` reads it.

    Attributes:
      columns: name -> a number of every cell.
      operations: names of the blocks' operations, by code.
      graphs: edges of every cell, in the order of `EDGES`.
      blocks: code of every block, ``len(operations)`` where there is none.
    """

    operations: tuple[str, ...]
    graphs: Bool[np.ndarray, "cell 21"]
    blocks: Int[np.ndarray, "cell 5"]

    name: ClassVar[str] = "nasbench101"
    title: ClassVar[str] = "NAS-Bench-101"
    spaces: ClassVar[tuple[str, ...]] = (*PARENTS, NASBENCH101.name)
    told_epochs: ClassVar[int] = 108

    @classmethod
    def from_arrays(cls, path: str | Path, arrays: Mapping[str, np.ndarray]) -> Self:
        require_arrays(cls.title, path, arrays, _CODED)
        operations = tuple(str(name) for name in arrays["ops"])
        graphs, blocks = arrays["graph"], arrays["blocks"]
        wanted = (len(graphs), VERTICES - 2)
        right = graphs.shape == (len(graphs), len(EDGES)) and graphs.dtype == bool
        if not right or not len(graphs):
            raise InputError(
                f"graph of {cls.title} table {path} is {graphs.dtype} {graphs.shape}; "
                f"want bool, {len(EDGES)} edges of each cell"
            )
        whole = blocks.dtype.kind in "iu" and blocks.shape == wanted
        if not whole or blocks.min() < 0 or blocks.max() > len(operations):
            raise InputError(
                f"blocks of {cls.title} table {path} is {blocks.dtype} {blocks.shape}; "
                f"want {wanted}, whole numbers up to {len(operations)}"
            )
        columns = read_columns(cls.title, path, arrays, len(graphs), _CODED)
        table = cls(columns, operations, graphs, blocks.astype(np.int8))
        if len(table._rows) < len(graphs):
            raise InputError(f"graph of {cls.title} table {path} has a cell twice")
        return table

    def row(self, genotype: Genotype) -> int:
        """Returns the row of a cell, whatever the numbers of its blocks.

        Args:
          genotype: of one of ``spaces``.

        Raises:
          InputError: it is none of these, or the table has no such graph.
        """
        graph, blocks = self._graph_of(genotype)
        (key,) = graph_keys(graph[None], blocks[None], len(self.operations)).tolist()
        try:
            return self._rows[key]
        except KeyError:
            raise InputError(
                f"the table has no cell of {graph.sum()} edges with blocks "
                f"{', '.join(self._names(blocks))}; NAS-Bench-101 has those of up to 9 "
                "edges that lead from the input to the output"
            ) from None

    def rows_of(self, space: str) -> slice | None:
        """Returns all rows for ``nasbench101``; the others have some of its cells.

        Args:
          space: of ``spaces``.
        """
        return slice(None) if space == NASBENCH101.name else None

    def genotype(self, row: int) -> Genotype:
        """Returns the cell of a row, in the space ``nasbench101``.

        Args:
          row: from 0.
        """
        kept = {edge for edge, on in zip(EDGES, self.graphs[row], strict=True) if on}
        (cell,) = NASBENCH101.cells.values()
        behind = 2 * _OUTPUT - 1
        choices = []
        for edge in cell.edges:
            target = edge.target
            if target % 2 == 0 and target < behind:
                code = int(self.blocks[row, target // 2 - 1])
                known = self.operations[code : code + 1] or edge.operations[:1]
                choices.append(KeptEdge(target, edge.source, known[0]))
                continue
            ends = _OUTPUT if target >= behind else (target + 1) // 2
            operation = edge.operations[(edge.source // 2, ends) in kept]
            choices.append(KeptEdge(target, edge.source, operation))
        return assemble_genotype(NASBENCH101, [("normal", c) for c in choices])

    def _names(self, blocks: Int[np.ndarray, " 5"]) -> list[str]:
        return [self.operations[b] for b in blocks if b < len(self.operations)]

    @functools.cached_property
    def _rows(self) -> dict[int, int]:
        keys = [
            graph_keys(
                self.graphs[i : i + _CELLS_AT_ONCE],
                self.blocks[i : i + _CELLS_AT_ONCE],
                len(self.operations),
            )
            for i in range(0, len(self.graphs), _CELLS_AT_ONCE)
        ]
        return {key: row for row, key in enumerate(np.concatenate(keys).tolist())}

    def _graph_of(
        self, genotype: Genotype
    ) -> tuple[Bool[np.ndarray, " 21"], Int[np.ndarray, " 5"]]:
        if genotype.space not in self.spaces:
            raise InputError(
                f"a genotype of space {genotype.space!r} is no NAS-Bench-101 cell; "
                f"want one of {', '.join(self.spaces)}"
            )
        edges, operations = cell_graph(genotype)
        last = max((target for _, target in edges), default=0)
        named = {(s, _OUTPUT if t == last else t) for s, t in edges}
        graph = np.array([edge in named for edge in EDGES])
        blocks = np.full(VERTICES - 2, len(self.operations), np.int8)
        for block, operation in operations.items():
            if operation not in self.operations:
                raise InputError(f"NAS-Bench-101 has no {operation}")
            blocks[block - 1] = self.operations.index(operation)
        return graph, blocks


def convert_trainings(source: Path, progress: Progress) -> dict[str, np.ndarray]:
    """Returns the arrays of a table, of the trainings in an official file.

    Accuracies and seconds are means over the trainings of a cell, of which there are
    three of each length.

    Args:
      source: ``nasbench_only108.tfrecord`` or ``nasbench_full.tfrecord``.
      progress: told the number of cells so far.

    Raises:
      InputError: the file is missing, truncated or damaged, or lacks a training that
        other cells have.
    """
    operations = tuple(OFFICIAL)
    rows: dict[tuple[str, tuple[str, ...]], int] = {}
    parameters: list[int] = []
    sums: dict[int, dict[int, list[float]]] = {}
    for training in read_trainings(source):
        row = rows.setdefault((training.matrix, training.operations), len(rows))
        if row == len(parameters):
            parameters.append(training.parameters)
            progress(len(rows), 0)
        total = sums.setdefault(training.epochs, {}).setdefault(row, [0.0] * 4)
        for i, value in enumerate((*training.end, 1.0)):
            total[i] += value
    if not rows:
        raise InputError(f"{source} has no trainings")
    columns = {}
    for epochs, of_rows in sorted(sums.items()):
        lacking = set(range(len(rows))) - set(of_rows)
        if lacking:
            raise InputError(
                f"{source} lacks trainings of {epochs} epochs of cell {min(lacking)}"
            )
        table = np.array([of_rows[row] for row in range(len(rows))])
        seconds, valid, test = (table[:, :3] / table[:, 3:]).T
        columns[f"cifar10_valid_{epochs}"] = (100 * valid).astype(np.float32)
        columns[f"cifar10_test_{epochs}"] = (100 * test).astype(np.float32)
        columns[f"train_seconds_{epochs}_cifar10"] = seconds.astype(np.float32)
        columns[f"n_seeds_{epochs}"] = table[:, 3].astype(np.uint8)
    coded = [_code(source, operations, *cell) for cell in rows]
    return {
        "ops": np.array([OFFICIAL[name] for name in operations]),
        "graph": np.array([graph for graph, _ in coded]),
        "blocks": np.array([blocks for _, blocks in coded]),
        "parameters": np.array(parameters, np.int32),
        **columns,
    }


def _code(
    source: Path, known: tuple[str, ...], matrix: str, operations: tuple[str, ...]
) -> tuple[Bool[np.ndarray, " 21"], UInt[np.ndarray, " 5"]]:
    """Returns the edges and blocks of an official cell, its output as vertex 6."""
    size = len(operations)
    inner = operations[1:-1]
    ends = operations[:1], operations[-1:]
    sound = 2 <= size <= VERTICES and len(matrix) == size**2 and {*matrix} <= {*"01"}
    if not sound or ends != (("input",), ("output",)) or not {*inner} <= {*known}:
        raise InputError(
            f"{source} has a cell {matrix[:60]} of {', '.join(operations)[:120]}; want "
            "one of NAS-Bench-101"
        )
    place = [*range(size - 1), _OUTPUT]
    whole = np.zeros((VERTICES, VERTICES), bool)
    whole[np.ix_(place, place)] = np.array([*matrix]).reshape(size, size) == "1"
    if np.tril(whole).any():
        raise InputError(f"{source} has a cell {matrix} with an edge that goes back")
    blocks = np.full(VERTICES - 2, len(known), np.uint8)
    blocks[: len(inner)] = [known.index(name) for name in inner]
    return whole[np.triu_indices(VERTICES, 1)], blocks


def graph_keys(
    graphs: Bool[np.ndarray, "cell 21"],
    blocks: Int[np.ndarray, "cell 5"],
    absent: int,
) -> UInt[np.ndarray, " cell"]:
    """Returns a number for each graph, the same for those that are isomorphic.

    The labels of all vertices are refined 7 times by those of the vertices before and
    behind them (Weisfeiler and Leman, 1968), as the benchmark's own hash does it; the
    key is a hash of the vertices' last labels.

    Args:
      graphs: entries above the diagonal of adjacency matrices, without vertices that
        lead nowhere.
      blocks: code of the operation of every block.
      absent: the code of no block.
    """
    matrix = np.zeros((len(graphs), VERTICES, VERTICES), np.uint64)
    matrix[(slice(None), *np.triu_indices(VERTICES, 1))] = graphs
    labels = np.full((len(graphs), VERTICES), absent + 1, np.uint64)
    labels[:, 1:_OUTPUT] = blocks
    labels[:, _OUTPUT] = absent + 2
    hashes = _mix(labels)
    # Products and sums of uint64 wrap around, as they should in a hash.
    for _ in range(VERTICES):
        before = np.einsum("cvw,cv->cw", matrix, _mix(hashes))
        behind = np.einsum("cvw,cw->cv", matrix, _mix(hashes ^ _BEHIND))
        hashes = _mix(hashes + _mix(before) * _BEFORE + _mix(behind))
    keys: UInt[np.ndarray, " cell"] = _mix(hashes).sum(-1)
    return keys


_BEFORE = np.uint64(0x9E3779B97F4A7C15)
_BEHIND = np.uint64(0xD1B54A32D192ED03)


def _mix(x: UInt[np.ndarray, "..."]) -> UInt[np.ndarray, "..."]:
    """Returns a one-to-one scrambling of 64 bits (Steele et al., 2014, SplitMix)."""
    x = (x + _BEFORE) & np.uint64(0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
