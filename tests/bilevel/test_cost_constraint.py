"""Budgets: dual ascent, expected costs, and genotypes that meet a target."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.baselines.equal_cost import random_of_cost
from darts_jax.bilevel.architecture import ARCHITECTURE_UPDATES
from darts_jax.bilevel.cost_constraint import (
    BUDGET_RULES,
    choice_probabilities,
    hard_choices,
    next_multiplier,
    repair_genotype,
)
from darts_jax.bilevel.discretization import (
    DISCRETIZATIONS,
    one_hot,
    random_genotype,
    two_strongest,
    weight_reader,
)
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.cost.expected import (
    PRICES,
    ExpectedCost,
    Price,
    choice_sites,
    make_empty_network,
    make_expected_cost,
)
from darts_jax.cost.networks import network_cost
from darts_jax.cost.sites import Site
from darts_jax.cost.tables import CostTable
from darts_jax.errors import InputError
from darts_jax.models.network import Network
from darts_jax.spaces import get_space, moves
from darts_jax.spaces.mobile import BlockStage, block_names, mobile_space
from darts_jax.tasks.cost_limits import Limit, Pricing, budget_of_space
from tests.support import tiny
from tests.support.budgets import images, settings, small
from tests.support.killed import assert_same_end, search_with_and_without_a_kill
from tests.support.tiny import quick_jit, ragged_space


def chain(shares=(0.5, 1.0)):
    stages = [
        BlockStage(8, 1, 1, ("mb1_3x3",)),
        BlockStage(16, 2, 2, block_names((3, 6), (3,)), shares),
        BlockStage(24, 2, 1, block_names((3,), (3, 5), suffix="_se"), shares),
    ]
    return mobile_space("chain", stages, stem=8, features=16, stem_stride=1)


@pytest.mark.parametrize("rule", BUDGET_RULES)
def test_dual_ascent_finds_the_optimum_of_a_quadratic(rule):
    """min |x - c|^2 / 2 with sum(x) <= T: x = c - l / T, l = T (sum c - T) / 3."""
    centre, target, rate = jnp.array([3.0, 1.0, 2.0]), 3.0, 0.1

    def step(carry, _):
        x, multiplier = carry
        excess, slope = jax.value_and_grad(lambda x: x.sum() / target - 1)(x)
        weight = BUDGET_RULES[rule](multiplier, excess, rate)
        x = x - 0.1 * (x - centre + weight * slope)
        return (x, next_multiplier(multiplier, excess, rate)), None

    start = jnp.zeros(3), jnp.zeros(())
    (x, multiplier), _ = jax.lax.scan(step, start, length=4000)
    best = target * (6 - target) / 3
    np.testing.assert_allclose(multiplier, best, rtol=1e-3)
    np.testing.assert_allclose(x, np.array([3.0, 1.0, 2.0]) - best / target, atol=1e-3)


def test_a_budget_that_does_not_bind_costs_nothing():
    for rule in BUDGET_RULES.values():
        assert rule(jnp.zeros(()), jnp.asarray(-0.5), jnp.asarray(0.1)) == 0
    assert next_multiplier(jnp.asarray(0.01), jnp.asarray(-0.5), jnp.asarray(0.1)) == 0


@pytest.mark.parametrize("name", ["macs", "parameters"])
@pytest.mark.parametrize(
    ("space", "cells", "channels"),
    [
        (chain(), 1, 8),
        (ragged_space(), 2, 4),
        (get_space("s2"), 3, 4),
        (get_space("nasbench201"), 1, 4),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_genotypes_expected_cost_is_its_networks(space, cells, channels, name):
    blank = make_empty_network(space, 10, cells, channels)
    expected = make_expected_cost(space, blank, (12, 12, 3), PRICES[name])
    again = ExpectedCost.from_json(expected.to_json())
    rng = np.random.default_rng(0)
    for _ in range(3):
        genotype = random_genotype(space, rng)
        net = Network(genotype, space.macro, 10, cells, channels)
        whole = getattr(network_cost(net, (12, 12, 3)), name) / 1e6
        weights = one_hot(space, genotype).weights
        exact = {kind: w.astype(np.float64) for kind, w in weights.items()}
        assert expected(exact) == pytest.approx(whole, rel=1e-12)
        assert again(exact) == expected(exact)
        assert float(expected(jax.tree.map(jnp.asarray, weights))) == pytest.approx(
            whole, rel=1e-5
        )


def test_the_expected_cost_is_the_mean_over_independent_choices():
    space = chain()
    blank = make_empty_network(space, 10, 1, 8)
    expected = make_expected_cost(space, blank, (8, 8, 3), PRICES["macs"])
    rng = np.random.default_rng(1)
    weights = {}
    for kind, cell in space.cells.items():
        raw = rng.random(cell.shape) * np.array(cell.mask)
        weights[kind] = raw / raw.sum(-1, keepdims=True)
    places = [(k, e) for k, cell in space.cells.items() for e in range(len(cell.edges))]
    options = [range(len(space.cells[k].edges[e].operations)) for k, e in places]
    mean = 0.0
    for columns in itertools.product(*options):
        chosen = {k: np.zeros(cell.shape) for k, cell in space.cells.items()}
        probability = 1.0
        for (k, e), o in zip(places, columns, strict=True):
            chosen[k][e, o] = 1
            probability *= weights[k][e, o]
        mean += probability * expected(chosen)
    assert expected(weights) == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("space", [chain(), get_space("s3")], ids=lambda s: s.name)
@pytest.mark.parametrize("name", sorted(set(RELAXATIONS) - {"uniform_one_hot"}))
def test_the_multiplier_alone_brings_every_relaxation_to_its_target(name, space):
    relaxation = RELAXATIONS[name]
    expected = make_expected_cost(
        space, make_empty_network(space, 10, 3, 8), (8, 8, 3), PRICES["parameters"]
    )
    rng = np.random.default_rng(0)
    mask = {k: np.array(cell.mask) for k, cell in space.cells.items()}
    alpha = {k: rng.normal(size=m.shape).astype(np.float32) for k, m in mask.items()}
    if relaxation.simplex:
        # An operation of weight 0 is never learned: all begin with some.
        alpha = {k: np.exp(a) * mask[k] for k, a in alpha.items()}
        alpha = {k: a / a.sum(-1, keepdims=True) for k, a in alpha.items()}
    limit = Limit(space, expected, 1e-9, name)
    rule = DISCRETIZATIONS[space.discretization]
    dearest = rule(space, alpha, weight_reader(name))
    least = limit.cost(limit.fit(dearest, alpha))
    target = (least + limit.cost(dearest)) / 2
    budget = budget_of_space(space, name, BUDGET_RULES["augmented"], expected)
    update = "exponentiated_gradient" if relaxation.simplex else "sgd"
    search = Search(
        None,
        relaxation,
        None,
        mask,
        update=ARCHITECTURE_UPDATES[update],
        cost_constraint=budget,
    )
    state = search.init(jax.random.key_data(jax.random.key(0)), {}, {}, alpha)
    scalars = tiny.scalars({}, {"learning_rate": 0.5})
    scalars["budget"] = {"target": target, "rate": 0.1}

    @quick_jit
    def ascend(state):
        def step(state, key):
            pull, multiplier = search._constraint_gradient(budget, state, key, scalars)
            optimizer = search.update.transformation(scalars["architecture"])
            change, _ = optimizer.update(pull, state.alpha_optimizer, state.alpha)
            alpha = jax.tree.map(jnp.add, state.alpha, change)
            return state.replace(alpha=alpha, multiplier=multiplier), multiplier

        return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 300))

    last, multipliers = ascend(state)
    assert multipliers[0] > 0
    genotype = rule(space, jax.tree.map(np.asarray, last.alpha), weight_reader(name))
    assert limit.cost(genotype) <= 1.02 * target < limit.cost(dearest)


@pytest.mark.parametrize("name", ["ragged", "nasbench201"])
def test_what_is_kept_inside_a_program_is_what_the_rule_reads_off(name):
    space = ragged_space() if name == "ragged" else get_space(name)
    rng = np.random.default_rng(0)
    for _ in range(5):
        alpha = {k: rng.normal(size=cell.shape) for k, cell in space.cells.items()}
        genotype = DISCRETIZATIONS[space.discretization](space, alpha)
        for kind, cell in space.cells.items():
            mask = jnp.array(cell.mask)
            weights = jax.nn.softmax(jnp.where(mask, alpha[kind], -jnp.inf))
            kept = hard_choices(cell, weights, mask, moves.RULES[space.discretization])
            np.testing.assert_array_equal(kept, one_hot(space, genotype).weights[kind])


def test_kept_shares_add_up_to_what_a_genotype_keeps():
    cell = ragged_space().cells["normal"]
    weights = jnp.where(jnp.array(cell.mask), 1.0 / cell.shape[1], 0)
    mask = jnp.array(cell.mask)
    two = choice_probabilities(cell, weights, mask, moves.RULES["two_strongest"])
    ends = np.array([edge.target for edge in cell.edges])
    assert np.asarray(two.sum(-1))[ends == 2].sum() == pytest.approx(2)
    assert np.asarray(two.sum(-1))[ends == 3].sum() == pytest.approx(2)
    names = [edge.operations for edge in cell.edges]
    assert two[1, names[1].index("none")] == 0
    every = choice_probabilities(cell, weights, mask, moves.RULES["argmax"])
    np.testing.assert_allclose(every.sum(-1), 1, rtol=1e-6)
    assert every[1, names[1].index("none")] == 0.5


@pytest.mark.parametrize("name", ["chain", "s2", "nasbench201"])
def test_repaired_genotypes_meet_their_target(name):
    space = chain() if name == "chain" else get_space(name)
    blank = make_empty_network(space, 10, 1, 8)
    expected = make_expected_cost(space, blank, (8, 8, 3), PRICES["parameters"])
    rng = np.random.default_rng(0)
    alpha = {k: rng.normal(size=cell.shape) for k, cell in space.cells.items()}
    genotype = DISCRETIZATIONS[space.discretization](space, alpha)
    limit = Limit(space, expected, 0.0, "softmax")
    most = limit.cost(genotype)
    loose = dataclasses.replace(limit, target=most)
    assert loose.fit(genotype, alpha) == genotype
    impossible = dataclasses.replace(limit, target=1e-9)
    cheapest = impossible.fit(genotype, alpha)
    assert not impossible.is_met(cheapest)
    least = limit.cost(cheapest)
    neighbours = moves.list_neighbours(space, cheapest)
    assert all(limit.cost(other) >= least for other in neighbours)
    for share in (0.9, 0.3, 0.0):
        tight = dataclasses.replace(limit, target=least + share * (most - least))
        fitted = tight.fit(genotype, alpha)
        assert fitted != genotype
        assert tight.is_met(fitted)


def test_a_repair_loses_as_little_as_the_best_of_all_genotypes():
    """The chain has so few genotypes that all are listed."""
    space = chain(())
    expected = make_expected_cost(
        space, make_empty_network(space, 10, 1, 8), (8, 8, 3), PRICES["macs"]
    )
    limit = Limit(space, expected, 0.0, "softmax")
    every = {}
    queue = [random_genotype(space, np.random.default_rng(0))]
    while queue:
        genotype = queue.pop()
        if moves.genotype_key(genotype) not in every:
            every[moves.genotype_key(genotype)] = genotype
            queue += moves.list_neighbours(space, genotype)
    assert len(every) == 2 * 3 * 2 * 3
    costs = {key: limit.cost(genotype) for key, genotype in every.items()}
    rng, gaps = np.random.default_rng(0), []
    for _ in range(20):
        worths = {k: rng.normal(size=c.shape) for k, c in space.cells.items()}

        def worth(genotype, worths=worths):
            chosen = one_hot(space, genotype).weights
            return sum(float((worths[k] * chosen[k]).sum()) for k in chosen)

        best = max(every.values(), key=worth)
        target = rng.uniform(min(costs.values()), costs[moves.genotype_key(best)])
        met = [g for key, g in every.items() if costs[key] <= target]
        fitted = repair_genotype(space, best, worth, limit.cost, target)
        assert limit.cost(fitted) <= target
        gaps.append(max(map(worth, met)) - worth(fitted))
    assert np.mean(np.array(gaps) < 1e-9) >= 0.8


def test_a_table_prices_operations_and_nothing_else():
    space = chain(())
    blank = make_empty_network(space, 10, 1, 8)
    expected = make_expected_cost(space, blank, (8, 8, 3), PRICES["macs"])
    sites = {choice.site for choice in choice_sites(space, blank, (8, 8, 3))}
    assert Site("mb3_3x3", 8, 16, 2, 8, 8) in sites
    table = CostTable("ms", {}, dict.fromkeys(sites, 0.5))
    timed = make_expected_cost(
        space, blank, (8, 8, 3), Price("ms", table.look_up, lambda *layer: 0.0)
    )
    one = one_hot(space, random_genotype(space, np.random.default_rng(0))).weights
    assert timed(one) == pytest.approx(0.5 * 5)
    assert expected(one) > 0


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(darts_jax.SPACES, "small", small())
    return darts_jax.SPACES["small"]


@pytest.mark.slow
def test_a_search_meets_its_budget_in_a_population_too(registered, tmp_path, capsys):
    config = settings()
    config.search.budget.update(rule="dual_ascent", target=0.045, rate=0.5)
    data = images()
    found = darts_jax.search(config, tmp_path / "one", data)
    assert found.records[-1]["multiplier"] > 0
    costs = ExpectedCost.from_json((tmp_path / "one" / "costs.json").read_text())
    limit = Limit.from_config(config, costs)
    assert limit.is_met(found.genotype)
    net = Network(found.genotype, registered.macro, 3, 1, 8)
    assert network_cost(net, data.image_shape).macs / 1e6 <= 0.045
    many = darts_jax.population(
        config, {"search.budget.target": [0.045, 0.2]}, tmp_path / "two", data
    )
    first, second = many.members
    assert first.genotype == found.genotype
    # Who reads a population later needs no data, and is told nothing anew.
    capsys.readouterr()
    assert darts_jax.load_run(tmp_path / "two").members[0].genotype == first.genotype
    assert "budget" not in capsys.readouterr().err
    assert limit.cost(first.genotype) <= 0.045
    assert second.genotype != first.genotype
    for kind in registered.cells:
        np.testing.assert_array_equal(first.alpha[kind], found.alpha[kind])
    rival = darts_jax.select(tmp_path / "one", "argmax")
    assert rival == found.genotype


@pytest.mark.slow
def test_a_search_that_was_killed_ends_with_the_same_bits(
    registered, tmp_path, monkeypatch
):
    config = settings()
    config.search.budget.update(rule="augmented", target=0.04)
    whole, again = search_with_and_without_a_kill(
        config, tmp_path, images(), monkeypatch
    )
    assert_same_end(whole, again)
    last = whole.records[-1]["multiplier"]
    assert again.records[-1]["multiplier"] == last > 0


@pytest.mark.slow
def test_an_impossible_budget_is_told(registered, tmp_path, capsys):
    config = settings()
    config.search.budget.update(rule="augmented", target=1e-3)
    darts_jax.search(config, tmp_path / "run", images())
    assert "budget: not met" in capsys.readouterr().err


@pytest.mark.slow
def test_the_budget_holds_for_networks_of_one_size(registered, tmp_path):
    config = settings()
    config.search.budget.update(rule="augmented", target=0.1)
    darts_jax.search(config, tmp_path / "run", images())
    config.retrain.channels = 16
    with pytest.raises(InputError, match="other networks"):
        darts_jax.search(config, tmp_path / "run", images())


def test_random_genotypes_of_a_cost_come_near_it():
    space = chain()
    blank = make_empty_network(space, 10, 1, 8)
    expected = make_expected_cost(space, blank, (8, 8, 3), PRICES["macs"])
    limit = Limit(space, expected, 1.0, "softmax")
    rng = np.random.default_rng(0)
    costs = [limit.cost(random_genotype(space, rng)) for _ in range(20)]
    for cost in costs:
        other = random_of_cost(space, limit.cost, cost, rng)
        assert 0.95 * cost <= limit.cost(other) <= cost


def test_a_genotype_of_another_space_has_no_cost():
    space = chain()
    blank = make_empty_network(space, 10, 1, 8)
    expected = make_expected_cost(space, blank, (8, 8, 3), PRICES["macs"])
    with pytest.raises(InputError, match="choices that space 'chain' has not"):
        Pricing(space, expected).cost(darts_jax.get_genotype("DARTS_V2"))


def test_damaged_costs_are_refused():
    with pytest.raises(InputError, match="expected costs"):
        ExpectedCost.from_json(json.dumps({"unit": "ms"}))


def test_rules_that_keep_what_they_like_have_no_budget():
    with pytest.raises(InputError, match="threshold"):
        darts_jax.settings.config.with_overrides(
            darts_jax.default_config(),
            ["search.budget.rule=augmented", "search.discretization=threshold"],
        )


def test_two_strongest_is_what_budgets_of_darts_repair():
    space = get_space("s2")
    alpha = {k: np.zeros(cell.shape) for k, cell in space.cells.items()}
    assert moves.list_neighbours(space, two_strongest(space, alpha))
