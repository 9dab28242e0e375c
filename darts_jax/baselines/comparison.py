"""Whether a search is better than another, and by how much."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from darts_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Improvement:
    """A difference of means and its 95 % interval, in the unit of the results."""

    difference: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        interval = f"{self.low:+.2f} to {self.high:+.2f}"
        return f"{self.difference:+.2f} (95 % interval {interval})"


def improvement(searched: Sequence[float], random: Sequence[float]) -> Improvement:
    """How much better a search is than random search under the same budget.

    Welch's (1947) interval of the difference of means: neither variances nor numbers
    of runs need be equal.

    Args:
      searched: results of independent runs of the search, one for each seed.
      random: the same of random search, or of whatever it is compared with.

    Raises:
      InputError: fewer than two results on a side, or one that is no finite number.
    """
    sides = [np.asarray(side, np.float64) for side in (searched, random)]
    if min(side.size for side in sides) < 2:
        raise InputError(
            f"{sides[0].size} and {sides[1].size} results; want 2 or more on each side"
        )
    if not all(np.isfinite(side).all() for side in sides):
        raise InputError("results that are no finite numbers")
    difference = float(sides[0].mean() - sides[1].mean())
    # Squared standard errors of the two means.
    errors = np.array([side.var(ddof=1) / side.size for side in sides])
    if not errors.any():
        return Improvement(difference, difference, difference)
    freedoms = np.array([side.size - 1 for side in sides])
    freedom = errors.sum() ** 2 / (errors**2 / freedoms).sum()
    half = float(stdtrit(freedom, 0.975) * np.sqrt(errors.sum()))
    return Improvement(difference, difference - half, difference + half)


def mean_interval(results: Sequence[float]) -> tuple[float, float, float]:
    """The mean of independent results and Student's 95 % interval of it.

    Of one result there is no interval: NaN on either side.
    """
    values = np.asarray(results, np.float64)
    if values.size < 2:
        return float(values.mean()) if values.size else np.nan, np.nan, np.nan
    error = values.std(ddof=1) / np.sqrt(values.size)
    mean, half = float(values.mean()), float(stdtrit(values.size - 1, 0.975) * error)
    return mean, mean - half, mean + half
