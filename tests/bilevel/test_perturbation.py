"""Perturbations of the mixture: within the ball, on the simplex, at the maximum."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.perturbation import (
    PERTURBATIONS,
    _nearest,
    _noise,
    adversarial,
    no_perturbation,
    random,
)
from darts_jax.types import Mixture

KEY = jax.random.key(1)
MASK = {
    "a": np.array([[True] * 4, [True, False, True, True]]),
    "b": np.array([[True] * 2]),
}
WEIGHTS = {
    "a": jnp.asarray([[0.2, 0.3, 0.4, 0.1], [0.5, 0.0, 0.3, 0.2]]),
    "b": jnp.asarray([[0.25, 0.75]]),
}
MIXTURE = Mixture(WEIGHTS)
COSTS = {
    "a": jnp.asarray([[1.0, 4.0, 2.5, 3.0], [7.0, 99.0, 5.0, 9.0]]),
    "b": jnp.asarray([[8.0, 6.0]]),
}


def linear(mixture):
    p = mixture.weights
    return sum(jnp.sum(COSTS[kind] * p[kind]) for kind in p)


def curved(mixture):
    p = mixture.weights
    return sum(jnp.sum(COSTS[kind] * jnp.sqrt(p[kind] + 1)) for kind in p)


@pytest.mark.parametrize("name", sorted(PERTURBATIONS))
def test_radius_zero_is_the_mixture_bit_for_bit(name):
    got = jax.jit(lambda r: PERTURBATIONS[name](KEY, curved, MIXTURE, MASK, r))(0.0)
    for kind, p in WEIGHTS.items():
        np.testing.assert_array_equal(got.weights[kind], p)


@pytest.mark.parametrize("name", sorted(PERTURBATIONS))
def test_the_ball_and_what_does_not_exist(name):
    radius = jnp.asarray(0.05)
    for seed in range(5):
        key = jax.random.key(seed)
        got = PERTURBATIONS[name](key, curved, MIXTURE, MASK, radius)
        for kind, p in WEIGHTS.items():
            # Put back on the simplex, a random one may leave the ball a little.
            assert (
                np.abs(got.weights[kind] - p).max()
                <= 0.05 * (1 + (name == "random")) + 1e-7
            )
        assert got.weights["a"][1, 1] == 0
    moved = max(np.abs(got.weights[kind] - p).max() for kind, p in WEIGHTS.items())
    assert (moved == 0) == (name == "none")


def test_none_is_the_mixture_itself():
    assert no_perturbation(KEY, linear, MIXTURE, MASK, 0.3) is MIXTURE


def test_noise_is_uniform_and_any_order_of_kinds_gives_the_same():
    shape = (200, 50)
    p = {"a": jnp.full(shape, 1 / 50), "b": jnp.full(shape, 1 / 50)}
    mask = {"a": np.ones(shape, bool), "b": np.ones(shape, bool)}
    got = _noise(KEY, Mixture(p), mask)
    noise = np.sort(np.asarray(got["a"]).ravel())
    # Kolmogorov's distance to U(-1, 1) of 10,000 draws: 0.0195 once in a thousand.
    assert np.abs(noise - np.linspace(-1, 1, noise.size)).max() < 2 * 0.0195
    assert not np.array_equal(got["a"], got["b"])
    turned = _noise(KEY, Mixture(dict(reversed(p.items()))), mask)
    np.testing.assert_array_equal(turned["a"], got["a"])


@pytest.mark.parametrize("total", [1.0, 0.2])
def test_random_is_cut_and_put_back_on_the_simplex(total):
    """The released code's cut; an edge with a share of its node keeps the share."""
    mixture = Mixture({"a": total * WEIGHTS["a"]}, {"a": jnp.full(2, total)})
    noise = np.asarray(_noise(KEY, mixture, MASK)["a"], np.float64)
    got = random(KEY, linear, mixture, MASK, 0.45)
    want = np.clip(np.asarray(WEIGHTS["a"], np.float64) + 0.45 * noise, 0, 1)
    assert (want[MASK["a"]] == 0).any()
    want = total * want / want.sum(-1, keepdims=True)
    np.testing.assert_allclose(got.weights["a"], want, rtol=1e-5, atol=1e-7)
    assert got.edge_shares["a"] is mixture.edge_shares["a"]


