"""95 % intervals of means and differences, within the range of a measure.

Student's interval of an estimate ``m`` with standard error ``s`` is ``m ± t s``. For a
measure between 0 and 1 it is computed on the unbounded scale of log-odds by the delta
method (the standard error is ``s / (m (1 - m))`` there), and transformed back:

    expit(logit(m) ± t s / (m (1 - m)))

In the middle of the range the two agree; near an end Student's interval leaves the
range and covers the mean too rarely. All is in closed form, so two calls agree to the
bit.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit

from darts_jax.errors import InputError

LEVEL = 0.95

_OUTSIDE = 1e-6  # of a range's width: excess by rounding in float32
_SPREAD = 8 * np.finfo(np.float64).eps  # relative: spread by rounding alone


class MeasureRange(NamedTuple):
    """MeasureRange of a measure.

    Attributes:
      low: the least value.
      high: the greatest value.
    """

    low: float = -math.inf
    high: float = math.inf

    @property
    def is_bounded(self) -> bool:
        """True if both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def difference_range(self) -> "MeasureRange":
        """MeasureRange of the difference of two values in this range."""
        return MeasureRange(self.low - self.high, self.high - self.low)


ANY = MeasureRange()
SHARE = MeasureRange(0.0, 1.0)
PERCENT = MeasureRange(0.0, 100.0)


class Interval(NamedTuple):
    """A 95 % interval, and the p-value of the hypothesis that the true value is 0.

    The interval excludes 0 exactly where p is below 0.05.

    Attributes:
      low: lower end; NaN where there is no interval.
      high: upper end; NaN where there is no interval.
      p: the p-value; NaN where there is none.
    """

    low: float
    high: float
    p: float = math.nan


def mean_interval(
    results: Sequence[float], within: MeasureRange = ANY
) -> tuple[float, float, float]:
    """Computes the mean of independent results and its 95 % interval.

    Args:
      results: the results.
      within: range of the measure; the interval lies in it.

    Returns:
      The mean and the ends of its interval, which are NaN for a single result.

    Raises:
      InputError: a result lies outside of the range.
    """
    values = clip_to_range(results, within)
    if values.size < 2:
        return float(values.mean()) if values.size else np.nan, np.nan, np.nan
    mean = float(values.mean())
    found = sample_interval(values, within)
    return mean, found.low, found.high


def sample_interval(values: np.ndarray, within: MeasureRange) -> Interval:
    """Returns the interval of the mean of two independent values or more.

    Args:
      values: the values [n].
      within: their range.
    """
    mean = float(values.mean())
    count = values.size
    if is_constant(values, within):
        return exact_interval(mean, count, within)
    error = float(values.std(ddof=1) / np.sqrt(count))
    return student_interval(mean, error, count - 1, within)


def student_interval(
    mean: float, error: float, freedom: float, within: MeasureRange
) -> Interval:
    """Returns Student's interval of an estimate, within the range of its measure.

    Args:
      mean: the estimate, strictly between the ends of the range.
      error: its standard error, above 0.
      freedom: degrees of freedom of the error.
      within: range of the measure.
    """
    quantile = float(stdtrit(freedom, (1 + LEVEL) / 2))
    center, slope = _to_unbounded(mean, within)
    half = quantile * error * slope
    low = _from_unbounded(center - half, within)
    high = _from_unbounded(center + half, within)
    p = math.nan
    if within.low < 0 < within.high:
        away = abs(center - _to_unbounded(0.0, within)[0]) / (error * slope)
        p = 2 * float(stdtr(freedom, -away))
    return Interval(low, high, p)


def exact_interval(
    value: float, count: int, within: MeasureRange, chance: float = 1 - LEVEL
) -> Interval:
    """Returns the exact interval of a mean where all results are equal.

    A value that occurred ``n`` times in ``n`` trials has a probability of
    ``q = (chance / 2) ** (1 / n)`` or more, the end of the interval of Clopper and
    Pearson (1934). With the rest of the probability at either end of the range, the
    mean is between ``q value + (1 - q) low`` and ``q value + (1 - q) high``: for four
    zeros of a share, ``0 to 0.60``. A range without ends does not bound the mean: the
    interval is the value alone, without a p-value unless it is 0.

    Args:
      value: the value of all results.
      count: the number n of results.
      within: range of the measure.
      chance: probability that the interval misses the mean.
    """
    if not within.is_bounded:
        return Interval(value, value, 1.0 if value == 0 else math.nan)
    q = (chance / 2) ** (1 / count)
    low, high = (q * value + (1 - q) * end for end in within)
    p = math.nan
    if within.low < 0 < within.high:
        # The least q at which the interval reaches 0, and the chance of that.
        end = within.low if value > 0 else within.high
        reach = end / (end - value)
        p = min(1.0, 2 * reach**count)
    return Interval(low, high, p)


def is_constant(values: np.ndarray, within: MeasureRange) -> bool:
    """Returns whether values are equal up to rounding.

    Args:
      values: the values [n].
      within: range of the measure.
    """
    size = np.abs(values).max()
    if within.is_bounded:
        # Differences are rounded as what they are differences of.
        size = max(size, within.high - within.low)
    return bool(np.ptp(values) <= _SPREAD * size)


def clip_to_range(results: Sequence[float], within: MeasureRange) -> np.ndarray:
    """Returns results as float64, clipped where rounding put them outside a range.

    Args:
      results: the results.
      within: the range.

    Raises:
      InputError: a result lies outside by more than rounding.
    """
    values = np.asarray(results, np.float64)
    margin = _OUTSIDE * (within.high - within.low) if within.is_bounded else _OUTSIDE
    outside = (values < within.low - margin) | (values > within.high + margin)
    if outside.any():
        raise InputError(
            f"a result of {values[outside][0]:g} is not between {within.low:g} and "
            f"{within.high:g}; want another range, or results in its unit"
        )
    return np.clip(values, within.low, within.high)


def _to_unbounded(value: float, within: MeasureRange) -> tuple[float, float]:
    """Returns a value on an unbounded scale, and the slope of that scale there."""
    low, high = within
    if within.is_bounded:
        width = high - low
        share = (value - low) / width
        return float(logit(share)), 1 / (width * share * (1 - share))
    if math.isfinite(low):
        return math.log(value - low), 1 / (value - low)
    if math.isfinite(high):
        return -math.log(high - value), 1 / (high - value)
    return value, 1.0


def _from_unbounded(value: float, within: MeasureRange) -> float:
    low, high = within
    if within.is_bounded:
        return min(max(low + (high - low) * float(expit(value)), low), high)
    if math.isfinite(low):
        return low + _exp(value)
    if math.isfinite(high):
        return high - _exp(-value)
    return value


def _exp(value: float) -> float:
    return float(np.exp(min(value, 709.0)))
