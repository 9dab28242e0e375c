"""Differences between searches: their size, 95 % intervals and p-values."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from darts_jax.analysis.intervals import (
    ANY,
    LEVEL,
    Interval,
    MeasureRange,
    clip_to_range,
    exact_interval,
    is_constant,
    mean_interval,
    sample_interval,
    student_interval,
)
from darts_jax.errors import InputError

Results = Sequence[float] | Mapping[Any, float]


@dataclasses.dataclass(frozen=True)
class Improvement:
    """A difference of means and its 95 % interval, in the unit of the results.

    Attributes:
      difference: the difference of the means.
      low: lower end of the interval.
      high: upper end of the interval.
      p: two-sided p-value of the hypothesis of no difference; NaN where there is none.
      pairs: number of pairs of results; 0 where the sides are not paired.
    """

    difference: float
    low: float
    high: float
    p: float = math.nan
    pairs: int = 0

    def __str__(self) -> str:
        return self.describe(".2f")

    def describe(self, form: str) -> str:
        """Returns the difference and its interval in words.

        Args:
          form: format of the numbers, without a sign.
        """
        form = f"+{form}"
        interval = f"{self.low:{form}} to {self.high:{form}}"
        how = f"{self.pairs} pairs" if self.pairs else "unpaired"
        return f"{self.difference:{form}} (95 % interval {interval}, {how})"


def improvement(
    searched: Results, random: Results, within: MeasureRange = ANY
) -> Improvement:
    """Returns how much better a search is than random search under the same budget.

    Two mappings, seed -> result, with two keys or more in common are compared pair by
    pair: the effect of a seed on both sides drops out of the difference, and a result
    without a partner is left out. The interval is Student's, of the differences of the
    pairs. Sequences, and mappings that share fewer keys, are independent sides: the
    interval is Welch's (1947), which needs neither equal variances nor equal numbers of
    runs.

    Args:
      searched: results of independent runs of the search, one for each seed. A mapping
        by seed only where the same seed means the same data, order or start on both
        sides.
      random: results of random search, or of another search.
      within: range of a result, such as `intervals.SHARE` for accuracies; then the
        interval lies within the range of a difference, by the log-odds of `intervals`.

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
    sides = [clip_to_range(side.tolist(), within) for side in sides]
    if isinstance(searched, Mapping) and isinstance(random, Mapping):
        shared = [key for key in searched if key in random]
        if len(shared) > 1:
            first = clip_to_range([searched[key] for key in shared], within)
            second = clip_to_range([random[key] for key in shared], within)
            return improvement_from_differences(first - second, within)
    return _compare_unpaired(sides[0], sides[1], within)


def improvement_from_differences(
    differences: np.ndarray, within: MeasureRange = ANY
) -> Improvement:
    """Returns the improvement that the differences of two pairs or more show.

    Args:
      differences: difference of each pair [pair], independent of each other.
      within: range of the results.
    """
    found = sample_interval(differences, within.difference_range)
    return Improvement(
        difference=float(differences.mean()),
        low=found.low,
        high=found.high,
        p=found.p,
        pairs=differences.size,
    )


def improvement_by_run(
    searched: Sequence[float],
    beside: Sequence[Sequence[float]],
    within: MeasureRange = ANY,
) -> Improvement:
    """Returns how much better searches are than random genotypes, run by run.

    Args:
      searched: one result for each run.
      beside: for each run the results of the random genotypes that it trained. Where
        two runs or more have some, each run is compared with the mean of its own;
        otherwise all are one side, unpaired.
      within: range of a result.

    Raises:
      InputError: see `improvement`.
    """
    own = {i: result for i, result in enumerate(searched) if beside[i]}
    if len(own) > 1:
        others = {i: float(np.mean(beside[i])) for i in own}
        return improvement(own, others, within)
    return improvement(searched, [other for run in beside for other in run], within)


def improvement_over_mean(
    searched: Sequence[float], known: float, within: MeasureRange = ANY
) -> Improvement:
    """Returns how much better searches are than the known mean of a whole space.

    Args:
      searched: results of independent runs.
      known: the known mean.
      within: range of a result.

    Raises:
      InputError: fewer than two results, or one outside the range.
    """
    if len(searched) < 2:
        raise InputError(f"{len(searched)} results; want 2 or more")
    mean, low, high = mean_interval(searched, within)
    return Improvement(mean - known, low - known, high - known)


def holm(p: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number, by the steps of Holm (1979).

    In at most 5 % of cases one or more of the adjusted p-values below 0.05 is wrong.

    Args:
      p: p-values; a NaN stays NaN, and counts as one of them.
    """
    values = np.asarray(p, float)
    adjusted = np.full(values.size, np.nan)
    highest = 0.0
    for rank, i in enumerate(np.argsort(values, kind="stable")):
        if np.isnan(values[i]):
            break
        highest = max(highest, min(1.0, (values.size - rank) * values[i]))
        adjusted[i] = highest
    return adjusted.tolist()


def _compare_unpaired(
    first: np.ndarray, second: np.ndarray, within: MeasureRange
) -> Improvement:
    """Returns the improvement of one side over another, independent one."""
    sides = first, second
    difference = float(first.mean() - second.mean())
    if all(is_constant(side, within) for side in sides):
        found = _constant_interval(first, second, within)
        return Improvement(difference, found.low, found.high, found.p)
    # Squared standard errors of the two means.
    errors = np.array([side.var(ddof=1) / side.size for side in sides])
    freedoms = np.array([side.size - 1 for side in sides])
    freedom = errors.sum() ** 2 / (errors**2 / freedoms).sum()
    error = float(np.sqrt(errors.sum()))
    found = student_interval(difference, error, float(freedom), within.difference_range)
    return Improvement(difference, found.low, found.high, found.p)


def _constant_interval(
    first: np.ndarray, second: np.ndarray, within: MeasureRange
) -> Interval:
    """Returns the interval of a difference where neither side has any spread."""
    difference = float(first.mean() - second.mean())
    if not within.is_bounded:
        return exact_interval(difference, first.size, ANY)
    # Each side misses in half of the cases in which the two together may.
    own, other = (
        exact_interval(float(side.mean()), side.size, within, (1 - LEVEL) / 2)
        for side in (first, second)
    )
    return Interval(own.low - other.high, own.high - other.low)
