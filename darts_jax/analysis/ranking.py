"""How well scores order what they score."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

Numbers = Float[np.ndarray, " n"]


class Ranking(NamedTuple):
    """Attributes:
    kendall: tau-b, in [-1, 1].
    spearman: correlation of the ranks, in [-1, 1].
    regret: k -> how much the best of the k highest scores falls short of the best.
    """

    kendall: float
    spearman: float
    regret: dict[int, float]


def ranking(scores: Numbers, truth: Numbers, top: tuple[int, ...] = (1, 10)) -> Ranking:
    """Of scores beside what is true; NaN for correlations of what is all the same."""
    regrets = {k: regret(scores, truth, k) for k in top}
    if np.ptp(scores) == 0 or np.ptp(truth) == 0:
        return Ranking(float("nan"), float("nan"), regrets)
    return Ranking(
        float(stats.kendalltau(scores, truth).statistic),
        float(stats.spearmanr(scores, truth).statistic),
        regrets,
    )


def regret(scores: Numbers, truth: Numbers, k: int) -> float:
    """``max(truth)`` less the largest truth among the k highest scores.

    Of equal scores the first ones count.
    """
    chosen = np.argsort(-np.asarray(scores), kind="stable")[:k]
    return float(np.max(truth) - np.max(np.asarray(truth)[chosen]))
