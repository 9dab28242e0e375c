"""Learning curves continued to the end of a longer training.

Each is ``(epochs, scores, whole) -> score``. To add one: ``EXTRAPOLATIONS["mine"] =
mine``.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from scipy import optimize

from darts_jax.documentation import implements

_PARAMETERS = 3
_LEAST_RATE = 1e-3
_LARGEST_RATE = 10.0
_GRID = 25


class Extrapolation(Protocol):
    """Score at the end of a training that is longer than those that are known.

    Args:
      epochs: lengths of the trainings, ascending.
      scores: at their ends, the higher the better.
      whole: epochs of the longer training.

    Returns:
      The expected score; the last one where fewer than three are known.
    """

    def __call__(
        self,
        epochs: Float[np.ndarray, " known"],
        scores: Float[np.ndarray, " known"],
        whole: float,
    ) -> float: ...


@implements(Extrapolation)
def last_score(
    epochs: Float[np.ndarray, " known"],
    scores: Float[np.ndarray, " known"],
    whole: float,
) -> float:
    """Returns the last score, as successive halving compares genotypes.

    Jamieson and Talwalkar (2016).
    """
    del epochs, whole
    return float(scores[-1])


@implements(Extrapolation)
def power_law(
    epochs: Float[np.ndarray, " known"],
    scores: Float[np.ndarray, " known"],
    whole: float,
) -> float:
    """Fits a power law, ``c - a x^-r`` with a of 0 or more.

    Domhan et al. (2015, Speeding up Automatic Hyperparameter Optimization), table 1,
    "pow3".
    """
    return _continue(scores, epochs, whole, (_fit(_power, epochs, scores),))


@implements(Extrapolation)
def best_family(
    epochs: Float[np.ndarray, " known"],
    scores: Float[np.ndarray, " known"],
    whole: float,
) -> float:
    """Fits several families of curves, and continues the one of the least error.

    Domhan et al. (2015), table 1: ``c - a g(x)`` with a of 0 or more, where g is
    ``x^-r`` ("pow3"), ``exp(-r x)`` ("exp4" with an exponent of 1), and
    ``1 / log(1 + x)`` ("ilog2" of an epoch counted from 1).
    """
    families = (_power, _exponential, _logarithm)
    fits = (_fit(family, epochs, scores) for family in families)
    return _continue(scores, epochs, whole, tuple(fits))


EXTRAPOLATIONS: dict[str, Extrapolation] = {
    "last_score": last_score,
    "power_law": power_law,
    "best_family": best_family,
}
"""Name -> score at the end of a training, of those at the ends of shorter ones."""

_Family = Callable[[Float[np.ndarray, " known"], float], Float[np.ndarray, " known"]]


class _Fit(NamedTuple):
    """A curve ``ceiling - drop * family(x, rate)`` and its sum of squared errors."""

    family: _Family
    rate: float
    ceiling: float
    drop: float
    error: float

    def at(self, epochs: float) -> float:
        (fallen,) = self.family(np.array([epochs], float), self.rate)
        return float(self.ceiling - self.drop * fallen)


def _power(x: Float[np.ndarray, " n"], rate: float) -> Float[np.ndarray, " n"]:
    return x**-rate


def _exponential(x: Float[np.ndarray, " n"], rate: float) -> Float[np.ndarray, " n"]:
    return np.exp(-rate * x)


def _logarithm(x: Float[np.ndarray, " n"], rate: float) -> Float[np.ndarray, " n"]:
    del rate
    return 1 / np.log1p(x)


def _fit(
    family: _Family,
    epochs: Float[np.ndarray, " known"],
    scores: Float[np.ndarray, " known"],
) -> _Fit:
    """Returns the curve of a family with the least squared error."""
    x = np.asarray(epochs, float)
    y = np.asarray(scores, float)

    # At a given rate, ceiling and drop are a regression line.
    def fit_line(log_rate: float) -> _Fit:
        rate = float(np.exp(log_rate))
        fallen = family(x, rate)
        spread = fallen - fallen.mean()
        drop = 0.0
        if np.ptp(fallen) > 0:
            drop = max(0.0, float(-(spread @ y) / (spread @ spread)))
        ceiling = float(y.mean() + drop * fallen.mean())
        error = float(np.sum((ceiling - drop * fallen - y) ** 2))
        return _Fit(family, rate, ceiling, drop, error)

    grid = np.log(np.geomspace(_LEAST_RATE, _LARGEST_RATE, _GRID))
    best = int(np.argmin([fit_line(one).error for one in grid]))
    near = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = optimize.minimize_scalar(
        lambda one: fit_line(one).error,
        bounds=near,
        method="bounded",
        options={"xatol": 1e-10},
    )
    return min(
        fit_line(float(found.x)), fit_line(grid[best]), key=lambda fit: fit.error
    )


def _continue(
    scores: Float[np.ndarray, " known"],
    epochs: Float[np.ndarray, " known"],
    whole: float,
    fits: tuple[_Fit, ...],
) -> float:
    if len(epochs) < _PARAMETERS:
        return float(scores[-1])
    return min(fits, key=lambda fit: fit.error).at(whole)
