"""Accuracies that a benchmark knows of the genotypes that a search finds."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from darts_jax.errors import unknown_name_error
from darts_jax.nasbench.table import Table
from darts_jax.nasbench.tables import find_table, load_table
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.moves import sample_genotype

_DRAWN = 5_000


@dataclasses.dataclass(frozen=True)
class Known:
    """True accuracies of a space.

    Attributes:
      table: of the benchmark.
      space: name of the space.
      dataset: name of the data set.
      split: part of the data.
      epochs: length of the trainings.
    """

    table: Table
    space: str
    dataset: str
    split: str
    epochs: int

    def accuracy(self, genotype: Genotype) -> float:
        """Returns the accuracy of a genotype in percent.

        Args:
          genotype: of the space.
        """
        return self.table.accuracy(genotype, self.dataset, self.split, self.epochs)

    @property
    def title(self) -> str:
        """Says which accuracy that is, for whoever reads it."""
        return (
            f"{self.table.title}, {self.dataset} {self.split} after {self.epochs} "
            f"epochs, {self.table.averaged}"
        )

    @functools.cached_property
    def cells(self) -> Float[np.ndarray, " cell"]:
        """Accuracies of all cells, or of 5,000 drawn where the table has others too."""
        rows = self.table.rows_of(self.space)
        column = self.table.column(self.dataset, self.split, self.epochs)
        if rows is not None:
            return column[rows]
        rng = np.random.default_rng(0)
        space = get_space(self.space)
        drawn = (sample_genotype(space, rng) for _ in range(_DRAWN))
        return column[[self.table.row(genotype) for genotype in drawn]]


def find_known(
    space: str,
    searched: str,
    *,
    table: str,
    directory: str,
    dataset: str = "",
    split: str,
    epochs: int,
) -> Known | None:
    """Returns the true accuracies of a space's genotypes, if a table has them.

    Args:
      space: name of the space.
      searched: name of the data set of a search. Of one that the benchmark lacks it
        knows nothing; with a table that is named, its usual data set stands in.
      table: path of the table; empty looks for it in ``directory``.
      directory: folder of data.
      dataset: name of the data set of the accuracies; empty: that of the search.
      split: part of the data that the accuracies are of.
      epochs: length of the trainings; 0: the longest.

    Raises:
      InputError: the table that is named is missing, damaged or lacks the column.
    """
    path = find_table(table, directory, space)
    if path is None:
        return None
    found = load_table(path)
    if space not in found.spaces:
        return None
    if dataset and dataset not in found.datasets:
        raise unknown_name_error("benchmark.dataset", dataset, found.datasets)
    if not dataset and searched not in found.datasets and not table:
        return None
    if not dataset:
        dataset = searched if searched in found.datasets else found.usual_dataset
    known = Known(found, space, dataset, split, epochs or found.longest(dataset))
    found.column(dataset, split, known.epochs)
    return known
