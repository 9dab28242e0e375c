"""Baselines on objectives whose optimum is known, and within their budgets."""

import functools
import math

import numpy as np
import pytest

from darts_jax.baselines import (
    BASELINES,
    Budget,
    Evaluation,
    budgeted,
    improvement,
)
from darts_jax.baselines.predictors import ensemble
from darts_jax.errors import InputError, look_up
from darts_jax.nasbench import load_table
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import (
    mutate,
    sample_genotype,
)
from tests.support.genotypes import (
    additive,
    is_valid,
    tiny_space,
)
from tests.support.paths import SHARED

TABLE = SHARED / "data" / "nasbench201_table.npz"
QUICK = {
    "reinforce": {"learning_rate": 0.1},
    "predictor_search": {
        "batch": 20,
        "predictor": functools.partial(ensemble, steps=50),
    },
}
# Those that ask for trainings of several lengths: test_halving.py.
PLAIN = [n for n in BASELINES if n not in ("successive_halving", "hyperband", "bohb")]
SEARCHES = [name for name in PLAIN if name != "random_search"]


def bests(name, space, evaluations, repeats, **settings):
    found = []
    for seed in range(repeats):
        evaluate, best = additive(space, seed)
        rng = np.random.default_rng(seed)
        budget = Budget(evaluations=evaluations)
        trace = BASELINES[name](space, evaluate, budget, rng, **settings)
        assert trace.best.score <= best + 1e-9
        found.append(trace.best.score - best)
    return found


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(
    "space",
    [
        "nasbench201",
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("darts", "s1")),
    ],
)
def test_every_search_beats_random_search(name, space):
    # A step of local search asks for all neighbours, 120 in DARTS.
    asked = {"local_search": 600, "predictor_search": 70}.get(name, 200)
    found = bests(name, get_space(space), asked, 8, **QUICK.get(name, {}))
    random = bests("random_search", get_space(space), asked, 8)
    assert improvement(found, random).low > 0


@pytest.mark.parametrize(
    "name",
    ["local_search", pytest.param("predictor_search", marks=pytest.mark.slow)],
)
def test_the_optimum_is_found_where_changes_add_up(name):
    settings = QUICK.get(name, {})
    gaps = bests(name, get_space("nasbench201"), 250, 3, **settings)
    assert max(abs(gap) for gap in gaps) < 1e-9


@pytest.mark.parametrize("name", PLAIN)
def test_a_space_smaller_than_the_budget_is_no_trap(name):
    (gap,) = bests(name, tiny_space(), 400, 1, **QUICK.get(name, {}))
    assert abs(gap) < 1e-9


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("space", ["nasbench201", "darts", "s1", "s3"])
def test_budgets_are_respected_and_two_runs_agree(name, space):
    space = get_space(space)
    evaluate, _ = additive(space)
    asked = []

    def costly(genotype):
        asked.append(genotype)
        return Evaluation(evaluate(genotype).score, 1.0 + len(asked) % 3)

    def run():
        asked.clear()
        rng = np.random.default_rng(5)
        budget, settings = Budget(cost=60.5), QUICK.get(name, {})
        trace = BASELINES[name](space, costly, budget, rng, **settings)
        assert all(is_valid(space, one.genotype) for one in trace.asked)
        return trace

    trace = run()
    # 30 cycles of costs 2, 3, 1: the 31st evaluation begins a cycle and oversteps.
    assert trace.cost == 60 == trace.costs[-1]
    assert len(trace.asked) == 30 == len(asked) - 1
    assert [one.genotype for one in trace.asked] == asked[:-1]
    scores = [one.score for one in trace.asked]
    assert trace.best.score == max(scores)
    assert run() == trace
    budget = Budget(evaluations=7)
    asked.clear()
    BASELINES[name](space, costly, budget, np.random.default_rng(0))
    assert len(asked) == 7


