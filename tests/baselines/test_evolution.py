"""Regularized evolution: the oldest is forgotten."""

import itertools

import numpy as np

from darts_jax.baselines import (
    BASELINES,
    Budget,
)
from darts_jax.spaces import get_space
from tests.support.genotypes import (
    additive,
    differences,
)


def test_evolution_forgets_the_oldest():
    """Every child in a population of 1 is its only parent's, however bad."""
    space = get_space("nasbench201")
    evaluate, _ = additive(space)
    rng = np.random.default_rng(0)
    budget = Budget(evaluations=50)
    trace = BASELINES["evolution"](space, evaluate, budget, rng, population=1)
    walk = [one.genotype for one in trace.asked]
    steps = [differences(a, b) for a, b in itertools.pairwise(walk)]
    assert set(steps) == {(1, 0)}
    scores = [one.score for one in trace.asked]
    assert min(np.diff(scores)) < 0
