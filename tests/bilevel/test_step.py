"""Choices of a method, each against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax.bilevel.discretization import keep_strongest, one_hot, softmax_weights
from darts_jax.bilevel.hypergradient import first_order
from darts_jax.bilevel.regime import REGIMES
from darts_jax.bilevel.regularization import TERMS
from darts_jax.bilevel.relaxation import RELAXATIONS, relax
from darts_jax.bilevel.selection import TrainedSupernet, best_sampled, perturbation
from darts_jax.bilevel.step import Search
from darts_jax.cost.networks import operation_parameters
from darts_jax.cost.sites import operation_costs
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    count_parameters,
    initialize,
    initialize_supernet,
    supernet_apply,
)
from darts_jax.models.mixed_operation import EdgeSettings, MixedOperation
from darts_jax.models.network import Network
from darts_jax.models.operations.corruption import CORRUPTIONS
from darts_jax.models.operations.image import get_operation
from darts_jax.models.supernet import Supernet
from darts_jax.settings.schedules import Schedule
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.types import Mixture
from tests.support.supernets import KEY, SCALARS, examples, masks, random_alpha, to64
from tests.support.tiny import quick_jit, tiny_genotype, tiny_space

SPACE = tiny_space(("skip_connect", "nor_conv_3x3"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3", [3, 3, 3]),
        ("1:0", [1, 0.5, 0.25]),
        ("10:0.1:cosine", [10, 0.1 + 9.9 / 2, 0.1 + 9.9 * (1 - 2**-0.5) / 2]),
        ("4:1:exponential", [4, 2, 2**0.5]),
    ],
)
def test_schedules(text, values):
    schedule = Schedule.parse(text)
    got = [schedule.at(epoch, 4) for epoch in (0, 2, 3)]
    np.testing.assert_allclose(got, values, rtol=1e-12)


@pytest.mark.parametrize("text", ["", "a", "1:2:3", "1:0:exponential", "1:nan"])
def test_what_is_no_schedule_is_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"schedule '[^\n]*'; "):
        Schedule.parse(text)


def test_regimes_are_their_sums():
    def loss(slope):
        return lambda w, a: slope * jnp.sum(w * a**2)

    w = jnp.asarray([1.0, 2.0])
    a = jnp.asarray([3.0, -1.0])
    slopes = {"split": 5.0, "single_level": 2.0, "mixed": 2.0 + 0.5 * 5.0}
    for name, slope in slopes.items():
        objective = REGIMES[name](loss(2.0), loss(5.0), 0.5)
        got = jax.grad(objective, argnums=1)(w, a)
        np.testing.assert_allclose(got, slope * 2 * w * a, rtol=1e-6)
    assert REGIMES.keys() == slopes.keys()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_has_its_mean_and_spread(name):
    output = jnp.asarray(np.random.default_rng(0).normal(1, 2, (4000, 2, 2, 3)))
    rate = jnp.asarray(0.3)
    change = np.asarray(CORRUPTIONS[name](KEY, output, rate) - output)
    # Of output * keep / (1 - rate) - output; of noise beside the output's own spread.
    spread = {"gaussian": 0.3 * 2}.get(name, np.sqrt(0.3 / 0.7 * np.mean(output**2)))
    assert abs(change.mean()) < 0.05
    np.testing.assert_allclose(change.std(), spread, rtol=0.05)
    gone = np.isclose(change, -output)
    whole = gone.reshape(4000, -1).all(-1) | ~gone.reshape(4000, -1).any(-1)
    assert whole.all() == (name != "dropout")
    np.testing.assert_array_equal(
        CORRUPTIONS[name](KEY, output, jnp.asarray(0.0)), output
    )


@pytest.mark.parametrize("execution", ["scan", "batch"])
def test_only_the_outputs_of_chosen_operations_are_corrupted(execution):
    corruptions = (("skip_connect", CORRUPTIONS["gaussian"]),)
    plain = Supernet(SPACE, 3, 2, 4, execution=execution)
    noisy = plain.clone(corruptions=corruptions)
    params, stats = initialize_supernet(plain, KEY, (8, 8, 2))
    images = examples(batch=4).images

    def logits(net, column, strength, train=True):
        weights = np.zeros(SPACE.cells["normal"].shape, np.float32)
        weights[:, column] = 1
        mixture = Mixture({"normal": weights}, strength=np.float32(strength))
        apply = supernet_apply(net)
        return quick_jit(lambda m: apply(params, stats, m, images, KEY, train=train))(
            mixture
        )[0]

    np.testing.assert_array_equal(logits(noisy, 1, 0.5), logits(plain, 1, 0.0))
    np.testing.assert_array_equal(logits(noisy, 0, 0.0), logits(plain, 0, 0.0))
    clean = logits(plain, 0, 0.0, train=False)
    np.testing.assert_array_equal(logits(noisy, 0, 0.5, train=False), clean)
    assert np.abs(logits(noisy, 0, 0.5) - logits(plain, 0, 0.0)).max() > 1e-3


@pytest.mark.parametrize("execution", ["scan", "batch"])
def test_every_edge_and_image_is_dropped_by_a_draw_of_its_own(execution):
    """Skips alone lead to the state, by two ways: one edge, and two."""
    corruptions = (("skip_connect", CORRUPTIONS["drop_path"]),)
    net = Supernet(SPACE, 3, 1, 4, execution=execution, corruptions=corruptions)
    params, stats = initialize_supernet(net, KEY, (8, 8, 2))
    images = np.repeat(examples(batch=1).images, 2000, axis=0)

    @quick_jit
    def logits(weight, strength):
        weights = jnp.zeros(SPACE.cells["normal"].shape).at[:, 0].set(weight)
        mixture = Mixture({"normal": weights}, strength=strength)
        apply = supernet_apply(net)
        return apply(params, stats, mixture, images, KEY, train=True)[0]

    nothing = logits(0.0, 0.0)
    whole = logits(1.0, 0.0)
    dropped = logits(1.0, 0.5)
    # How often an image's state has come through, but for the last BN's scale.
    times = (dropped - nothing) @ (whole - nothing)[0]
    times = np.asarray(times / times[times > times.max() / 10].min())
    np.testing.assert_allclose(times, np.round(times), atol=1e-3)
    found = [np.mean(np.round(times) == n) for n in range(4)]
    # Neither way open, one edge alone, two edges alone (each doubles), or all three.
    np.testing.assert_allclose(found, [3 / 8, 3 / 8, 1 / 8, 1 / 8], atol=0.04)


@pytest.mark.parametrize("name", ["drop_path", "dropout"])
def test_a_path_is_dropped_with_all_operations_of_its_edge(name):
    """The search of R-DARTS drops what an edge gives as a whole, its skip included."""
    names = ("skip_connect", "max_pool_3x3")
    corrupt = CORRUPTIONS[name]
    settings = EdgeSettings(
        3,
        1,
        tuple((op, get_operation(op)) for op in names),
        train=True,
        corruptions=tuple((op, corrupt) for op in names),
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(200, 4, 4, 3)))
    stacks = {op: op for op in names}
    variables = {op: settings.module(op, 1).init(KEY, x, True) for op in names}
    operation = MixedOperation(settings, stacks, 1, strength=jnp.asarray(0.5))
    shared, _ = operation.shared(variables, KEY, x)
    mixed = operation.whole(None, jnp.asarray([0.4, 0.6]), KEY, x, shared)
    plain = 0.4 * shared["skip_connect"] + 0.6 * shared["max_pool_3x3"]
    times = np.asarray(mixed / plain)
    as_one = np.isclose(times, 0, atol=1e-5) | np.isclose(times, 2, atol=1e-3)
    assert as_one.all() == (name == "drop_path")


def test_weights_and_terms_may_have_mixtures_of_their_own():
    """The weights of ProxylessNAS train on one path of all, drawn by softmax."""
    two = RELAXATIONS["two_path"]
    hard = RELAXATIONS["hard_gumbel"]
    search, state = make(relaxation=two)
    keys = jax.random.split(KEY, 300)
    alpha = {"normal": jnp.asarray([[1.0, 0.0]] * 3)}

    def drawn(key):
        moved = state.replace(alpha=alpha)
        return search._perturbed_mixture(moved, None, SCALARS, key, key).weights[
            "normal"
        ]

    share = np.asarray(jax.vmap(drawn)(keys)[..., 0]).mean()
    assert abs(share - 1 / (1 + np.exp(-1))) < 4 * 0.5 / 900**0.5
    assert hard.function is two.weight_relaxation


@pytest.mark.parametrize("name", [n for n, r in RELAXATIONS.items() if r.policy])
def test_an_equal_price_of_all_operations_has_no_slope(name):
    """Whatever is drawn: all prices are known, also of what does not run."""
    search, state = make(
        relaxation=RELAXATIONS[name],
        terms={"expected_cost": TERMS["expected_cost"]},
        costs={"normal": np.ones((3, 2))},
    )
    scalars = SCALARS | {"terms": {"expected_cost": 1.0}}

    def cost(alpha, key):
        return search._weighted_penalties(alpha, state, key, scalars)

    keys = jax.random.split(KEY, 20)
    slopes = jax.vmap(jax.grad(cost), (None, 0))(state.alpha, keys)["normal"]
    np.testing.assert_allclose(slopes, 0, atol=1e-6)


@pytest.mark.parametrize("execution", ["scan", "batch"])
def test_sampling_computes_what_the_whole_supernet_does(execution):
    """Output, and slopes by weights and alpha, with the drawn operation alone."""
    with jax.enable_x64(True):
        plain = Supernet(SPACE, 3, 2, 4, execution=execution)
        params, stats = to64(initialize_supernet(plain, KEY, (8, 8, 2)))
        alpha, batch = random_alpha(SPACE), examples(batch=4)
        relaxation = RELAXATIONS["sampled_gumbel"]
        assert relaxation.sampled

        def loss(net, params, alpha):
            mixture = relax(relaxation.function, KEY, alpha, masks(SPACE))
            apply = supernet_apply(net)
            logits, _ = apply(params, stats, mixture, batch.images, KEY, train=True)
            return jnp.sum(jnp.sin(logits))

        nets = plain, plain.clone(sampled=True)
        got = [
            quick_jit(jax.value_and_grad(lambda *x, n=net: loss(n, *x), (0, 1)))(
                params, alpha
            )
            for net in nets
        ]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), *got
        )
        assert np.abs(got[0][1][1]["normal"]).max() > 1e-6


def make(**slots):
    net = Supernet(SPACE, 3, 2, 4)
    params, stats = initialize_supernet(net, KEY, (8, 8, 2))
    rest = {"relaxation": RELAXATIONS["softmax"], "hypergradient": first_order} | slots
    search = Search(supernet_apply(net), mask=masks(SPACE), **rest)
    alpha = jax.tree.map(lambda a: a.astype(jnp.float32), random_alpha(SPACE))
    return search, search.init(jax.random.key_data(KEY), params, stats, alpha)


def step(search, state, **changes):
    batch = examples(batch=4)
    batch = batch.replace(images=batch.images.astype(jnp.float32))
    return quick_jit(search.step)(state, batch, batch, SCALARS | changes)


def test_an_auxiliary_skip_joins_the_skip():
    weight = np.array([1.0, 0.0], np.float32)
    search, state = make(skips={"normal": np.tile(weight, (3, 1))})
    scalars = SCALARS | {"auxiliary_skip": 0.7}
    got = search.mixture(KEY, state.alpha, state.mask, scalars).weights["normal"]
    plain = jax.nn.softmax(state.alpha["normal"])
    np.testing.assert_allclose(got, plain + 0.7 * weight, rtol=1e-6)


def test_an_architecture_at_rest_stays_and_the_weights_move():
    search, state = make(freezes_architecture=True)
    still = SCALARS["architecture"] | {"learns": 0.0}
    new, metrics = step(search, state, architecture=still)
    for old, now in ((state.alpha, new.alpha), (*_adams(state, new),)):
        jax.tree.map(np.testing.assert_array_equal, old, now)
    moved = optax.tree.norm(optax.tree.sub(new.params, state.params))
    assert float(moved) > 1e-4
    assert float(metrics["gradient_norm"]) == 0
    again, metrics = step(search, state)
    assert not np.array_equal(again.alpha["normal"], state.alpha["normal"])
    assert float(metrics["gradient_norm"]) > 0


def _adams(*states):
    return [state.alpha_optimizer for state in states]


def test_pruned_operations_weigh_nothing_and_keep_their_weights():
    search, state = make()
    mask = {"normal": np.array([[True, False], [True, True], [False, True]])}
    state = state.replace(mask=jax.tree.map(jnp.asarray, mask))
    mixture = search.mixture(KEY, state.alpha, state.mask, SCALARS).weights["normal"]
    assert (np.asarray(mixture)[~mask["normal"]] == 0).all()
    np.testing.assert_allclose(mixture.sum(-1), 1, rtol=1e-6)
    no_decay = SCALARS["weights"] | {"decay": 0.0}
    new, _ = step(search, state, weights=no_decay)
    kernels = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            optax.tree.sub(new.params, state.params)
        )
        if "nor_conv_3x3" in jax.tree_util.keystr(path) and leaf.ndim > 3
    ]
    # Axes: cell, edge in the order (source, target). Edge 0 is pruned to its skip.
    assert kernels
    for change in kernels:
        assert float(jnp.abs(change[:, 0]).max()) == 0
        assert float(jnp.abs(change[:, 1:]).max()) > 0


def test_operations_kept_by_a_stage_are_the_strongest():
    cell = SPACE.cells["normal"]
    weights = softmax_weights(cell, np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]]))
    kept = keep_strongest(cell, weights, 1)
    np.testing.assert_array_equal(kept, [[False, True], [True, False], [True, False]])
    assert keep_strongest(cell, weights, 5).all()


def test_a_one_hot_mixture_says_what_the_genotype_keeps():
    space = tiny_space()
    got = one_hot(space, tiny_genotype()).weights["normal"]
    want = {(0, 1): "nor_conv_3x3", (0, 2): "max_pool_3x3", (1, 2): "skip_connect"}
    for e, edge in enumerate(space.cells["normal"].edges):
        chosen = edge.operations[int(got[e].argmax())]
        assert chosen == want[edge.source, edge.target]
    assert got.sum() == 3


def additive(worth):
    """A supernet whose accuracy is the sum of what its mixture weighs."""
    cell = SPACE.cells["normal"]

    def mixture(mask):
        share = mask["normal"] / mask["normal"].sum(-1, keepdims=True)
        return Mixture({"normal": share.astype(float)})

    tuned = []
    trained = TrainedSupernet(
        alpha={"normal": np.zeros(cell.shape)},
        mask={"normal": np.ones(cell.shape, bool)},
        mixture=mixture,
        score=lambda m: float((m.weights["normal"] * worth).sum()),
        tune=lambda mask: tuned.append(mask["normal"].sum()),
    )
    return trained, tuned


def test_perturbation_keeps_what_hurts_most_to_lose():
    worth = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.31]])
    trained, tuned = additive(worth)
    found = perturbation(SPACE, trained, np.random.default_rng(0))
    cell = SPACE.cells["normal"]
    chosen = {(c.source, c.target): c.operation for c in found.cells["normal"].choices}
    for e, edge in enumerate(cell.edges):
        best = edge.operations[int(worth[e].argmax())]
        assert chosen[edge.source, edge.target] == best
    assert tuned == [5, 4]  # between two decisions, with one operation less


def test_the_best_sample_is_the_best():
    worth = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.31]])
    trained, _ = additive(worth)
    found = best_sampled(SPACE, trained, np.random.default_rng(0), samples=200)
    assert (one_hot(SPACE, found).weights["normal"] * worth).sum() == worth.max(
        -1
    ).sum()


def test_costs_are_the_parameters_that_a_choice_adds():
    net = Supernet(SPACE, 3, 2, 4)
    costs = operation_costs(net, (8, 8), operation_parameters)["normal"] / 1e6

    def parameters(operations):
        edges = SPACE.cells["normal"].edges
        choices = tuple(
            KeptEdge(e.target, e.source, op)
            for e, op in zip(edges, operations, strict=True)
        )
        genotype = Genotype("tiny", {"normal": CellGenotype(1, choices, (2,))})
        network = Network(genotype, SPACE.macro, 3, 2, 4, False, auxiliary=False)
        made = initialize(network, KEY, jnp.zeros((2, 8, 8, 2)), jnp.zeros(()))
        return count_parameters(made.params)

    skips = parameters(["skip_connect"] * 3)
    one = parameters(["nor_conv_3x3", "skip_connect", "skip_connect"])
    np.testing.assert_allclose(costs, [[0, (one - skips) / 1e6]] * 3, rtol=1e-9)
