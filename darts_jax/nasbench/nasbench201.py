"""All 15,625 cells of NAS-Bench-201 and their accuracies (Dong and Yang, 2020).

A table is an ``.npz`` of arrays, a row for every cell: ``ops`` names the operations,
``edges`` the edges as ``"0->1"``, ``arch`` uint8 [cell, edge] has the operations of the
edges, and ``{dataset}_{split}_{epochs}`` float32 [cell] are accuracies in percent,
means over seeds. ``darts-jax convert-nasbench201`` makes one of the official files.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.files import open_place, read_npz
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge

TABLE = "nasbench201_table.npz"
DATASETS = ("cifar10", "cifar100", "imagenet16_120")
SPLITS = ("valid", "test", "valtest")
"""``valtest`` pools the validation and the test part of a data set's test images."""
EPOCHS = (12, 200)


@dataclasses.dataclass(frozen=True, eq=False)
class NASBench201:
    """The benchmark, as `load_table` reads it.

    Attributes:
      operations: their names, by code.
      edges: (source, target) in the table's order.
      codes: of every cell's edges; the row is the official index.
      columns: name -> a number of every cell.
    """

    operations: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    codes: Int[np.ndarray, "cell edge"]
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.codes)

    def row(self, genotype: Genotype) -> int:
        """The official index of a cell; an edge that it drops is ``none``.

        Raises:
          InputError: it is no cell of this benchmark.
        """
        code = self._code(genotype)
        try:
            return self._rows[code]
        except KeyError:
            raise InputError(f"the table has no cell {genotype}") from None

    def genotype(self, row: int) -> Genotype:
        """The cell of an official index."""
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

    def column(
        self, dataset: str = "cifar10", split: str = "test", epochs: int = 200
    ) -> Float[np.ndarray, " cell"]:
        """Accuracies in percent of all cells, by row.

        Args:
          dataset: of `DATASETS`.
          split: of `SPLITS`. CIFAR-10's ``valid`` is of networks trained on half of its
            training images, its ``test`` of networks trained on all.
          epochs: that the networks were trained for, of `EPOCHS`.

        Raises:
          InputError: the table lacks the column.
        """
        name = f"{dataset}_{split}_{epochs}"
        if name not in self.columns:
            raise unknown_name_error("column", name, self.accuracies)
        return self.columns[name]

    def accuracy(
        self,
        genotype: Genotype,
        dataset: str = "cifar10",
        split: str = "test",
        epochs: int = 200,
    ) -> float:
        """Returns the accuracy of one cell in percent, the mean over seeds.

        Args:
          genotype: the cell.
          dataset: as for `column`.
          split: as for `column`.
          epochs: as for `column`.
        """
        return float(self.column(dataset, split, epochs)[self.row(genotype)])

    @property
    def accuracies(self) -> list[str]:
        """The names of the columns that `column` can give."""
        return [name for name in self.columns if name.startswith(_accuracies())]

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


def find_table(given: str = "", directory: str = "") -> Path | None:
    """Returns the path that is given, or that of `TABLE` among the data, or None.

    Args:
      given: a path that must exist.
      directory: of data, by default ``$DARTS_JAX_DATA_DIR``.

    Raises:
      InputError: nothing lies at the path given.
    """
    if given:
        if not open_place(given).is_file():
            raise InputError(f"no NAS-Bench-201 table at {given}")
        return open_place(given)
    place = directory or os.environ.get("DARTS_JAX_DATA_DIR")
    found = open_place(place) / TABLE if place else None
    return found if found is not None and found.is_file() else None


def require_table(given: str = "", directory: str = "") -> NASBench201:
    """Reads the table that `find_table` finds.

    Args:
      given: a path that must exist.
      directory: of data, by default ``$DARTS_JAX_DATA_DIR``.

    Raises:
      InputError: there is none, or as `load_table`.
    """
    path = find_table(given, directory)
    if path is None:
        raise InputError(
            f"NAS-Bench-201 needs its table: set benchmark.table or put {TABLE} among "
            "the data; darts-jax convert-nasbench201 makes one"
        )
    return load_table(path)


@functools.lru_cache(maxsize=2)
def load_table(path: str | Path) -> NASBench201:
    """Reads a table and checks it.

    Example:
      >>> arrays = {"ops": ["none", "skip_connect"], "edges": ["0->1"], "arch": [[1]]}
      >>> np.savez("table.npz", **arrays, cifar10_test_200=np.float32([50.0]))
      >>> table = darts_jax.load_table("table.npz")
      >>> table.accuracies
      ['cifar10_test_200']

    Args:
      path: of the ``.npz`` file.

    Raises:
      InputError: it cannot be read, lacks an array, or an array is not right.
    """
    arrays = read_npz(
        open_place(path),
        f"no NAS-Bench-201 table at {path}",
        f"NAS-Bench-201 table {path} cannot be read",
    )
    missing = [name for name in ("ops", "edges", "arch") if name not in arrays]
    if missing:
        raise InputError(f"NAS-Bench-201 table {path} lacks {', '.join(missing)}")
    try:
        edges = tuple(
            (int(source), int(target))
            for source, _, target in (str(e).partition("->") for e in arrays["edges"])
        )
    except ValueError:
        raise InputError(
            f"edges of NAS-Bench-201 table {path} are not like '0->1'"
        ) from None
    codes = arrays["arch"]
    operations = tuple(str(name) for name in arrays["ops"])
    _check_codes(path, codes, len(edges), len(operations))
    columns = {n: a for n, a in arrays.items() if n not in ("ops", "edges", "arch")}
    for name, values in columns.items():
        if values.shape != (len(codes),):
            raise InputError(
                f"{name} of NAS-Bench-201 table {path} has shape {values.shape}; "
                f"want ({len(codes)},)"
            )
    table = NASBench201(operations, edges, codes.astype(np.int32), columns)
    if not table.accuracies:
        raise InputError(f"NAS-Bench-201 table {path} has no accuracies")
    return table


def _accuracies() -> tuple[str, ...]:
    return tuple(f"{dataset}_{split}_" for dataset in DATASETS for split in SPLITS)


def _check_codes(
    path: str | Path, codes: np.ndarray, edges: int, operations: int
) -> None:
    right = codes.ndim == 2 and codes.shape[1] == edges and codes.dtype.kind in "iu"
    if not right or not len(codes) or codes.min() < 0 or codes.max() >= operations:
        raise InputError(
            f"arch of NAS-Bench-201 table {path} is {codes.dtype} {codes.shape}; want "
            f"integers below {operations}, one for each of {edges} edges"
        )
    if len(np.unique(codes, axis=0)) != len(codes):
        raise InputError(f"arch of NAS-Bench-201 table {path} has a cell twice")
