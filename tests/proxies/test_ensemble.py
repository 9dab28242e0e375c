"""Combinations of proxies, against their definitions."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from darts_jax.errors import InputError
from darts_jax.proxies.ensemble import average_ranks, fit_ridge, sum_log_ranks

SCORES = np.random.default_rng(0).normal(size=(40, 3))


def test_ranks_are_averaged_and_what_is_no_number_ranks_last():
    scores = SCORES.copy()
    scores[7, 1] = np.nan
    ranks = np.stack([stats.rankdata(np.nan_to_num(c, nan=-99)) for c in scores.T], 1)
    np.testing.assert_allclose(average_ranks(scores), ranks.mean(1) / 40)
    np.testing.assert_allclose(sum_log_ranks(scores), np.log(ranks / 40).sum(1))


def test_ridge_is_fitted_to_the_known_alone():
    ranks = stats.rankdata(SCORES, axis=0) / 40
    truth = ranks @ [3.0, 0.0, -1.0] + 5
    known = np.arange(0, 40, 3)
    found = fit_ridge(SCORES, known, truth[known])
    np.testing.assert_allclose(found, truth, atol=0.02)
    near = Ridge(alpha=1e-3).fit(ranks[known], truth[known]).predict(ranks)
    np.testing.assert_allclose(found, near, atol=1e-9)


def test_too_few():
    with pytest.raises(InputError, match="want 3 or more"):
        fit_ridge(SCORES, np.arange(2), np.zeros(2))
