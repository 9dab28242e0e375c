"""Searches that have scores of genotypes before they ask for one."""

import numpy as np
import pytest

from darts_jax.baselines import (
    BASELINES,
    Budget,
    Evaluation,
    draw_best,
    require_prior_taken,
)
from darts_jax.errors import InputError
from darts_jax.proxies.ensemble import average_ranks
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import genotype_key, sample_genotype

SPACE = get_space("nasbench201")


def count_convolutions(genotype):
    names = [choice.operation for choice in genotype.cells["normal"].choices]
    return names.count("nor_conv_3x3") + names.count("nor_conv_1x1")


def prior(genotypes):
    """Two scores, of which the second is of no use."""
    useful = [count_convolutions(genotype) for genotype in genotypes]
    return np.stack([useful, np.zeros(len(genotypes))], 1)


def evaluate(genotype):
    return Evaluation(float(count_convolutions(genotype)))


def test_best_of_the_draws_each_once():
    found = draw_best(SPACE, np.random.default_rng(0), prior, 20, 300)
    rng = np.random.default_rng(0)
    every = [sample_genotype(SPACE, rng) for _ in range(300)]
    drawn = {genotype_key(genotype): genotype for genotype in every}
    order = np.argsort(-average_ranks(prior(list(drawn.values()))), kind="stable")
    assert found == [list(drawn.values())[i] for i in order[:20]]
    with pytest.raises(InputError, match="want 20 or more"):
        draw_best(SPACE, rng, prior, 20, 19)


@pytest.mark.parametrize("name", ["random_search", "evolution", "predictor_search"])
def test_first_genotypes_are_the_best_by_the_prior(name):
    search, budget = BASELINES[name], Budget(evaluations=20)
    trace = search(SPACE, evaluate, budget, np.random.default_rng(0), prior=prior)
    wanted = draw_best(SPACE, np.random.default_rng(0), prior, 10, 1000)
    first = [asked.genotype for asked in trace.asked[:10]]
    assert first == wanted
    assert trace.best.score == 6
    plain = search(SPACE, evaluate, budget, np.random.default_rng(0))
    assert np.mean([a.score for a in plain.asked[:10]]) < 4 < trace.asked[0].score


def test_a_search_without_a_place_for_scores():
    with pytest.raises(InputError, match="reinforce takes no proxies; want random_"):
        require_prior_taken("reinforce")
