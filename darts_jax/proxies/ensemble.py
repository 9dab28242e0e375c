"""Several proxies together: averages of their ranks, and a regression on known ones."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from darts_jax.errors import InputError

Scores = Float[np.ndarray, "item proxy"]

_PENALTIES = np.logspace(-3, 3, 13)


def relative_ranks(scores: Scores) -> Scores:
    """Returns the rank of every item by every proxy, above 0 up to 1.

    Args:
      scores: of the items; NaN ranks last.
    """
    known = np.where(np.isnan(scores), -np.inf, scores)
    return stats.rankdata(known, axis=0) / len(known)


def average_ranks(scores: Scores) -> Float[np.ndarray, " item"]:
    """Returns the mean over proxies of the rank of every item.

    Args:
      scores: of the items.
    """
    return relative_ranks(scores).mean(1)


def sum_log_ranks(scores: Scores) -> Float[np.ndarray, " item"]:
    """Returns the sum over proxies of the logarithm of the rank of every item.

    AZ-NAS (Lee and Ham, 2024), equation 10: an item that one proxy ranks last is not
    made up for by the others.

    Args:
      scores: of the items.
    """
    return np.log(relative_ranks(scores)).sum(1)


def fit_ridge(
    scores: Scores, known: Int[np.ndarray, " k"], truth: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " item"]:
    """Predicts the truth of all items from their ranks by ridge regression.

    The penalty is chosen by leave-one-out errors on the known items.

    Args:
      scores: of all items.
      known: numbers of the items whose truth is known.
      truth: of these items.

    Raises:
      InputError: fewer than 3 known items.
    """
    if len(known) < 3:
        raise InputError(f"a fit to {len(known)} architectures; want 3 or more")
    # Takes a second to import, which a search without a fit does not need.
    from sklearn.linear_model import RidgeCV

    ranks = relative_ranks(scores)
    model = RidgeCV(alphas=_PENALTIES).fit(ranks[known], truth)
    return np.asarray(model.predict(ranks), np.float64)
