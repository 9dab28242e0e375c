"""95 % intervals of means and differences that stay within what can be measured.

Student's interval of an estimate ``m`` with standard error ``s`` is ``m ± t s``. Of a
measure that ends at 0 and at 1 it is made on the scale of log-odds, where nothing
ends, by the delta method (``s / (m (1 - m))`` there), and brought back:

    expit(logit(m) ± t s / (m (1 - m)))

In the middle of the range the two agree; near an end Student's leaves the range and
covers too rarely. Everything is in closed form, so two calls agree to the bit.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit

from darts_jax.errors import InputError

LEVEL = 0.95

_DUST = 1e-6  # of a range's width: what rounding in float32 may leave outside
_ALIKE = 8 * np.finfo(np.float64).eps  # relative: what rounding leaves of no spread


class Range(NamedTuple):
    """The least and the greatest value that a measure can have."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def is_bounded(self) -> bool:
        """Whether it ends on both sides."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def of_differences(self) -> "Range":
        """The range of the difference of two such measures."""
        return Range(self.low - self.high, self.high - self.low)


ANY, SHARE, PERCENT = Range(), Range(0.0, 1.0), Range(0.0, 100.0)


class Interval(NamedTuple):
    """A 95 % interval, and the p-value of the hypothesis that the truth is 0.

    The interval leaves out 0 exactly where p is below 0.05. Either is NaN where there
    is none.
    """

    low: float
    high: float
    p: float = math.nan


def mean_interval(
    results: Sequence[float], within: Range = ANY
) -> tuple[float, float, float]:
    """Returns the mean of independent results and its 95 % interval, low and high.

    Of one result there is no interval: NaN on either side.

    Args:
      within: what the measure can be; the interval lies in it.

    Raises:
      InputError: a result lies outside.
    """
    values = inside(results, within)
    if values.size < 2:
        return float(values.mean()) if values.size else np.nan, np.nan, np.nan
    mean = float(values.mean())
    found = interval_of(values, within)
    return mean, found.low, found.high


def interval_of(values: np.ndarray, within: Range) -> Interval:
    """Returns the interval of the mean of two values or more that lie in a range."""
    mean, count = float(values.mean()), values.size
    if are_alike(values, within):
        return alike_interval(mean, count, within)
    error = float(values.std(ddof=1) / np.sqrt(count))
    return interval(mean, error, count - 1, within)


def interval(mean: float, error: float, freedom: float, within: Range) -> Interval:
    """Returns the interval of an estimate from its standard error.

    Args:
      mean: the estimate, strictly between the ends of the range.
      error: its standard error, above 0.
      freedom: degrees of freedom of the error.
    """
    quantile = float(stdtrit(freedom, (1 + LEVEL) / 2))
    center, slope = _onto_line(mean, within)
    half = quantile * error * slope
    if math.isinf(within.low) and math.isinf(within.high):
        low, high = mean - half, mean + half
    else:
        low, high = (_from_line(x, within) for x in (center - half, center + half))
    p = math.nan
    if within.low < 0 < within.high:
        away = abs(center - _onto_line(0.0, within)[0]) / (error * slope)
        p = 2 * float(stdtr(freedom, -away))
    return Interval(low, high, p)


def alike_interval(
    value: float, count: int, within: Range, chance: float = 1 - LEVEL
) -> Interval:
    """Returns the exact interval of a mean of which all results are the same.

    There is no spread to go by. A value that has come up ``n`` times in ``n`` has a
    probability of ``q = (chance / 2) ** (1 / n)`` or more, which is Clopper and
    Pearson's (1934) end of the interval; with the rest at either end of the range the
    mean is between ``q value + (1 - q) low`` and ``q value + (1 - q) high``. So it is
    ``0 to 0.60`` after four zeros of a share. Where the range has no ends nothing
    bounds the mean: the interval is the value alone, without a p-value unless it is 0.
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


def are_alike(values: np.ndarray, within: Range) -> bool:
    """Returns whether values have no spread but for rounding."""
    size = np.abs(values).max()
    if within.is_bounded:
        # Differences are rounded as what they are differences of.
        size = max(size, within.high - within.low)
    return bool(np.ptp(values) <= _ALIKE * size)


def inside(results: Sequence[float], within: Range) -> np.ndarray:
    """Returns results as float64, those that rounding put outside a range at its end.

    Raises:
      InputError: one lies outside by more than rounding.
    """
    values = np.asarray(results, np.float64)
    dust = _DUST * (within.high - within.low) if within.is_bounded else _DUST
    outside = (values < within.low - dust) | (values > within.high + dust)
    if outside.any():
        raise InputError(
            f"a result of {values[outside][0]:g} is not between {within.low:g} and "
            f"{within.high:g}; want another range, or results in its unit"
        )
    return np.clip(values, within.low, within.high)


def _onto_line(value: float, within: Range) -> tuple[float, float]:
    """Returns a value on a scale without ends, and the slope of that scale there."""
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


def _from_line(value: float, within: Range) -> float:
    low, high = within
    if within.is_bounded:
        return min(max(low + (high - low) * float(expit(value)), low), high)
    if math.isfinite(low):
        return low + _exp(value)
    return high - _exp(-value)


def _exp(value: float) -> float:
    return float(np.exp(min(value, 709.0)))
