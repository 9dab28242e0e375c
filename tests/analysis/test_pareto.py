"""The Pareto front is that of brute force."""

import numpy as np
import pytest

from darts_jax.analysis.pareto import pareto_front


@pytest.mark.parametrize("seed", range(20))
def test_pareto_is_that_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    # Few values, so that many are equal.
    cost, accuracy = rng.integers(0, 6, (2, 15)).astype(float)
    accuracy[rng.integers(0, 15)] = np.nan
    known = np.isfinite(accuracy)
    beaten = [
        any(
            known[j]
            and (cost[j] <= cost[i] and accuracy[j] >= accuracy[i])
            and (cost[j] < cost[i] or accuracy[j] > accuracy[i])
            for j in range(15)
        )
        for i in range(15)
    ]
    np.testing.assert_array_equal(
        pareto_front(cost, accuracy), known & ~np.array(beaten)
    )
