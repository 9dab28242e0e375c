"""The agreement of cells against NumPy and brute autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.alignment import WEIGHT_HOOKS, alignment, mean_cosine

CELLS, EDGES, OPS = 4, 2, 3
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def flat_cosines(gradients):
    flat = gradients.reshape(len(gradients), -1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit, [unit[i] @ unit[j] for i in range(len(unit)) for j in range(i)]


def test_mean_cosine_and_its_published_gradient():
    gradients = RNG.normal(size=(CELLS, EDGES, OPS))
    unit, cosines = flat_cosines(gradients)
    value, slope = jax.value_and_grad(mean_cosine)(jnp.asarray(gradients))
    assert float(value) == pytest.approx(np.mean(cosines), rel=1e-12)
    for cell in range(CELLS):
        u, size = unit[cell], np.linalg.norm(gradients[cell])
        across = (np.eye(u.size) - np.outer(u, u)) @ unit.sum(0)
        want = 2 / (CELLS * (CELLS - 1)) * across / size
        np.testing.assert_allclose(slope[cell].ravel(), want, atol=1e-13)


def test_mean_cosine_at_its_limits():
    one = RNG.normal(size=(1, EDGES, OPS))
    scales = np.array([1e-3, 1.0, 5.0])[:, None, None]
    assert float(mean_cosine(jnp.asarray(scales * one))) == pytest.approx(1)
    opposite = jnp.asarray(np.concatenate([one, -one]))
    assert float(mean_cosine(opposite)) == pytest.approx(-1)
    apart = jnp.eye(CELLS)[:, None]
    assert float(mean_cosine(apart)) == 0
    silent = jnp.asarray(np.concatenate([one, one, 0 * one]))
    value, slope = jax.value_and_grad(mean_cosine)(silent)
    assert float(value) == pytest.approx(1 / 3)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("rule", [mean_cosine, lambda g: alignment(total, {}, g)])
def test_one_cell_aligns_with_none(rule):
    with pytest.raises(ValueError, match="there are 1"):
        rule(jnp.ones((1, EDGES, OPS)))


def total(params, mixture):
    return jnp.sum(mixture)


WEIGHTS = {
    "cells": jnp.asarray(RNG.normal(size=(CELLS, EDGES, OPS)), jnp.float32),
    "out": jnp.asarray(RNG.normal(size=CELLS), jnp.float32),
}
MIXTURE = np.broadcast_to(RNG.dirichlet(np.ones(OPS), EDGES), (CELLS, EDGES, OPS))


def loss(params, mixture):
    """A chain of cells, each a mixture of three functions of the last one's result."""
    x = jnp.asarray(0.8)
    for cell in range(CELLS):
        w = params["cells"][cell]
        ops = jnp.stack([jnp.tanh(w[:, 0] * x), w[:, 1] * x**2, jnp.sin(w[:, 2] + x)])
        x = jnp.sum(mixture[cell] * ops.T) + params["out"][cell] * x
    return (x - 2) ** 2


def double_weights():
    return jax.tree.map(lambda x: x.astype(jnp.float64), WEIGHTS)


def test_alignment_is_minus_the_whole_gradient_of_lambda():
    params, mixture = double_weights(), jnp.asarray(MIXTURE)

    def by_hand(params):
        g = jax.grad(loss, argnums=1)(params, mixture).reshape(CELLS, -1)
        pairs = [(i, j) for i in range(CELLS) for j in range(i)]
        cosines = [
            g[i] @ g[j] / jnp.linalg.norm(g[i]) / jnp.linalg.norm(g[j])
            for i, j in pairs
        ]
        return sum(cosines) / len(pairs)

    want = jax.grad(by_hand)(params)
    got = jax.jit(lambda w, p: alignment(loss, w, p))(params, mixture)
    for name in want:
        assert np.abs(want[name]).max() > 1e-3
        np.testing.assert_allclose(got[name], -want[name], rtol=1e-9, atol=1e-12)

    # So a small step along it, downwards, brings the cells closer.
    moved = jax.tree.map(lambda w, g: w - 1e-3 * g, params, got)
    assert float(by_hand(moved)) > float(by_hand(params))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WEIGHT_HOOKS))
def test_over_a_population(name):
    mixture = jnp.asarray(MIXTURE)
    many = jax.tree.map(lambda w: jnp.stack([w, -w]), double_weights())
    hook = WEIGHT_HOOKS[name]
    got = jax.vmap(lambda w: hook(loss, w, mixture))(many)
    for i in range(2):
        one = hook(loss, jax.tree.map(lambda w, i=i: w[i], many), mixture)
        np.testing.assert_allclose(got["cells"][i], one["cells"], atol=1e-10)
        assert (np.abs(one["cells"]).max() == 0) == (name == "none")
