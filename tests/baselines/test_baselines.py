"""Baselines on objectives whose optimum is known, and the moves they are made of."""

import itertools
import math

import numpy as np
import pytest

from darts_jax.baselines import (
    BASELINES,
    Budget,
    Evaluation,
    budgeted,
    get_baseline,
    improvement,
)
from darts_jax.baselines.predictor import encode
from darts_jax.baselines.reinforce import _log_slope, _Policy
from darts_jax.errors import InputError
from darts_jax.nasbench import load_table
from darts_jax.spaces import SPACES, get_space
from darts_jax.spaces.graph import Cell, Genotype, Macro, Space, dense_edges
from darts_jax.spaces.moves import (
    genotype_key,
    list_neighbours,
    mutate,
    sample_genotype,
)
from tests.support.paths import SHARED

TABLE = SHARED / "data" / "nasbench201_table.npz"
QUICK = {
    "reinforce": {"learning_rate": 0.1},
    "predictor_search": {"batch": 20, "steps": 50},
}
SEARCHES = [name for name in BASELINES if name != "random_search"]


def places(genotype):
    """{(kind, target, source): operation} of what is kept."""
    return {
        (kind, c.target, c.source): c.operation
        for kind, cell in genotype.cells.items()
        for c in cell.choices
    }


def is_valid(space, genotype):
    """Checks by the space's own data: all edges, or one or two a node, never none."""
    kept = places(genotype)
    every = space.discretization == "argmax"
    few = 1 if space.discretization == "one_strongest" else 2
    for kind, cell in space.cells.items():
        known = {(e.source, e.target): e.operations for e in cell.edges}
        for target in range(cell.inputs, cell.states):
            into = {s: op for (k, t, s), op in kept.items() if (k, t) == (kind, target)}
            ends_here = sum(t == target for _, t in known)
            if len(into) != (ends_here if every else few):
                return False
            if not all(op in known[source, target] for source, op in into.items()):
                return False
            if not every and "none" in into.values():
                return False
    listed = sum(len(cell.choices) for cell in genotype.cells.values())
    return listed == len(kept) and genotype.space == space.name


def differences(one, other):
    """Counts decisions that differ: operations of edges that both keep, other edges."""
    a, b = places(one), places(other)
    return sum(a[p] != b[p] for p in a.keys() & b.keys()), len(a.keys() - b.keys())


def draws(name, count=20):
    space = get_space(name)
    rng = np.random.default_rng(0)
    return space, [sample_genotype(space, rng) for _ in range(count)]


@pytest.mark.parametrize("name", list(SPACES))
def test_neighbours_are_valid_distinct_and_differ_in_one_decision(name):
    space, drawn = draws(name)
    for genotype in drawn:
        assert is_valid(space, genotype)
        near = list_neighbours(space, genotype)
        assert len({genotype_key(g) for g in [genotype, *near]}) == len(near) + 1
        for other in near:
            assert is_valid(space, other)
            assert differences(genotype, other) in [(1, 0), (0, 1)]


@pytest.mark.parametrize("name", ["nasbench201", "darts", "s2"])
def test_neighbours_are_counted_by_hand(name):
    space, drawn = draws(name)
    # NAS-Bench-201: 6 edges, 4 other operations. DARTS: in each of two cells, 8 edges
    # with 6 other operations, and 0 + 2 x 1 + 2 x 2 + 2 x 3 other sources. S2: 1 other.
    wanted = {"nasbench201": 24, "darts": 2 * (48 + 12), "s2": 2 * (8 + 12)}[name]
    assert {len(list_neighbours(space, genotype)) for genotype in drawn} == {wanted}


def test_neighbours_are_mutual_where_all_edges_have_the_same_operations():
    space, (genotype, *_) = draws("darts")
    for other in list_neighbours(space, genotype):
        back = {genotype_key(g) for g in list_neighbours(space, other)}
        assert genotype_key(genotype) in back


@pytest.mark.parametrize("name", list(SPACES))
def test_mutations_are_neighbours_and_reach_all(name):
    space, (genotype, *_) = draws(name)
    rng = np.random.default_rng(1)
    near = {genotype_key(g) for g in list_neighbours(space, genotype)}
    found = {genotype_key(mutate(space, genotype, rng)) for _ in range(30 * len(near))}
    assert found == near


def test_mutation_takes_nodes_edges_and_kinds_of_change_alike():
    space, (genotype, *_) = draws("darts")
    rng = np.random.default_rng(2)
    changes = [differences(genotype, mutate(space, genotype, rng)) for _ in range(4000)]
    # The first node has no other source; of the other three half of the changes are.
    share = np.mean([sources for _, sources in changes])
    assert abs(share - 3 / 8) < 4 * math.sqrt(3 / 8 * 5 / 8 / 4000)
    space, (genotype, *_) = draws("nasbench201")
    before = places(genotype)
    moved = [places(mutate(space, genotype, rng)) for _ in range(4000)]
    share = np.mean([m["normal", 1, 0] != before["normal", 1, 0] for m in moved])
    assert abs(share - 1 / 3) < 4 * math.sqrt(1 / 3 * 2 / 3 / 4000)


