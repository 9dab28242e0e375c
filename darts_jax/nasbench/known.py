"""Accuracies that a benchmark knows of the genotypes that a search finds."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from darts_jax.nasbench import DATASETS, find_table, load_table
from darts_jax.spaces.graph import Genotype

_SPACES = ("nasbench201", "nasbench201_no_none", "nasbench201_biased")


@dataclasses.dataclass(frozen=True)
class Known:
    """True accuracies of a space.

    Attributes:
      accuracy: of a genotype, in percent.
      title: which accuracy that is, for whoever reads it.
      cells: the accuracies of all cells.
    """

    accuracy: Callable[[Genotype], float]
    title: str
    cells: Float[np.ndarray, " cell"]


def find_known(
    space: str,
    dataset: str,
    *,
    table: str,
    directory: str,
    split: str,
    epochs: int,
) -> Known | None:
    """Returns the true accuracies of a space's genotypes, if a table has them.

    Args:
      space: name of the space.
      dataset: name of the data set. Of one that the benchmark lacks it knows nothing;
        with a table that is named, its first data set stands in.
      table: path of the table; empty looks for it in ``directory``.
      directory: folder of data.
      split: part of the data that the accuracies are of.
      epochs: length of the trainings.

    Raises:
      InputError: the table that is named is missing, damaged or lacks the column.
    """
    path = find_table(table, directory)
    if dataset not in DATASETS:
        if not table:
            return None
        dataset = DATASETS[0]
    if path is None or space not in _SPACES:
        return None
    found = load_table(path)
    cells = found.column(dataset, split, epochs)
    return Known(
        lambda genotype: float(cells[found.row(genotype)]),
        f"NAS-Bench-201, {dataset} {split} after {epochs} epochs, mean over its seeds",
        cells,
    )
