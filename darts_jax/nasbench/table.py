"""Known truth about the genotypes of a space, as tables of any benchmark give it.

A table is an ``.npz`` of arrays, a row for every architecture: ``benchmark`` names the
schema, ``source`` the file that it was made of, ``{dataset}_{split}_{epochs}`` float32
[row] are accuracies in percent, means over trainings, ``train_seconds_{epochs}_
{dataset}`` what these took. Each benchmark's class says how rows are coded.
"""

import abc
import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.spaces.graph import Genotype

SPLITS = ("valid", "test", "valtest")
"""``valtest`` pools the validation and the test part of a data set's test images."""

Progress = Callable[[int, int], None]
"""Told how many rows are converted, and of how many; the latter is 0 if unknown."""

_ACCURACY = re.compile(rf"(\w+)_({'|'.join(SPLITS)})_(\d+)")


class Told(NamedTuple):
    """Answers that a benchmark's own searches get, by row.

    Attributes:
      scores: validation accuracy in percent.
      seconds: simulated cost of asking.
    """

    scores: Float[np.ndarray, " row"]
    seconds: Float[np.ndarray, " row"]


@dataclasses.dataclass(frozen=True, eq=False)
class Table(abc.ABC):
    """Accuracies of all architectures of a benchmark.

    Attributes:
      columns: name -> a number of every architecture.
    """

    columns: Mapping[str, np.ndarray]

    name: ClassVar[str]
    """The benchmark, as files name it."""
    title: ClassVar[str]
    """The benchmark, as people name it."""
    spaces: ClassVar[tuple[str, ...]]
    """Names of the spaces whose genotypes it knows."""
    told_epochs: ClassVar[int]
    """Epochs of the accuracies that searches are told; 0: the longest training."""
    averaged: ClassVar[str] = "mean over its seeds"
    """Says of what trainings an accuracy is."""

    @classmethod
    @abc.abstractmethod
    def from_arrays(cls, path: str | Path, arrays: Mapping[str, np.ndarray]) -> Self:
        """Returns the table of these arrays.

        Args:
          path: of the table, for messages.
          arrays: as the module of the benchmark describes them.

        Raises:
          InputError: one is missing or not right.
        """

    @abc.abstractmethod
    def row(self, genotype: Genotype) -> int:
        """Returns the row of a genotype.

        Args:
          genotype: of one of ``spaces``.

        Raises:
          InputError: the table has no such architecture.
        """

    @abc.abstractmethod
    def genotype(self, row: int) -> Genotype:
        """Returns the genotype of a row.

        Args:
          row: from 0.
        """

    def rows_of(self, space: str) -> Int[np.ndarray, " row"] | slice | None:
        """Returns the rows of a space's genotypes; None where only some rows are.

        Args:
          space: of ``spaces``.
        """
        del space
        return slice(None)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(
        self, dataset: str = "cifar10", split: str = "test", epochs: int = 0
    ) -> Float[np.ndarray, " row"]:
        """Returns accuracies in percent of all architectures, by row.

        Args:
          dataset: of ``datasets``.
          split: of `SPLITS`. NAS-Bench-201's ``valid`` of CIFAR-10 is of networks
            trained on half of its training images, ``test`` of those trained on all.
          epochs: that the networks were trained for; 0: the longest that it knows.

        Raises:
          InputError: the table lacks the column.
        """
        name = f"{dataset}_{split}_{epochs or self.longest(dataset)}"
        if name not in self.columns:
            raise unknown_name_error("column", name, self.accuracies)
        return self.columns[name]

    def accuracy(
        self,
        genotype: Genotype,
        dataset: str = "cifar10",
        split: str = "test",
        epochs: int = 0,
    ) -> float:
        """Returns the accuracy of one architecture in percent, the mean over trainings.

        Args:
          genotype: the architecture.
          dataset: as for `column`.
          split: as for `column`.
          epochs: as for `column`.
        """
        self.column(dataset, split, epochs)
        name = f"{dataset}_{split}_{epochs or self.longest(dataset)}"
        return self._look_up(name, genotype)

    def _look_up(self, name: str, genotype: Genotype) -> float:
        """Returns the number of a genotype in a column."""
        return float(self.columns[name][self.row(genotype)])

    @property
    def accuracies(self) -> list[str]:
        """The names of the columns that `column` can give."""
        return [name for name in self.columns if _ACCURACY.fullmatch(name)]

    @property
    def datasets(self) -> list[str]:
        """The data sets of its accuracies, each once."""
        return list(dict.fromkeys(dataset for dataset, _, _ in self._known()))

    @property
    def usual_dataset(self) -> str:
        """The data set that is meant where none is named."""
        return "cifar10" if "cifar10" in self.datasets else self.datasets[0]

    def longest(self, dataset: str) -> int:
        """Returns the most epochs of its trainings; 0 of a data set it lacks.

        Args:
          dataset: of ``datasets``.
        """
        return max((n for name, _, n in self._known() if name == dataset), default=0)

    def lengths(self, dataset: str) -> tuple[int, ...]:
        """Returns the lengths of the trainings that a search may ask for, ascending.

        Args:
          dataset: of ``datasets``.

        Returns:
          Their epochs. Each is a training of its own, from the first epoch on.
        """
        known = [
            n for name, part, n in self._known() if (name, part) == (dataset, "valid")
        ]
        return tuple(sorted(known))

    def told(self, dataset: str, epochs: int = 0) -> Told:
        """Returns the answers that a search gets by the benchmark's own protocol.

        Args:
          dataset: of ``datasets``.
          epochs: of `lengths`; 0: the protocol's.

        Raises:
          InputError: the table lacks a column.
        """
        epochs = epochs or self.told_epochs or self.longest(dataset)
        scores = self.column(dataset, "valid", epochs)
        return Told(scores, self._seconds(epochs, dataset))

    def answers(
        self, dataset: str, epochs: int = 0
    ) -> Callable[[Genotype], tuple[float, float]]:
        """Returns what `told` says as a function of a genotype.

        Args:
          dataset: of ``datasets``.
          epochs: as for `told`.

        Returns:
          genotype -> validation accuracy in percent, and simulated seconds.

        Raises:
          InputError: the table lacks a column.
        """
        told = self.told(dataset, epochs)

        def look_up(genotype: Genotype) -> tuple[float, float]:
            row = self.row(genotype)
            return float(told.scores[row]), float(told.seconds[row])

        return look_up

    def _seconds(self, epochs: int, dataset: str) -> Float[np.ndarray, " row"]:
        name = f"train_seconds_{epochs}_{dataset}"
        if name not in self.columns:
            raise InputError(f"the table lacks {name}, what a training costs")
        return self.columns[name]

    def _known(self) -> list[tuple[str, str, int]]:
        found = (_ACCURACY.fullmatch(name) for name in self.columns)
        return [(m[1], m[2], int(m[3])) for m in found if m]


