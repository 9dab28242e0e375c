"""Evolution over a supernet: generations, their limit, and a known optimum."""

import itertools

import numpy as np
import pytest

from darts_jax.bilevel.discretization import one_hot
from darts_jax.bilevel.evolution import CostLimit, draw_within, evolve, run_generations
from darts_jax.bilevel.selection import TrainedSupernet, evolution
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import genotype_key, mutate_each, recombine, sample_genotype
from tests.support.genotypes import is_valid

SPACE = get_space("nasbench201")
PRICES = {"none": 0, "skip_connect": 1, "nor_conv_1x1": 3, "nor_conv_3x3": 9}


def cost(genotype):
    """Price of all operations; a pooling costs 2."""
    choices = genotype.cells["normal"].choices
    return float(sum(PRICES.get(choice.operation, 2) for choice in choices))


def merit(genotype):
    """Counts costly operations, the later ones more: the optimum under a limit."""
    choices = genotype.cells["normal"].choices
    return sum(
        (i + 1) * PRICES.get(choice.operation, 2) for i, choice in enumerate(choices)
    )


def proposed(limit, **settings):
    proposals = evolve(SPACE, np.random.default_rng(0), limit, **settings)
    sizes = []

    def score(genotypes):
        sizes.append(len(genotypes))
        return np.array([float(merit(genotype)) for genotype in genotypes])

    return run_generations(proposals, score), sizes


def test_generations_keep_the_limit_and_find_its_optimum():
    limit = CostLimit(cost, 20.0, "coins")
    asked, sizes = proposed(limit, population=30, generations=12, parents=8)
    assert sizes == [30] * 12
    assert len({genotype_key(genotype) for genotype, _ in asked}) == 360
    assert all(cost(genotype) <= 20 for genotype, _ in asked)
    assert all(is_valid(SPACE, genotype) for genotype, _ in asked)
    # By all prices of six edges: the most merit that 20 coins buy.
    prices = (0, 1, 2, 3, 9)
    best = max(
        sum((i + 1) * price for i, price in enumerate(row))
        for row in itertools.product(prices, repeat=6)
        if sum(row) <= 20
    )
    assert max(score for _, score in asked) == best
    first = max(score for _, score in asked[:30])
    assert first < best
    again, _ = proposed(limit, population=30, generations=12, parents=8)
    assert again == asked


def test_a_tight_limit_is_reached_by_steps_and_an_impossible_one_refused():
    rng = np.random.default_rng(0)
    assert cost(draw_within(SPACE, rng, CostLimit(cost, 1.0))) <= 1
    with pytest.raises(InputError, match="the cheapest costs 0: want a larger limit"):
        draw_within(SPACE, rng, CostLimit(cost, -1.0, "coins"))
    # Seven genotypes cost at most one coin: evolution ends when it has them all.
    asked, _ = proposed(CostLimit(cost, 1.0), population=8, generations=3)
    assert len(asked) == 7


def test_children_are_made_of_their_parents_decisions():
    rng = np.random.default_rng(1)
    first, second = (sample_genotype(SPACE, rng) for _ in range(2))
    children = [recombine(SPACE, first, second, rng) for _ in range(30)]
    allowed = {*first.cells["normal"].choices, *second.cells["normal"].choices}
    assert all({*c.cells["normal"].choices} <= allowed for c in children)
    assert len({*map(genotype_key, children)}) > 3
    assert mutate_each(SPACE, first, 0.0, rng) == first
    changed = [mutate_each(SPACE, first, 1.0, rng) for _ in range(50)]
    assert len({genotype_key(genotype) for genotype in changed}) > 45


def test_the_selection_returns_the_best_that_it_met():
    met = []

    def score(mixture):
        weights = mixture.weights["normal"]
        met.append(float((weights * np.arange(weights.shape[1])).sum()))
        return met[-1]

    trained = TrainedSupernet({}, {}, None, score, lambda mask: None)
    rng = np.random.default_rng(0)
    sizes = {"population": 20, "generations": 5, "parents": 5, "mutation": 0.2}
    found = evolution(SPACE, trained, rng, **sizes)
    assert len(met) == 100
    assert max(met) > max(met[:20])
    best = max(met)
    assert score(one_hot(SPACE, found)) == best
