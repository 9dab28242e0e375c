"""All 15,625 cells of NAS-Bench-201 and their accuracies (Dong and Yang, 2020).

A row is an official index. ``ops`` names the operations, ``edges`` the edges as
``"0->1"``, and ``arch`` uint8 [cell, edge] has the operations of the edges.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from darts_jax.errors import InputError
from darts_jax.nasbench.table import (
    Table,
    read_columns,
    require_arrays,
    require_codes,
)
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge

DATASETS = ("cifar10", "cifar100", "imagenet16_120")
EPOCHS = (12, 200)

_VALIDATION_EPOCHS = 0.353  # of training last as long as a validation of cell 0
_CODED = ("ops", "edges", "arch")


@dataclasses.dataclass(frozen=True, eq=False)
class NASBench201(Table):
    """The benchmark, as `load_table` reads it.

    Attributes:
      columns: name -> a number of every cell.
      operations: their names, by code.
      edges: (source, target) in the table's order.
      codes: of every cell's edges; the row is the official index.
    """

    operations: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    codes: Int[np.ndarray, "cell edge"]

    name: ClassVar[str] = "nasbench201"
    title: ClassVar[str] = "NAS-Bench-201"
    spaces: ClassVar[tuple[str, ...]] = (
        *("nasbench201", "nasbench201_no_none", "nasbench201_biased"),
    )
    told_epochs: ClassVar[int] = 12

    @classmethod
    def from_arrays(cls, path: str | Path, arrays: Mapping[str, np.ndarray]) -> Self:
        require_arrays(cls.title, path, arrays, _CODED)
        try:
            edges = tuple(
                (int(source), int(target))
                for source, _, target in (
                    str(e).partition("->") for e in arrays["edges"]
                )
            )
        except ValueError:
            raise InputError(
                f"edges of {cls.title} table {path} are not like '0->1'"
            ) from None
        codes = arrays["arch"]
        operations = tuple(str(name) for name in arrays["ops"])
        require_codes(cls.title, path, "arch", codes, len(edges), len(operations))
        columns = read_columns(cls.title, path, arrays, len(codes), _CODED)
        return cls(columns, operations, edges, codes.astype(np.int32))

    def row(self, genotype: Genotype) -> int:
        """Returns the official index of a cell; an edge that it drops is ``none``.

        Args:
          genotype: the cell.

        Raises:
          InputError: it is no cell of this benchmark.
        """
        code = self._code(genotype)
        try:
            return self._rows[code]
        except KeyError:
            raise InputError(f"the table has no cell {genotype}") from None

    def genotype(self, row: int) -> Genotype:
        """Returns the cell of an official index.

        Args:
          row: the index.
        """
        choices = tuple(
            sorted(
                KeptEdge(target, source, self.operations[code])
                for (source, target), code in zip(
                    self.edges, self.codes[row].tolist(), strict=True
                )
            )
        )
        last = max(target for _, target in self.edges)
        return Genotype("nasbench201", {"normal": CellGenotype(1, choices, (last,))})

    def _seconds(self, epochs: int, dataset: str) -> Float[np.ndarray, " row"]:
        """Returns what a training and one validation take.

        Dong and Yang (2020), section 4. Tables do not hold the seconds of a validation:
        they are taken as long as that of cell 0 in the benchmark's files. CIFAR-10's
        validation accuracies and seconds are of training on half of its images.
        """
        epoch = super()._seconds(max(EPOCHS), dataset) / max(EPOCHS)
        return (epochs + _VALIDATION_EPOCHS) * epoch.astype(np.float64)

    @functools.cached_property
    def _rows(self) -> dict[tuple[int, ...], int]:
        return {tuple(code): row for row, code in enumerate(self.codes.tolist())}

    def _code(self, genotype: Genotype) -> tuple[int, ...]:
        if len(genotype.cells) != 1:
            raise InputError(
                f"a genotype of space {genotype.space!r} is no NAS-Bench-201 cell"
            )
        (cell,) = genotype.cells.values()
        chosen = {(c.source, c.target): c.operation for c in cell.choices}
        unknown = [edge for edge in chosen if edge not in self.edges] + [
            name for name in chosen.values() if name not in self.operations
        ]
        if unknown:
            raise InputError(f"NAS-Bench-201 has no {unknown[0]}")
        names = [chosen.get(edge, "none") for edge in self.edges]
        return tuple(self.operations.index(name) for name in names)