def require_arrays(
    title: str,
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    names: Collection[str],
) -> None:
    """Raises InputError, in one line, unless a table has these arrays.

    Args:
      title: of the benchmark.
      path: of the table.
      arrays: all that it has.
      names: the arrays wanted.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{title} table {path} lacks {', '.join(missing)}")


def read_columns(
    title: str,
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    rows: int,
    besides: Collection[str],
) -> dict[str, np.ndarray]:
    """Returns the columns of a table, each of a number by row.

    Args:
      title: of the benchmark.
      path: of the table.
      arrays: all that it has.
      rows: their number.
      besides: names of arrays that are no columns.

    Raises:
      InputError: a column of another length, or no accuracies.
    """
    known = ("benchmark", "source", *besides)
    columns = {name: a for name, a in arrays.items() if name not in known}
    for name, values in columns.items():
        if values.shape != (rows,):
            raise InputError(
                f"{name} of {title} table {path} has shape {values.shape}; want "
                f"({rows},)"
            )
    if not any(_ACCURACY.fullmatch(name) for name in columns):
        raise InputError(f"{title} table {path} has no accuracies")
    return columns


def require_codes(
    title: str, path: str | Path, name: str, codes: np.ndarray, wide: int, below: int
) -> None:
    """Raises InputError, in one line, unless rows are codes of architectures.

    Args:
      title: of the benchmark.
      path: of the table.
      name: of the array.
      codes: one row for each architecture.
      wide: codes of a row.
      below: larger than every code.
    """
    right = codes.ndim == 2 and codes.shape[1] == wide and codes.dtype.kind in "iu"
    if not right or not len(codes) or codes.min() < 0 or codes.max() >= below:
        raise InputError(
            f"{name} of {title} table {path} is {codes.dtype} {codes.shape}; want "
            f"integers below {below}, one for each of {wide} edges"
        )
    if len(np.unique(codes, axis=0)) != len(codes):
        raise InputError(f"{name} of {title} table {path} has a cell twice")
