"""Accuracies that a benchmark knows of the genotypes that a search finds."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

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


def known_accuracies(config: ConfigDict) -> Known | None:
    """Returns the accuracies of ``config.benchmark``, if it knows the space.

    Args:
      config: of a run.

    Raises:
      InputError: the table that is named is missing, damaged or lacks the column.
    """
    settings = config.benchmark
    path = find_table(settings.table, config.data.directory)
    dataset = config.data.name if settings.dataset == "auto" else settings.dataset
    if dataset not in DATASETS:
        # Of other data it knows nothing; who names a table asks all the same.
        dataset = DATASETS[0] if settings.table else None
    if path is None or config.space not in _SPACES or dataset is None:
        return None
    table = load_table(path)
    cells = table.column(dataset, settings.split, settings.epochs)
    return Known(
        lambda genotype: float(cells[table.row(genotype)]),
        f"NAS-Bench-201, {dataset} {settings.split} after {settings.epochs} epochs, "
        "mean over its seeds",
        cells,
    )
