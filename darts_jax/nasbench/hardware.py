"""HW-NAS-Bench's official file as a table of measured costs (Li et al., 2021).

The file is a pickle of lists of numbers: for every data set and device the latency in
ms or the energy in mJ of all cells of NAS-Bench-201.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.errors import InputError
from darts_jax.nasbench.nats import TOPOLOGY
from darts_jax.nasbench.plain_pickle import read_pickle
from darts_jax.nasbench.table import Progress

TITLE = "HW-NAS-Bench"
NAME = "hwnasbench"
_SPACE = "nasbench201"
_DATASETS = {
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "ImageNet16-120": "imagenet16_120",
}
_MEASURES = ("latency", "energy")


def convert_costs(source: Path, progress: Progress) -> dict[str, np.ndarray]:
    """Returns the arrays of a table of costs, as `cost.measured` reads it.

    Args:
      source: ``HW-NAS-Bench-v1_0.pickle``.
      progress: told the number of cells.

    Raises:
      InputError: the file is missing, damaged, or not what it should be.
    """
    whole = read_pickle(source, TITLE)
    known = whole.get(_SPACE) if isinstance(whole, Mapping) else None
    if not isinstance(known, Mapping) or not set(_DATASETS) & set(known):
        raise InputError(f"{source} is no file of {TITLE}: it knows no NAS-Bench-201")
    cells = _cells(source, known)
    columns = {
        f"{ours}_{measure}": _numbers(source, measure, values, len(cells))
        for theirs, ours in _DATASETS.items()
        for measure, values in known.get(theirs, {}).items()
        if measure.endswith(_MEASURES)
    }
    progress(len(cells), len(cells))
    return {**TOPOLOGY.code(cells), **columns}


def _cells(source: Path, known: Mapping[str, Any]) -> list[str]:
    first = next(name for name in _DATASETS if name in known)
    try:
        return [str(config["arch_str"]) for config in known[first]["config"]]
    except (KeyError, TypeError):
        raise InputError(
            f"{source} is no file of {TITLE}: it does not say which cells it knows"
        ) from None


def _numbers(
    source: Path, measure: str, values: Sequence[float], count: int
) -> np.ndarray:
    try:
        column = np.array([float(value) for value in values])
    except (TypeError, ValueError):
        raise InputError(f"{measure} in {source} is no list of numbers") from None
    if column.shape != (count,) or not np.isfinite(column).all():
        raise InputError(
            f"{measure} in {source} has {len(column)} numbers, of which "
            f"{np.isfinite(column).sum()} are finite; want {count}"
        )
    return column
