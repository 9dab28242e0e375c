"""Schedules of short and long trainings: their rungs, and what they find."""

import numpy as np
import pytest

from darts_jax.baselines import BASELINES, Budget, Evaluation, improvement
from darts_jax.baselines.evaluation_budget import BatchEvaluate
from darts_jax.baselines.halving import choose_rungs
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import genotype_key
from tests.support.genotypes import additive, is_valid

SCHEDULES = ("successive_halving", "hyperband")


def noisy(space, seed=0, lengths=(1, 3, 9, 27)):
    """Scores that are the truer, the longer the training; a second an epoch."""
    evaluate, best = additive(space, seed)
    asked = []

    def evaluate_all(genotypes, epochs):
        for genotype in genotypes:
            asked.append((genotype, epochs))
            error = np.random.default_rng(len(asked)).normal() * 27 / epochs / 20
            truth = evaluate(genotype).score
            yield Evaluation(truth + error, float(epochs))

    return BatchEvaluate(evaluate_all, lengths), asked, evaluate, best


def run(name, space, budget, seed=0, lengths=(1, 3, 9, 27), **settings):
    evaluate, asked, truth, _ = noisy(space, seed, lengths)
    rng = np.random.default_rng(seed)
    return BASELINES[name](space, evaluate, budget, rng, **settings), asked, truth


def counts(asked):
    """[(epochs, number of trainings)] in the order of asking."""
    found = []
    for _, epochs in asked:
        if not found or found[-1][0] != epochs:
            found.append([epochs, 0])
        found[-1][1] += 1
    return [tuple(one) for one in found]


def by_genotype(trace, epochs):
    found = [one for one in trace.asked if one.epochs == epochs]
    return {genotype_key(one.genotype): one.score for one in found}


def scores_before(trace, short, long):
    """Scores after the short training of those that had the long one, best first."""
    known = by_genotype(trace, short)
    return sorted((known[key] for key in by_genotype(trace, long)), reverse=True)


def test_rungs():
    assert choose_rungs(range(1, 28), 3) == (1, 3, 9, 27)
    assert choose_rungs((12, 200), 3) == (12, 200)
    assert choose_rungs((4, 12, 36, 108), 9) == (12, 108)
    assert choose_rungs(range(5, 101), 3) == (11, 33, 100)


def test_each_rung_keeps_the_best_of_the_one_before():
    """Li et al. (2018), table 1: 81 epochs and eta 3, here 27."""
    space = get_space("nasbench201")
    trace, asked, _ = run("successive_halving", space, Budget(evaluations=40))
    assert counts(asked) == [(1, 27), (3, 9), (9, 3), (27, 1)]
    for short, long, kept in ((1, 3, 9), (3, 9, 3), (9, 27, 1)):
        known = sorted(by_genotype(trace, short).values(), reverse=True)
        assert scores_before(trace, short, long) == known[:kept]
    assert trace.best.epochs == 27
    _, asked, _ = run("hyperband", space, Budget(evaluations=69))
    first = [(1, 27), (3, 9), (9, 3), (27, 1), (3, 12), (9, 4), (27, 1)]
    assert counts(asked) == [*first, (9, 6), (27, 2 + 4)]
    _, asked, _ = run("hyperband", space, Budget(evaluations=20), 0, (12, 200))
    assert counts(asked) == [(12, 17), (200, 3)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_two_runs_agree_and_budgets_hold(name):
    for space in map(get_space, ("nasbench201", "darts", "s3")):
        trace, asked, _ = run(name, space, Budget(cost=200.5))
        assert trace.cost == 200 or trace.cost + asked[-1][1] > 200.5
        assert all(is_valid(space, one.genotype) for one in trace.asked)
        assert run(name, space, Budget(cost=200.5))[0] == trace


def gains(name, repeats):
    """Differences to random search, told of whole trainings, at equal cost."""
    space = get_space("nasbench201")
    found, random = [], []
    for seed in range(repeats):
        trace, _, truth = run(name, space, Budget(cost=600), seed)
        found.append(truth(trace.best.genotype).score)
        evaluate, *_ = noisy(space, seed)

        def whole(genotype, evaluate=evaluate):
            return next(iter(evaluate.evaluate_all([genotype], 27)))

        rng = np.random.default_rng(seed)
        trace = BASELINES["random_search"](space, whole, Budget(cost=600), rng)
        random.append(truth(trace.best.genotype).score)
    return improvement(dict(enumerate(found)), dict(enumerate(random)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_short_trainings_pay(name):
    assert gains(name, 24).low > 0


@pytest.mark.slow
def test_bohb_pays():
    pytest.importorskip("optuna", reason="BOHB needs optuna")
    assert gains("bohb", 24).low > 0


def test_two_runs_of_bohb_agree():
    pytest.importorskip("optuna", reason="BOHB needs optuna")
    space = get_space("darts")
    trace, *_ = run("bohb", space, Budget(cost=200.5))
    assert all(is_valid(space, one.genotype) for one in trace.asked)
    assert run("bohb", space, Budget(cost=200.5))[0] == trace


def test_a_curve_that_is_continued_decides():
    space = get_space("nasbench201")
    settings = {"extrapolation": lambda epochs, scores, whole: -scores[-1]}
    trace, *_ = run("successive_halving", space, Budget(evaluations=36), **settings)
    worst = sorted(by_genotype(trace, 1).values())[:9]
    assert scores_before(trace, 1, 3) == worst[::-1]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"eta": 1.0}, "want a number above 1"),
        ({"extrapolation": "power"}, "unknown extrapolation 'power'"),
        ({"lengths": (9,)}, "trainings of 2 lengths or more, and here are 1"),
    ],
)
@pytest.mark.parametrize("name", SCHEDULES)
def test_mistakes_are_told_in_one_line(name, broken, says):
    with pytest.raises(InputError, match=says):
        run(name, get_space("nasbench201"), Budget(evaluations=5), **broken)


def test_a_plain_oracle_has_no_lengths():
    space = get_space("nasbench201")
    evaluate, _ = additive(space)
    with pytest.raises(InputError, match="hyperband wants scores after trainings"):
        BASELINES["hyperband"](
            space, evaluate, Budget(evaluations=5), np.random.default_rng(0)
        )
