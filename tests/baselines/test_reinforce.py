"""REINFORCE: the slope of its policy, and one step by hand."""

import math

import numpy as np
import pytest

from darts_jax.baselines import (
    BASELINES,
    Budget,
    Evaluation,
)
from darts_jax.baselines.reinforce import _log_slope, _Policy
from darts_jax.spaces import get_space
from tests.support.genotypes import (
    is_valid,
    places,
)


def test_slope_of_the_policy_is_that_of_its_log_probability():
    space = get_space("s3")
    policy = _Policy(space)
    rng = np.random.default_rng(0)
    logits = np.where(policy.mask, rng.normal(size=policy.mask.shape), -np.inf)
    actions = (logits + rng.gumbel(size=logits.shape)).argmax(-1)
    genotype, used = policy.decide(actions)
    assert is_valid(space, genotype)
    # 8 nodes, each with two kept edges.
    assert used.sum() == 8 + 16

    def log_probability(at):
        parts = at - np.log(np.exp(at).sum(-1, keepdims=True))
        return parts[np.arange(len(at)), actions][used].sum()

    slope = _log_slope(logits, actions, used)
    for place in np.argwhere(policy.mask):
        step = np.zeros(logits.shape)
        step[tuple(place)] = 1e-6
        rise = log_probability(logits + step) - log_probability(logits - step)
        assert slope[tuple(place)] == pytest.approx(rise / 2e-6, abs=1e-8)
    assert not slope[~policy.mask].any()


def test_one_step_of_reinforce_by_hand():
    """After one step of Adam every logit that learns has moved by the rate."""
    space = get_space("nasbench201")
    shares = []
    for seed in range(300):
        scores = iter([1.0, 3.0, 3.0])
        rng = np.random.default_rng(seed)
        trace = BASELINES["reinforce"](
            space,
            lambda _, scores=scores: Evaluation(next(scores)),
            Budget(evaluations=3),
            rng,
            learning_rate=2.0,
        )
        second, third = (places(trace.asked[i].genotype) for i in (1, 2))
        shares += [third[p] == second[p] for p in second]
    # The first score is its own baseline: no step. The second step adds 2 to what was
    # taken and takes 2 from the rest, by Adam's bias corrections times a factor:
    # m / (1 - 0.9^2) over sqrt(v / (1 - 0.999^2)) of one gradient is 0.7442.
    factor = (0.1 / 0.19) / math.sqrt(0.001 / (1 - 0.999**2))
    odds = math.exp(2 * 2.0 * factor)
    share = odds / (odds + 4)
    assert abs(np.mean(shares) - share) < 4 * math.sqrt(share * (1 - share) / 1800)
