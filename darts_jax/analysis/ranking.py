"""Quality of a ranking: how well scores order what they score."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

Numbers = Float[np.ndarray, " n"]


class RankingQuality(NamedTuple):
    """Agreement of scores with the truth.

    Attributes:
      kendall: Kendall's tau-b, in [-1, 1].
      spearman: correlation of the ranks, in [-1, 1].
      regret: k -> difference between the best truth of all and the best truth among
        the k highest scores.
    """

    kendall: float
    spearman: float
    regret: dict[int, float]


class RankCorrelation(NamedTuple):
    """A rank correlation with its 95 % interval over architectures.

    Attributes:
      value: in [-1, 1]; NaN where all scores or all truths are equal.
      low: lower end of the interval.
      high: upper end.
    """

    value: float
    low: float
    high: float


class RankAgreement(NamedTuple):
    """Agreement of scores with the truth, with intervals.

    Attributes:
      spearman: correlation of the ranks.
      kendall: Kendall's tau-b.
      items: number of those whose score is a number; the others are left out.
    """

    spearman: RankCorrelation
    kendall: RankCorrelation
    items: int


def rank_agreement(scores: Numbers, truth: Numbers) -> RankAgreement:
    """Compares scores with the truth.

    The intervals are those of Bonett and Wright (2000): Fisher's transform of the
    correlation r is taken as normal, with variance (1 + r^2 / 2) / (n - 3) for
    Spearman's and 0.437 / (n - 4) for Kendall's.

    Args:
      scores: one score for each item [n]; NaN where there is none.
      truth: true value of each item [n].
    """
    known = ~(np.isnan(scores) | np.isnan(truth))
    scores, truth = scores[known], truth[known]
    count = len(scores)
    if count < 2 or (scores == scores[0]).all() or (truth == truth[0]).all():
        nothing = RankCorrelation(float("nan"), float("nan"), float("nan"))
        return RankAgreement(nothing, nothing, count)
    spearman = float(stats.spearmanr(scores, truth).statistic)
    kendall = float(stats.kendalltau(scores, truth).statistic)
    return RankAgreement(
        _with_interval(spearman, (1 + spearman**2 / 2) / max(count - 3, 1)),
        _with_interval(kendall, 0.437 / max(count - 4, 1)),
        count,
    )


def _with_interval(value: float, variance: float) -> RankCorrelation:
    inner = np.clip(value, -1 + 1e-12, 1 - 1e-12)
    ends = np.arctanh(inner) + stats.norm.ppf([0.025, 0.975]) * variance**0.5
    low, high = np.tanh(ends)
    return RankCorrelation(value, float(low), float(high))


def ranking_quality(
    scores: Numbers, truth: Numbers, top: tuple[int, ...] = (1, 10)
) -> RankingQuality:
    """Compares scores with the truth.

    Args:
      scores: one score for each item [n].
      truth: true value of each item [n].
      top: numbers k for which the regret is computed.

    Returns:
      The quality; its correlations are NaN where all scores or all truths are equal.
    """
    regrets = {k: regret(scores, truth, k) for k in top}
    if np.ptp(scores) == 0 or np.ptp(truth) == 0:
        return RankingQuality(float("nan"), float("nan"), regrets)
    return RankingQuality(
        float(stats.kendalltau(scores, truth).statistic),
        float(stats.spearmanr(scores, truth).statistic),
        regrets,
    )


def regret(scores: Numbers, truth: Numbers, k: int) -> float:
    """Returns ``max(truth)`` less the largest truth among the k highest scores.

    Args:
      scores: one score for each item [n]; among equal scores the first ones count.
      truth: true value of each item [n].
      k: number of items that are chosen by their scores.
    """
    chosen = np.argsort(-np.asarray(scores), kind="stable")[:k]
    return float(np.max(truth) - np.max(np.asarray(truth)[chosen]))
