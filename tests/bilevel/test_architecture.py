"""Updates of the architecture against their formulas and enumerated expectations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.architecture import (
    ARCHITECTURE_UPDATES,
    LEAST_WEIGHT,
    exponentiated_gradient,
    next_baseline,
    reinforce_gradient,
    uniform_simplex,
)
from darts_jax.bilevel.relaxation import edge_simplex
from darts_jax.settings.config import default_config
from darts_jax.settings.scalars import search_scalars
from darts_jax.types import Mixture

MASK = {"cell": np.array([[True, True, True], [True, False, True]])}
RNG = np.random.default_rng(0)
GRADIENT = RNG.normal(size=(2, 3))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def simplex():
    weights = RNG.dirichlet(np.ones(3), 2) * MASK["cell"]
    return weights / weights.sum(-1, keepdims=True)


def stepped(weights, gradient, rate):
    update = exponentiated_gradient(learning_rate=rate)
    alpha = {"cell": jnp.asarray(weights)}
    change, _ = update.update(
        {"cell": jnp.asarray(gradient)}, update.init(alpha), alpha
    )
    return optax.apply_updates(alpha, change)["cell"]


def test_exponentiated_gradient_is_its_formula():
    weights = simplex()
    want = weights * np.exp(-0.7 * GRADIENT)
    want /= want.sum(-1, keepdims=True)
    got = jax.jit(stepped)(weights, GRADIENT, jnp.asarray(0.7))
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert got[1, 1] == 0
    np.testing.assert_allclose(got.sum(-1), 1, rtol=1e-12)


def test_exponentiated_gradient_is_mirror_descent():
    """It minimizes rate <g, q> + KL(q | p) over each edge's simplex."""
    weights, rate = simplex()[:1], 0.7
    got = np.asarray(stepped(weights, GRADIENT[:1], rate))

    def objective(q):
        return rate * (GRADIENT[:1] * q).sum() + (q * np.log(q / weights)).sum()

    lowest = objective(got)
    closed_form = -np.log((weights * np.exp(-rate * GRADIENT[:1])).sum())
    assert lowest == pytest.approx(closed_form, rel=1e-10)
    for other in RNG.dirichlet(np.ones(3), 50):
        assert objective(other[None]) > lowest