def test_uniform_draws_are_uniform():
    space = tiny_space()
    rng = np.random.default_rng(0)
    counts = {}
    for _ in range(6000):
        drawn = genotype_key(sample_genotype(space, rng))
        counts[drawn] = counts.get(drawn, 0) + 1
    # Node 2: 2 x 2 operations. Node 3: 3 pairs of sources, 2 x 2 operations.
    assert len(counts) == 4 * 3 * 4
    expected = 6000 / 48
    statistic = sum((n - expected) ** 2 / expected for n in counts.values())
    assert statistic < 47 + 4 * math.sqrt(2 * 47)


def test_order_of_edges_is_no_decision():
    space = get_space("darts")
    rng = np.random.default_rng(0)
    genotype = sample_genotype(space, rng)
    turned = Genotype.from_json(genotype.to_json())
    for cell in turned.cells.values():
        object.__setattr__(cell, "choices", cell.choices[::-1])
    assert turned != genotype
    assert genotype_key(turned) == genotype_key(genotype)
    assert len(list_neighbours(space, turned)) == len(list_neighbours(space, genotype))


def test_moves_refuse_what_is_not_of_the_space():
    darts, bench = get_space("darts"), get_space("nasbench201")
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="its space wants"):
        list_neighbours(darts, sample_genotype(bench, rng))
    with pytest.raises(InputError, match="its space wants"):
        mutate(bench, sample_genotype(darts, rng), rng)
    strange = Space("strange", bench.cells, bench.macro, "few_skips")
    with pytest.raises(InputError, match="few_skips"):
        sample_genotype(strange, rng)
    cell = Cell(1, 1, dense_edges(1, 1, ("skip_connect",)), output=(1,))
    alone = Space("alone", {"normal": cell}, bench.macro, "argmax")
    with pytest.raises(InputError, match="no other"):
        mutate(alone, sample_genotype(alone, rng), rng)


def tiny_space():
    """48 genotypes, with edges to leave out."""
    cell = Cell(2, 2, dense_edges(2, 2, ("none", "skip_connect", "sep")), output=(2, 3))
    macro = Macro(lambda cells: ("normal",) * cells, (), 1, True, False)
    return Space("tiny", {"normal": cell}, macro, "two_strongest")


def additive(space, seed=0):
    """A worth for every operation of every edge, summed, and the best that there is."""
    rng = np.random.default_rng(seed)
    worth = {
        (kind, e.target, e.source, op): rng.normal()
        for kind, cell in space.cells.items()
        for e in cell.edges
        for op in e.operations
    }

    def evaluate(genotype):
        kept = places(genotype).items()
        return Evaluation(sum(worth[(*place, op)] for place, op in kept))

    best = 0.0
    for kind, cell in space.cells.items():
        for target in range(cell.inputs, cell.states):
            tops = [
                max(
                    worth[kind, target, e.source, op]
                    for op in e.operations
                    if op != "none" or space.discretization == "argmax"
                )
                for e in cell.edges
                if e.target == target
            ]
            kept = len(tops) if space.discretization == "argmax" else 2
            best += sum(sorted(tops)[-kept:])
    return evaluate, best


def bests(name, space, evaluations, repeats, **settings):
    found = []
    for seed in range(repeats):
        evaluate, best = additive(space, seed)
        rng = np.random.default_rng(seed)
        budget = Budget(evaluations=evaluations)
        trace = get_baseline(name)(space, evaluate, budget, rng, **settings)
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


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_space_smaller_than_the_budget_is_no_trap(name):
    (gap,) = bests(name, tiny_space(), 400, 1, **QUICK.get(name, {}))
    assert abs(gap) < 1e-9


@pytest.mark.parametrize("name", list(BASELINES))
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
        trace = get_baseline(name)(space, costly, budget, rng, **settings)
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
    get_baseline(name)(space, costly, budget, np.random.default_rng(0))
    assert len(asked) == 7


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


def test_encoding_tells_genotypes_apart():
    space, drawn = draws("darts", 40)
    features = encode(space, drawn)
    assert features.shape == (40, 2 * 14 * 7)
    assert (features.sum(1) == 16).all()
    alike = [differences(a, b) == (0, 0) for a in drawn for b in drawn]
    same = (features[:, None] == features).all(-1).ravel()
    assert same.tolist() == alike


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
        (lambda: get_baseline("evolutoin"), "did you mean 'evolution'"),
        (lambda: improvement([1.0], [1.0, 2.0]), "2 or more"),
        (lambda: improvement([1.0, math.inf], [1.0, 2.0]), "finite"),
        (lambda: bests("evolution", tiny_space(), 5, 1, sample=0), "1 or more"),
        (lambda: bests("local_search", tiny_space(), 5, 1, initial=0), "1 or more"),
        (lambda: bests("reinforce", tiny_space(), 5, 1, momentum=1.0), "momentum"),
        (lambda: bests("predictor_search", tiny_space(), 5, 1, members=1), "members"),
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
