"""Searches in a user's own network: every verb, the same bits after a kill."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import export as jax_export

import darts_jax
from darts_jax import Choice, ValueChoice
from darts_jax.cost.choice_latency import measure_choices
from darts_jax.cost.choices import choice_costs
from darts_jax.cost.latency import Measurement
from darts_jax.models.functional import count_parameters
from darts_jax.tasks.cost_limits import Pricing
from darts_jax.tasks.module.task import make_criterion
from darts_jax.tasks.registry import make_training
from darts_jax.training.directory import RunDirectory
from darts_jax.training.restore import restore_network
from tests.support.killed import assert_same_end, search_with_and_without_a_kill

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 96).astype(np.int32)
INPUTS = (RNG.normal(size=(96, 6)) + LABELS[:, None]).astype(np.float32)


class Net(nn.Module):
    """A table's network: a width, a layer that may be left out, a nested rate."""

    @nn.compact
    def __call__(self, x, train: bool):
        width = ValueChoice("width", (4, 8))
        x = width.mask(nn.relu(nn.Dense(width.size)(x)))

        def layer(x):
            x = nn.Dense(width.size)(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            rate = ValueChoice("rate", (0.0, 0.3))
            return rate(lambda r: nn.Dropout(r, deterministic=not train)(x))

        options = {"skip_connect": lambda x: x, "layer": layer, "tanh": jnp.tanh}
        x = width.mask(Choice("middle", options)(x))
        last = ValueChoice("last", (2, 6))
        return nn.Dense(3)(last.mask(nn.relu(nn.Dense(last.size)(x))))


def cross_entropy(logits, labels):
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean()


@pytest.fixture
def problem():
    yield darts_jax.make_problem(
        Net(),
        data=(INPUTS[:64], LABELS[:64]),
        test=(INPUTS[64:], LABELS[64:]),
        loss=cross_entropy,
        metric="accuracy",
        name="own",
    )
    del darts_jax.SPACES["own"]


SMALL = (
    *("search.epochs=2", "search.batch_size=16", "retrain.epochs=2"),
    *("retrain.batch_size=16", "baseline.random_genotypes=0"),
)


def test_search_takes_the_module_itself(tmp_path, problem):
    """A call alone, with arrays, a loss and an optimizer of one's own."""
    # Optax's Adam mixes types, which all other tests refuse.
    with jax.numpy_dtype_promotion("standard"):
        found = darts_jax.search(
            Net(),
            tmp_path / "run",
            data=(INPUTS, LABELS),
            loss=cross_entropy,
            optimizer=optax.adam(1e-2),
            settings=["search.epochs=1", "search.batch_size=16"],
            name="own",
        )
    assert list(darts_jax.SPACES["own"].cells) == ["width", "middle", "rate", "last"]
    assert found.config.task == "module"
    assert "held_out_loss" in found.history
    text = (tmp_path / "run" / "genotype.json").read_text()
    assert '"middle": "' in text
    # Elsewhere, where nobody knows the module.
    del darts_jax.SPACES["own"]
    page = darts_jax.report(tmp_path / "run").read_text()
    for told in ("Did it beat random choices?", "Did it decide?", "if middle = layer"):
        assert told in page
    assert "darts_jax.search(config" in page
    assert darts_jax.load_run(tmp_path / "run").genotype == found.genotype


@pytest.mark.slow
def test_retrained_beside_random_choices_and_evaluated(tmp_path, problem):
    config = problem.config(*SMALL, "baseline.random_genotypes=1")
    found = darts_jax.search(config, tmp_path, problem)
    result = darts_jax.retrain(config, tmp_path, dataset=problem)
    assert [one.name for one in result.networks] == ["retrain", "random_0"]
    score = darts_jax.evaluate(config, tmp_path, problem)
    assert score == pytest.approx(result.networks[0].score)
    net = problem.network.decide(found.genotype)
    params = jax.eval_shape(lambda: net.init(jax.random.key(0), INPUTS, train=False))
    assert result.networks[0].parameters == count_parameters(params["params"])


def test_exported_as_it_is_evaluated(tmp_path, problem):
    """The file alone gives the outputs of the trained module, for any batch."""
    choices = {"width": 4, "middle": "layer", "rate": 0.3, "last": 6}
    genotype = problem.network.genotype(choices)
    config = problem.config(*SMALL, "retrain.epochs=1")
    darts_jax.retrain(config, tmp_path / "run", genotype, problem)
    with pytest.raises(darts_jax.InputError, match=r"want darts_jax\.export\(run, out"):
        darts_jax.export(tmp_path / "run", tmp_path / "out")
    files = darts_jax.export(tmp_path / "run", tmp_path / "out", dataset=problem)
    assert all(path.exists() for path in files)
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["input"] == {"shape": ["batch", 6], "dtype": "float32"}
    model = (tmp_path / "out" / "model.jax_export").read_bytes()
    called = jax.jit(jax_export.deserialize(bytearray(model)).call)
    job = make_training(config, problem, genotype)
    params, stats = restore_network(RunDirectory(tmp_path / "run"), job).tested
    net = darts_jax.decide(Net(), choices)
    wanted = net.apply({"params": params, **stats}, INPUTS[64:], train=False)
    for rows in (slice(64, 67), slice(64, 96)):
        np.testing.assert_allclose(
            called(INPUTS[rows]), wanted[: rows.stop - 64], rtol=1e-5, atol=1e-6
        )
    right = np.mean(np.argmax(wanted, -1) == LABELS[64:])
    assert card["score"]["test"] == pytest.approx(100 * right)


class Keeps(nn.Module):
    """A choice whose options keep the shape of their input."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Dense(8)(x)
        dense = {"dense": lambda x: nn.relu(nn.Dense(x.shape[-1])(x))}
        return nn.Dense(3)(Choice("middle", dense | {"tanh": jnp.tanh})(x))


@pytest.mark.slow
def test_partial_channels_of_a_search(tmp_path, problem):
    """PC-DARTS, whole, in a network of one's own; refused where options are wider."""
    with pytest.raises(darts_jax.InputError, match="option 'layer' gives"):
        darts_jax.search(
            problem.config(*SMALL, "supernet.partial_channels=2"),
            tmp_path / "refused",
            problem,
        )
    assert not (tmp_path / "refused").exists()
    keeps = darts_jax.make_problem(
        Keeps(), data=(INPUTS, LABELS), loss=cross_entropy, name="own"
    )
    config = darts_jax.apply_method(keeps.config(*SMALL), "pc_darts")
    found = darts_jax.search(config, tmp_path / "run", keeps)
    assert found.config.supernet.partial_channels == 4
    assert len(darts_jax.retrain(config, tmp_path / "run", dataset=keeps).networks) == 1


@pytest.mark.slow
def test_a_killed_search_ends_with_the_same_bits(tmp_path, problem, monkeypatch):
    config = problem.config(*SMALL, "search.hypergradient=exact")
    whole, again = search_with_and_without_a_kill(
        config, tmp_path, problem, monkeypatch
    )
    assert_same_end(whole, again)
    other = darts_jax.make_problem(
        Net(), data=(INPUTS + 1, LABELS), loss=cross_entropy, name="own"
    )
    with pytest.raises(darts_jax.InputError, match="run on other data"):
        darts_jax.search(config, tmp_path / "whole", other)


def test_costs_are_exact_for_every_network(problem):
    """The polynomial gives the counted parameters of all networks, to the last one."""
    network = problem.network
    for costs in ("parameters", "macs"):
        pricing = Pricing(network.space, choice_costs(network, costs))
        for options in itertools.product(*(d.options for d in network.decisions)):
            names = [d.name for d in network.decisions]
            choices = dict(zip(names, options, strict=True))
            width, last = int(choices["width"]), int(choices["last"])
            middle = choices["middle"] == "layer"
            products = 6 * width + width * last + last * 3 + middle * width**2
            biases = width + last + 3 + middle * 3 * width
            wanted = products + (biases if costs == "parameters" else 0)
            found = pricing.cost(network.genotype(choices)) * 1e6
            assert found == pytest.approx(wanted, rel=1e-9), choices


@pytest.mark.slow  # Six networks are compiled.
def test_measured_costs_add_up_over_what_is_asked_for(tmp_path, problem):
    """A table of latencies is the cost of every network; its times are of networks."""
    network, path = problem.network, tmp_path / "table.json"
    ticks = itertools.count()
    how = Measurement(warmups=0, runs=1, clock=lambda: next(ticks) ** 2 / 1e3)
    table = measure_choices(network, path, how)
    # The n-th network takes from tick 2n to 2n + 1.
    times = iter([4 * n + 1 for n in range(20)])
    first = next(times)
    assert table.fixed == pytest.approx(first)
    for name, count in (("width", 1), ("middle", 2)):
        found = list(table.costs[name].values())
        wanted = [next(times) - first for _ in range(count)]
        assert found == pytest.approx([0, *wanted])
    pricing = Pricing(network.space, choice_costs(network, str(path)))
    assert pricing.expected.unit == "ms"
    for options in itertools.product(*(d.options for d in network.decisions)):
        names = [d.name for d in network.decisions]
        choices = dict(zip(names, options, strict=True))
        asked = [name for name in names if name != "rate" or "layer" in options]
        wanted = table.fixed + sum(table.costs[n][choices[n]] for n in asked)
        assert pricing.cost(network.genotype(choices)) == pytest.approx(wanted)
    path.write_text(path.read_text().replace('"tanh"', '"relu"'))
    with pytest.raises(darts_jax.InputError, match="lacks the options of choice 'mid"):
        choice_costs(network, str(path))
    with pytest.raises(darts_jax.InputError, match="there is no none"):
        choice_costs(network, "none.json")


def test_a_budget_holds(tmp_path, problem):
    target = 80e-6
    config = problem.config(
        *SMALL,
        "search.budget.rule=dual_ascent",
        f"search.budget.target={target}",
        "search.costs=parameters",
    )
    found = darts_jax.search(config, tmp_path, problem)
    pricing = Pricing(
        problem.network.space, choice_costs(problem.network, "parameters")
    )
    assert pricing.cost(found.genotype) <= target
    largest = {"width": 8, "middle": "layer", "rate": 0.0, "last": 6}
    assert pricing.cost(problem.network.genotype(largest)) > target


def test_selection_by_perturbation(tmp_path, problem):
    config = problem.config(*SMALL, "search.discretization=perturbation")
    found = darts_jax.search(config, tmp_path, problem)
    assert set(problem.network.named(found.genotype)) == set(found.alpha)
    chosen = darts_jax.select(tmp_path, "argmax", dataset=problem)
    assert chosen.space == "own"


@pytest.mark.slow
def test_a_population_and_an_ablation(tmp_path, problem):
    config = problem.config(*SMALL, "search.epochs=1")
    grid = {"seed": [0, 1]}
    result = darts_jax.population(config, grid, tmp_path / "population", problem)
    assert len(result.members) == 2
    alone = darts_jax.search(config, tmp_path / "alone", problem)
    for kind, alpha in alone.alpha.items():
        np.testing.assert_allclose(
            result.members[0].alpha[kind], alpha, rtol=1e-4, atol=1e-6
        )
    grid = {"search.relaxation": ["softmax", "gumbel_softmax"]}
    table = darts_jax.ablate(config, grid, [0], tmp_path / "grid", problem)
    assert len(table.table) == 2


@pytest.mark.parametrize("method", ["softmax", "hard_gumbel", "two_path"])
def test_a_relaxation_steps(problem, method):
    network = problem.network
    search = darts_jax.Search(
        apply=network.apply,
        relaxation=darts_jax.RELAXATIONS[method],
        hypergradient=darts_jax.HYPERGRADIENTS["first_order"],
        mask=network.mask,
        criterion=make_criterion(problem),
    )
    key = jax.random.key(0)
    params, stats = network.init(key)
    alpha = jax.tree.map(lambda a: a + 0.5, network.alpha())
    state = search.init(jax.random.key_data(key), params, stats, alpha)
    scalars = darts_jax.search_scalars(darts_jax.default_config().search, 0)
    batch = (INPUTS[:16], LABELS[:16])
    new, sums = jax.jit(search.step)(state, batch, batch, scalars)
    assert np.isfinite(float(sums["loss"]))
    moved = optax.tree.norm(optax.tree.sub(new.alpha, state.alpha))
    assert float(moved) > 0
