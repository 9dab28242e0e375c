"""Whether a search is better than another, and by how much."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from darts_jax.analysis.intervals import (
    ANY,
    LEVEL,
    Interval,
    Range,
    alike_interval,
    are_alike,
    inside,
    interval,
    interval_of,
    mean_interval,
)
from darts_jax.errors import InputError

Results = Sequence[float] | Mapping[Any, float]


@dataclasses.dataclass(frozen=True)
class Improvement:
    """A difference of means and its 95 % interval, in the unit of the results.

    Attributes:
      p: two-sided p-value of no difference; NaN where none can be told.
      pairs: how many pairs of results it rests on; 0 where sides are not paired.
    """

    difference: float
    low: float
    high: float
    p: float = math.nan
    pairs: int = 0

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        interval = f"{self.low:+.2f} to {self.high:+.2f}"
        how = f"{self.pairs} pairs" if self.pairs else "unpaired"
        return f"{self.difference:+.2f} (95 % interval {interval}, {how})"


def improvement(searched: Results, random: Results, within: Range = ANY) -> Improvement:
    """Returns how much better a search is than random search under the same budget.

    Two mappings, seed -> result, with two keys or more in common are compared pair by
    pair: what a seed does to both sides drops out of the difference, and a result
    without a partner counts for nothing. The interval is Student's of the pairs'
    differences. Sequences, and mappings that share fewer keys, are independent sides:
    the interval is Welch's (1947), for which neither variances nor numbers of runs
    need be equal.

    Args:
      searched: results of independent runs of the search, one for each seed. By seed
        only where the same seed means the same data, order or start on both sides.
      random: the same of random search, or of whatever it is compared with.
      within: what a result can be, such as `intervals.SHARE` of accuracies; then the
        interval lies within what a difference can be, by the log-odds of `intervals`.

    Raises:
      InputError: fewer than two results on a side, one that is no finite number or
        outside the range.
    """
    sides = [
        np.asarray(list(side.values() if isinstance(side, Mapping) else side), float)
        for side in (searched, random)
    ]
    if min(side.size for side in sides) < 2:
        raise InputError(
            f"{sides[0].size} and {sides[1].size} results; want 2 or more on each side"
        )
    if not all(np.isfinite(side).all() for side in sides):
        raise InputError("results that are no finite numbers")
    sides = [inside(side.tolist(), within) for side in sides]
    if isinstance(searched, Mapping) and isinstance(random, Mapping):
        shared = [key for key in searched if key in random]
        if len(shared) > 1:
            pairs = ([side[key] for key in shared] for side in (searched, random))
            first, second = (inside(side, within) for side in pairs)
            return by_differences(first - second, within)
    return _apart(sides[0], sides[1], within)


def by_differences(differences: np.ndarray, within: Range = ANY) -> Improvement:
    """Returns the improvement that the differences of two pairs or more show.

    Args:
      differences: [pair], independent of each other.
      within: what the results can be of which these are differences.
    """
    found = interval_of(differences, within.of_differences)
    mean = float(differences.mean())
    return Improvement(mean, found.low, found.high, found.p, differences.size)


def improvement_by_run(
    searched: Sequence[float],
    beside: Sequence[Sequence[float]],
    within: Range = ANY,
) -> Improvement:
    """Returns how much better searches are than random genotypes, run by run.

    Args:
      searched: one result a run.
      beside: for each run the results of the random genotypes that it trained. Where
        two runs or more have some, each is compared with the mean of its own;
        otherwise all are one side, unpaired.
      within: what a result can be.

    Raises:
      InputError: as `improvement`.
    """
    own = {i: result for i, result in enumerate(searched) if beside[i]}
    if len(own) > 1:
        others = {i: float(np.mean(beside[i])) for i in own}
        return improvement(own, others, within)
    return improvement(searched, [other for run in beside for other in run], within)


def improvement_over(
    searched: Sequence[float], known: float, within: Range = ANY
) -> Improvement:
    """Returns how much better searches are than a mean that is known, of a whole space.

    Raises:
      InputError: fewer than two results, or one outside the range.
    """
    if len(searched) < 2:
        raise InputError(f"{len(searched)} results; want 2 or more")
    mean, low, high = mean_interval(searched, within)
    return Improvement(mean - known, low - known, high - known)


def holm(p: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for how many there are, by Holm's (1979) steps.

    Of all that are below 0.05 after it, one or more is wrong in at most 5 % of cases.
    NaN stays NaN, and counts as one of them.
    """
    values = np.asarray(p, float)
    adjusted, highest = np.full(values.size, np.nan), 0.0
    for rank, i in enumerate(np.argsort(values, kind="stable")):
        if np.isnan(values[i]):
            break
        highest = max(highest, min(1.0, (values.size - rank) * values[i]))
        adjusted[i] = highest
    return adjusted.tolist()


def _apart(first: np.ndarray, second: np.ndarray, within: Range) -> Improvement:
    """Returns the improvement of one side over another that it shares nothing with."""
    sides = first, second
    difference = float(first.mean() - second.mean())
    if all(are_alike(side, within) for side in sides):
        found = _both_alike(first, second, within)
        return Improvement(difference, found.low, found.high, found.p)
    # Squared standard errors of the two means.
    errors = np.array([side.var(ddof=1) / side.size for side in sides])
    freedoms = np.array([side.size - 1 for side in sides])
    freedom = errors.sum() ** 2 / (errors**2 / freedoms).sum()
    error = float(np.sqrt(errors.sum()))
    found = interval(difference, error, float(freedom), within.of_differences)
    return Improvement(difference, found.low, found.high, found.p)


def _both_alike(first: np.ndarray, second: np.ndarray, within: Range) -> Interval:
    """Returns the interval of a difference where neither side has any spread."""
    difference = float(first.mean() - second.mean())
    if not within.is_bounded:
        return alike_interval(difference, first.size, ANY)
    # Each side misses in half of the cases in which the two together may.
    own, other = (
        alike_interval(float(side.mean()), side.size, within, (1 - LEVEL) / 2)
        for side in (first, second)
    )
    return Interval(own.low - other.high, own.high - other.low)
