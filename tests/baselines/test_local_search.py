"""Local search: nothing is asked for twice until it starts again."""

import numpy as np

from darts_jax.baselines import (
    BASELINES,
    Budget,
)
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import genotype_key, list_neighbours
from tests.support.genotypes import (
    additive,
)


def test_local_search_asks_for_nothing_twice_until_it_starts_again():
    space = get_space("nasbench201")
    evaluate, best = additive(space)
    rng = np.random.default_rng(0)
    budget = Budget(evaluations=1000)
    trace = BASELINES["local_search"](space, evaluate, budget, rng)
    known = [genotype_key(one.genotype) for one in trace.asked]
    top = next(i for i, one in enumerate(trace.asked) if abs(one.score - best) < 1e-9)
    near = {genotype_key(g) for g in list_neighbours(space, trace.asked[top].genotype)}
    climb = known[: max(known.index(g) for g in near) + 1]
    assert len(set(climb)) == len(climb)