def test_a_baseline_of_ones_own_is_one_line(monkeypatch):
    @budgeted
    def best_neighbour(space, rng):
        genotype = sample_genotype(space, rng)
        while True:
            evaluation = yield genotype
            assert evaluation.cost == 1
            genotype = mutate(space, genotype, rng)

    monkeypatch.setitem(BASELINES, "mine", best_neighbour)
    assert len(bests("mine", get_space("s4"), 20, 2)) == 2


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda: Budget(), "without an end"),
        (lambda: Budget(cost=-1), "above 0"),
        (lambda: Budget(evaluations=0), "1 evaluation or more"),
        (lambda: Evaluation(float("nan")), "finite"),
        (lambda: Evaluation(1.0, 0.0), "above 0"),
        (
            lambda: look_up(BASELINES, "evolutoin", "baseline"),
            "did you mean 'evolution'",
        ),
        (lambda: improvement([1.0], [1.0, 2.0]), "2 or more"),
        (lambda: improvement([1.0, math.inf], [1.0, 2.0]), "finite"),
        (lambda: bests("evolution", tiny_space(), 5, 1, sample=0), "1 or more"),
        (lambda: bests("local_search", tiny_space(), 5, 1, initial=0), "1 or more"),
        (lambda: bests("reinforce", tiny_space(), 5, 1, momentum=1.0), "momentum"),
        (lambda: bests("predictor_search", tiny_space(), 5, 1, batch=0), "1 or more"),
        (
            lambda: BASELINES["random_search"](
                tiny_space(),
                lambda genotype: Evaluation(0.0, 5.0),
                Budget(cost=4),
                np.random.default_rng(0),
            ),
            "one evaluation costs 5, more than the budget of 4",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(broken, says):
    with pytest.raises(InputError, match=says) as told:
        broken()
    assert "\n" not in str(told.value)


def test_interval_by_closed_forms():
    """Equal sides: 2 (n - 1) degrees of freedom, quantiles in closed form for 2, 4."""
    p = 0.975
    two = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    got = improvement([1.0, 3.0], [0.0, 2.0])
    assert got.difference == 1
    # Variances 2 and 2, of two each: standard error sqrt(2).
    assert got.high - 1 == pytest.approx(two * math.sqrt(2), rel=1e-9)
    assert got.low == pytest.approx(2 - got.high, rel=1e-9)
    a = 4 * p * (1 - p)
    four = 2 * math.sqrt(math.cos(math.acos(math.sqrt(a)) / 3) / math.sqrt(a) - 1)
    got = improvement([1.0, 2.0, 3.0], [5.0, 6.0, 7.0])
    assert got.difference == -4
    assert got.high + 4 == pytest.approx(four * math.sqrt(2 / 3), rel=1e-9)
    assert got.high < 0
    assert improvement([2.0, 2.0], [1.0, 1.0]).low == 1


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(4000):
        got = improvement(rng.normal(1, 3, 5), rng.normal(0, 1, 12))
        covered.append(got.low <= 1 <= got.high)
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)


@pytest.mark.skipif(not TABLE.is_file(), reason="no NAS-Bench-201 table")
def test_nasbench201_as_published():
    """Dong and Yang (2020), table 5: test accuracy on CIFAR-10, 12,000 s."""
    known = load_table(TABLE)
    space = get_space("nasbench201")
    accuracy = known.column("cifar10", "valid", 12)
    seconds = known.columns["train_seconds_200_cifar10"] / 200 * 12.353

    def evaluate(genotype):
        row = known.row(genotype)
        return Evaluation(float(accuracy[row]), float(seconds[row]))

    tests = {}
    for name in ("random_search", "evolution", "local_search"):
        found = [
            BASELINES[name](
                space, evaluate, Budget(cost=12_000), np.random.default_rng(seed)
            ).best.genotype
            for seed in range(40)
        ]
        tests[name] = [known.accuracy(genotype) for genotype in found]
    for name, published in (("random_search", 93.70), ("evolution", 93.92)):
        error = np.std(tests[name], ddof=1) / math.sqrt(40)
        assert abs(np.mean(tests[name]) - published) < 2 * error
    assert improvement(tests["local_search"], tests["random_search"]).low > 0
