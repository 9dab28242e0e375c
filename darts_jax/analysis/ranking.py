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
