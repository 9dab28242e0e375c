"""A surrogate of our own for the DARTS space, in place of NAS-Bench-301's.

NAS-Bench-301 (Zela et al., 2022) predicts the accuracy of a DARTS cell by models fitted
to trained ones. Its published models are pickles of boosters, which cannot be opened
safely. This one is gradient boosting (scikit-learn), fitted whenever a table is read to
the cells and accuracies in it: nothing of a model is kept in a file.

A row is a cell. ``ops`` names the operations, ``sources`` and ``operations`` uint8
[cell, 16] are the source and the operation of the two edges of every node, first of the
normal cell and then of the reduction cell.
"""

import ast
import csv
import dataclasses
import functools
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from darts_jax.errors import InputError
from darts_jax.nasbench.table import (
    Progress,
    Table,
    read_columns,
    require_arrays,
)
from darts_jax.spaces.darts import DARTS, OPERATIONS
from darts_jax.spaces.graph import Genotype, KeptEdge
from darts_jax.spaces.moves import assemble_genotype

NAMES = OPERATIONS[1:]
"""Operation of each code of the compact form; ``none`` has none."""

_TITLE = "NAS-Bench-301"
_CODED = ("ops", "sources", "operations")
_KINDS = ("normal", "reduce")
_TARGETS = np.repeat([2, 3, 4, 5] * 2, 2)
_EPOCHS = 100  # of the benchmark's trainings
_COMPACT = "compact"
_ACCURACY = "val_accuracy"


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate301(Table):
    """The surrogate, as `load_table` reads it.

    Attributes:
      columns: name -> a number of every cell that it is fitted to.
      sources: of the edges.
      operations: codes of the edges' operations.
      ops: names of the operations, by code.
    """

    sources: Int[np.ndarray, "cell 16"]
    operations: Int[np.ndarray, "cell 16"]
    ops: tuple[str, ...]

    name: ClassVar[str] = "nasbench301"
    title: ClassVar[str] = "our own surrogate of NAS-Bench-301"
    spaces: ClassVar[tuple[str, ...]] = ("darts", "darts_no_none")
    told_epochs: ClassVar[int] = _EPOCHS
    averaged: ClassVar[str] = "a prediction"

    @classmethod
    def from_arrays(cls, path: str | Path, arrays: Mapping[str, np.ndarray]) -> Self:
        require_arrays(_TITLE, path, arrays, _CODED)
        ops = tuple(str(name) for name in arrays["ops"])
        codes = arrays["operations"]
        sources = arrays["sources"]
        columns = read_columns(_TITLE, path, arrays, len(codes), _CODED)
        _require_cells(path, sources, codes, len(ops))
        unknown = [name for name in ops if name not in NAMES]
        if unknown:
            raise InputError(f"{_TITLE} table {path} has operation {unknown[0]}")
        return cls(columns, sources.astype(int), codes.astype(int), ops)

    def row(self, genotype: Genotype) -> int:
        """Returns the row of a cell that the surrogate is fitted to.

        Args:
          genotype: of a DARTS space.

        Raises:
          InputError: it is of another space, or not in the table.
        """
        features = self._features([genotype])[0]
        found = np.flatnonzero((self._encoded == features).all(-1))
        if not len(found):
            raise InputError("the table has no such cell; its accuracy is predicted")
        return int(found[0])

    def genotype(self, row: int) -> Genotype:
        """Returns the cell of a row.

        Args:
          row: from 0.
        """
        edges = zip(_TARGETS, self.sources[row], self.operations[row], strict=True)
        choices = [
            (_KINDS[i // 8], KeptEdge(int(target), int(source), self.ops[code]))
            for i, (target, source, code) in enumerate(edges)
        ]
        return assemble_genotype(DARTS, choices)

    def answers(
        self, dataset: str, epochs: int = 0
    ) -> Callable[[Genotype], tuple[float, float]]:
        """Returns (genotype -> predicted validation accuracy in percent, a second).

        Args:
          dataset: of ``datasets``.
          epochs: as for `told`.

        Raises:
          InputError: the table lacks the column.
        """
        self.column(dataset, "valid", epochs)
        return lambda genotype: (self.accuracy(genotype, dataset, "valid", epochs), 1.0)

    def _seconds(self, epochs: int, dataset: str) -> Float[np.ndarray, " row"]:
        """Returns a second for each cell: what its training took is not known."""
        return np.ones(len(self))

    def _look_up(self, name: str, genotype: Genotype) -> float:
        """Predicts the number of a genotype in a column."""
        return float(self._model(name).predict(self._features([genotype]))[0])

    @functools.cache  # noqa: B019 as many models as columns, and a table is kept anyway
    def _model(self, name: str) -> Any:
        # Importing scikit-learn takes a second, which no other table needs.
        from sklearn.ensemble import GradientBoostingRegressor

        model = GradientBoostingRegressor(
            n_estimators=500, learning_rate=0.05, max_depth=4, random_state=0
        )
        return model.fit(self._encoded, self.columns[name])

    @functools.cached_property
    def _encoded(self) -> Float[np.ndarray, "cell feature"]:
        return self._features([self.genotype(row) for row in range(len(self.sources))])

    def _features(
        self, genotypes: list[Genotype]
    ) -> Float[np.ndarray, "genotype feature"]:
        """Returns whether each edge is kept with each operation, and these counted."""
        places: dict[tuple[Any, ...], int] = {
            (kind, edge.source, edge.target, op): i
            for i, (kind, edge, op) in enumerate(
                (kind, edge, op)
                for kind in _KINDS
                for edge in DARTS.cells[kind].edges
                for op in NAMES
            )
        }
        for kind in _KINDS:
            places |= {(kind, op): len(places) + i for i, op in enumerate(NAMES)}
        features = np.zeros((len(genotypes), len(places)))
        for row, genotype in enumerate(genotypes):
            if genotype.space not in self.spaces:
                raise InputError(
                    f"a genotype of space {genotype.space!r} is unknown to {self.title}"
                    f"; want one of {', '.join(self.spaces)}"
                )
            for kind, cell in genotype.cells.items():
                for c in cell.choices:
                    features[row, places[kind, c.source, c.target, c.operation]] = 1
                    features[row, places[kind, c.operation]] += 1
        return features


def convert_cells(source: Path, progress: Progress) -> dict[str, np.ndarray]:
    """Returns the arrays of a table of cells.

    Args:
      source: a ``.csv`` with a row for each cell: a column whose name begins with
        ``compact``, of ``[[(source, operation), ...], [...]]`` with eight edges of the
        normal and eight of the reduction cell, and ``val_accuracy`` in percent.
      progress: told the number of cells.

    Raises:
      InputError: the file is missing or not like that.
    """
    try:
        text = source.read_text()
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read a table of cells from {source}: {error}"
        ) from None
    reader = csv.DictReader(io.StringIO(text))
    named = [name for name in reader.fieldnames or () if name.startswith(_COMPACT)]
    if not named or _ACCURACY not in (reader.fieldnames or ()):
        raise InputError(
            f"{source} has columns {', '.join(reader.fieldnames or ())[:120]}; want "
            f"one that begins with {_COMPACT}, and {_ACCURACY}"
        )
    cells, scores = [], []
    for line, row in enumerate(reader, start=2):
        try:
            cells.append(np.array(ast.literal_eval(row[named[0]]), int).reshape(16, 2))
            scores.append(float(row[_ACCURACY]))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise InputError(
                f"line {line} of {source} is no cell with its accuracy"
            ) from None
    if not cells:
        raise InputError(f"{source} has no cells")
    sources, operations = np.array(cells).transpose(2, 0, 1)
    _require_cells(source, sources, operations, len(NAMES))
    progress(len(cells), len(cells))
    return {
        "ops": np.array(NAMES),
        "sources": sources.astype(np.uint8),
        "operations": operations.astype(np.uint8),
        f"cifar10_valid_{_EPOCHS}": np.array(scores, np.float32),
    }


def _require_cells(
    path: str | Path, sources: np.ndarray, operations: np.ndarray, count: int
) -> None:
    shape = (len(operations), 16)
    whole = all(a.dtype.kind in "iu" for a in (sources, operations))
    if sources.shape != shape or operations.shape != shape or not whole:
        raise InputError(
            f"{_TITLE} table {path} has sources {sources.shape} and operations "
            f"{operations.shape}; want whole numbers, 16 of each cell"
        )
    sound = (sources >= 0) & (sources < _TARGETS)
    sound &= (operations >= 0) & (operations < count)
    pairs = sources.reshape(-1, 8, 2)
    bad = ~sound.all(-1) | (pairs[..., 0] == pairs[..., 1]).any(-1)
    if bad.any():
        raise InputError(
            f"cell {int(np.flatnonzero(bad)[0])} of {path} is none of the DARTS space: "
            "want two edges of each node, from different states before it"
        )