def highest(costs, p, radius):
    """A linear loss's maximum over ball and simplex: its vertices, enumerated.

    At a vertex all entries but one are at a bound.
    """
    low, high = np.maximum(p - radius, 0), p + radius
    best = -np.inf
    for free in range(len(p)):
        rest = [o for o in range(len(p)) if o != free]
        for ends in itertools.product(*((low[o], high[o]) for o in rest)):
            q = np.zeros(len(p))
            q[rest] = ends
            q[free] = p.sum() - q.sum()
            if low[free] - 1e-9 <= q[free] <= high[free] + 1e-9:
                best = max(best, float(costs @ q))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_ascent_reaches_the_maximum_of_a_linear_loss(seed):
    radius = 0.05
    got = jax.jit(lambda k: adversarial(k, linear, MIXTURE, MASK, radius))(
        jax.random.key(seed)
    )
    for kind, mask in MASK.items():
        for e, exists in enumerate(mask):
            costs = np.asarray(COSTS[kind][e], np.float64)[exists]
            p = np.asarray(WEIGHTS[kind][e], np.float64)[exists]
            value = costs @ np.asarray(got.weights[kind][e], np.float64)[exists]
            assert value == pytest.approx(highest(costs, p, radius), abs=1e-6)
            # Upper half up, lower half down, the middle of an odd number nowhere.
            rank = costs.argsort().argsort()
            sign = np.sign(rank - (len(rank) - 1) / 2)
            assert value == pytest.approx(costs @ (p + radius * sign), abs=1e-6)


def test_ascent_reaches_the_maximum_of_a_concave_loss_on_a_fine_grid():
    p, radius = np.array([0.3, 0.5, 0.2]), 0.1
    costs = np.array([5.0, 1.0, 3.0])
    mixture = Mixture({"a": jnp.asarray(p[None])})
    mask = {"a": np.ones((1, 3), bool)}
    got = adversarial(
        KEY,
        lambda q: jnp.sum(jnp.asarray(costs) * jnp.sqrt(q.weights["a"][0])),
        mixture,
        mask,
        radius,
    )
    offsets = np.linspace(-radius, radius, 201)
    first, second = np.meshgrid(offsets, offsets)
    third = -first - second
    inside = np.abs(third) <= radius + 1e-12
    grid = p + np.stack([first[inside], second[inside], third[inside]], -1)
    best = (np.sqrt(grid) @ costs).max()
    assert float(np.sqrt(np.asarray(got.weights["a"][0])) @ costs) == pytest.approx(
        best, 1e-5
    )


def test_ascent_stays_on_the_simplex_at_its_border():
    """Weights below the radius: the ball reaches beyond the simplex."""
    mixture = Mixture({"a": jnp.asarray([[0.9, 0.06, 0.03, 0.01]])})
    mask = {"a": np.ones((1, 4), bool)}
    for seed in range(5):
        got = np.asarray(
            adversarial(jax.random.key(seed), curved, mixture, mask, 0.3).weights["a"]
        )
        assert got.min() >= 0
        assert got.sum() == pytest.approx(1, abs=1e-6)
        assert np.abs(got - mixture.weights["a"]).max() <= 0.3 + 1e-6


@pytest.mark.slow
def test_over_a_population():
    keys = jax.random.split(KEY, 3)
    radii = jnp.asarray([0.0, 0.05, 0.1])
    many = jax.vmap(lambda k, r: adversarial(k, curved, MIXTURE, MASK, r))(keys, radii)
    for i in range(3):
        one = adversarial(keys[i], curved, MIXTURE, MASK, radii[i])
        np.testing.assert_allclose(many.weights["a"][i], one.weights["a"], atol=1e-6)


def test_the_start_is_the_nearest_point_to_the_random_one():
    """No feasible point lies further ahead, the condition of a projection."""
    mixture = Mixture({"a": jnp.asarray([[0.8, 0.1, 0.06, 0.04]])})
    mask, radius = {"a": np.ones((1, 4), bool)}, 0.3
    points = np.random.default_rng(0).dirichlet(np.ones(4), 2000)
    points = points[np.abs(points - mixture.weights["a"][0]).max(-1) <= radius]
    assert len(points) > 20
    for seed in range(3):
        key = jax.random.key(seed)
        noisy = np.asarray(random(key, linear, mixture, mask, radius).weights["a"][0])
        low = np.maximum(mixture.weights["a"] - radius, 0)
        high = mixture.weights["a"] + radius
        got = np.asarray(
            _nearest(noisy[None], jnp.asarray(low), high, mixture.weights["a"].sum(-1))[
                0
            ]
        )
        assert got.sum() == pytest.approx(1, abs=1e-6)
        assert ((points - got) @ (noisy - got)).max() <= 1e-6