def test_shares_of_edges_are_exponentiated_by_node():
    """The released code of GAEA, on shares that enter the network as they are."""
    targets = {"cell": (2, 2, 3, 3, 3)}
    rng = np.random.default_rng(1)
    mask = {"cell": np.ones((5, 3), bool)}
    alpha = uniform_simplex(mask, targets)
    shares = np.array([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(alpha["cell.edges"], shares, rtol=1e-6)
    weights = np.full((5, 3), 1 / 3)
    ends = np.array(targets["cell"])
    np.testing.assert_allclose(alpha["cell"], weights, rtol=1e-6)
    alpha = {"cell": jnp.asarray(weights), "cell.edges": jnp.asarray(shares)}
    bends = jnp.asarray(rng.normal(size=(5, 3)))

    def loss(weights, edges):
        return jnp.sum(jnp.tanh(edges[:, None] * weights * bends) * bends)

    def through_network(alpha):
        shares = edge_simplex(alpha["cell.edges"], targets["cell"])
        return loss(alpha["cell"], shares)

    update = exponentiated_gradient(learning_rate=0.7, targets=targets)
    for _ in range(3):
        slopes = jax.grad(loss, (0, 1))(jnp.asarray(weights), jnp.asarray(shares))
        weights = weights * np.exp(-0.7 * slopes[0])
        weights /= weights.sum(-1, keepdims=True)
        shares = shares * np.exp(-0.7 * slopes[1])
        shares /= (ends[:, None] == ends) @ shares
        change, _ = update.update(jax.grad(through_network)(alpha), (), alpha)
        alpha = optax.apply_updates(alpha, change)
    np.testing.assert_allclose(alpha["cell"], weights, rtol=1e-10)
    np.testing.assert_allclose(alpha["cell.edges"], shares, rtol=1e-10)
    assert np.ptp(shares[2:]) > 0.05


def test_exponentiated_gradient_at_its_limits():
    weights = simplex()
    np.testing.assert_allclose(stepped(weights, GRADIENT, 0.0), weights, rtol=1e-15)
    # The slope at rate zero is the replicator's.
    slope = jax.jacfwd(lambda rate: stepped(weights, GRADIENT, rate))(0.0)
    mean = (weights * GRADIENT).sum(-1, keepdims=True)
    np.testing.assert_allclose(slope, -weights * (GRADIENT - mean), atol=1e-14)
    # All but the least weights on the operation of the least gradient, and no overflow.
    far = np.asarray(stepped(weights, GRADIENT, 1e6))
    least = np.where(MASK["cell"], GRADIENT, np.inf).argmin(-1)
    want = np.maximum(np.eye(3)[least], LEAST_WEIGHT) * MASK["cell"]
    # As a change of weights up to 1 it is rounded.
    want = want / want.sum(-1, keepdims=True)
    np.testing.assert_allclose(far, want, rtol=0, atol=1e-15)
    # From there it can return.
    back = np.asarray(stepped(far, -GRADIENT, 1e6))
    most = np.where(MASK["cell"], GRADIENT, -np.inf).argmax(-1)
    assert (back.argmax(-1) == most).all()


def test_exponentiated_gradient_needs_alpha():
    update = exponentiated_gradient(learning_rate=0.1)
    with pytest.raises(ValueError, match="needs alpha"):
        update.update({"cell": jnp.ones((1, 2))}, update.init(None))


def test_uniform_simplex():
    got = uniform_simplex(MASK)["cell"]
    np.testing.assert_allclose(got, [[1 / 3] * 3, [1 / 2, 0, 1 / 2]], rtol=1e-6)


SCALARS = search_scalars(default_config().search, 0)["architecture"] | {
    "learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "momentum": 0.9, "decay": 0.0
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ARCHITECTURE_UPDATES))
def test_every_update_descends_with_scalars_as_arrays(name):
    costs = jnp.asarray([[3.0, 1.0, 2.0]])

    @jax.jit
    def descend(scalars):
        update = ARCHITECTURE_UPDATES[name].transformation(scalars)
        alpha = {"cell": jnp.full((1, 3), 1 / 3)}
        state = update.init(alpha)
        for _ in range(3):
            change, state = update.update({"cell": costs}, state, alpha)
            alpha = optax.apply_updates(alpha, change)
        return alpha["cell"]

    moved = descend(jax.tree.map(jnp.asarray, SCALARS))
    assert float(jnp.sum(costs * (moved - 1 / 3))) < -0.01


def test_adam_and_sgd_are_those_of_optimizers():
    alpha = {"cell": jnp.asarray([[0.3, -0.2, 0.1]])}
    gradient = {"cell": jnp.asarray([[3.0, 1.0, 2.0]])}
    named = {
        "adam": optimizers.adam(learning_rate=0.1, beta1=0.5, beta2=0.9, decay=0.0),
        "sgd": optimizers.sgd(learning_rate=0.1, momentum=0.9, decay=0.0, clip=1e9),
    }
    for name, want in named.items():
        got = ARCHITECTURE_UPDATES[name].transformation(SCALARS)
        changes = [u.update(gradient, u.init(alpha), alpha)[0] for u in (got, want)]
        np.testing.assert_allclose(changes[0]["cell"], changes[1]["cell"], rtol=1e-6)


LOGITS = {"cell": RNG.normal(size=(2, 3)), "other": RNG.normal(size=(1, 2))}
MASKS = {**MASK, "other": np.ones((1, 2), bool)}


def architectures():
    """Every one-hot sample with its probability and an arbitrary reward."""
    edges = [
        (kind, e, np.flatnonzero(row))
        for kind, mask in MASKS.items()
        for e, row in enumerate(mask)
    ]
    for i, choice in enumerate(itertools.product(*(ops for *_, ops in edges))):
        sample = {kind: np.zeros(mask.shape) for kind, mask in MASKS.items()}
        probability = 1.0
        for (kind, e, ops), op in zip(edges, choice, strict=True):
            sample[kind][e, op] = 1
            powers = np.exp(LOGITS[kind][e])
            probability *= powers[op] / powers[ops].sum()
        yield sample, probability, np.sin(1.7 * i) + 2


def expected_reward(logits):
    total = 0.0
    for sample, _, reward in architectures():
        log_p = 0.0
        for kind, mask in MASKS.items():
            masked = jnp.where(mask, logits[kind], -1e30)
            log_p += jnp.sum(sample[kind] * jax.nn.log_softmax(masked))
        total += jnp.exp(log_p) * reward
    return total


@pytest.mark.parametrize("baseline", [0.0, 2.5])
def test_reinforce_is_unbiased_for_any_baseline(baseline):
    logits = jax.tree.map(jnp.asarray, LOGITS)
    estimate = jax.jit(reinforce_gradient)
    mean = jax.tree.map(jnp.zeros_like, logits)
    for sample, probability, reward in architectures():
        one = estimate(Mixture(sample), logits, MASKS, reward, baseline)
        mean = optax.tree.add_scale(mean, probability, one)
    want = jax.grad(expected_reward)(logits)
    for kind in LOGITS:
        np.testing.assert_allclose(mean[kind], -want[kind], atol=1e-12)
    assert mean["cell"][1, 1] == 0


def test_reinforce_is_its_formula():
    sample, _, _ = next(architectures())
    logits = jax.tree.map(jnp.asarray, LOGITS)
    with jax.debug_nans(True):  # nor is any value on the way without a number
        reward, baseline = jnp.asarray(3.0), jnp.asarray(1.0)
        got = reinforce_gradient(
            Mixture(sample), logits, MASKS, reward, baseline, entropy=0.3
        )
    for kind, mask in MASKS.items():
        powers = np.where(mask, np.exp(LOGITS[kind]), 0)
        pi = powers / powers.sum(-1, keepdims=True)
        log_pi = np.log(np.where(mask, pi, 1))
        entropy = -(pi * log_pi).sum(-1, keepdims=True)
        want = 2.0 * (pi - sample[kind]) + 0.3 * pi * (log_pi + entropy)
        np.testing.assert_allclose(got[kind], want, atol=1e-12)


def test_moving_baseline():
    baseline = jnp.asarray(1.0)
    for reward in (2.0, 4.0):
        baseline = next_baseline(baseline, jnp.asarray(reward), 0.75)
    assert float(baseline) == pytest.approx(0.75 * (0.75 + 0.5) + 1.0)
