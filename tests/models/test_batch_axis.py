"""Parts of a batch, joined by an axis, give what the whole batch gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from darts_jax.kernels import moments, standardize
from darts_jax.models.batch_axis import (
    BATCH,
    count_parts,
    draw_for_images,
    keep_joined,
    standardize_jointly,
)
from darts_jax.models.operations.corruption import CORRUPTIONS

PARTS, SHAPE = 4, (12, 3, 5, 6)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield np.random.default_rng(0)


def by_parts(function, *arrays):
    """Applies a function to parts of arrays [image, ...] that know of each other."""
    parted = [a.reshape(PARTS, -1, *a.shape[1:]) for a in arrays]
    results = jax.vmap(function, axis_name=BATCH)(*parted)
    return jax.tree.map(lambda r: r.reshape(-1, *r.shape[2:]), results)


def test_standardized_as_the_whole_batch_with_both_derivatives(float64):
    x, along, onto = (float64.normal(3, 2, SHAPE) for _ in range(3))
    weight = float64.normal(size=SHAPE[-1])
    guess = float64.normal(size=(2, SHAPE[-1]))

    def whole(x, weight):
        return standardize(x, moments(x, guess), weight)

    def parts(x, weight):
        return by_parts(lambda x: standardize_jointly(x, guess, weight)[0], x)

    def measures(function):
        def loss(x, weight):
            return jnp.sum(onto * jnp.sin(function(x, weight)))

        gradient = jax.grad(loss, argnums=(0, 1))
        moved = jax.jvp(gradient, (x, weight), (along, weight))
        return function(x, weight), moved

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
        measures(parts),
        measures(whole),
    )


def test_moments_are_those_of_all_parts(float64):
    x = float64.normal(3, 2, SHAPE)
    guess = np.zeros((2, SHAPE[-1]))
    found = by_parts(lambda x: standardize_jointly(x, guess, None)[1][None], x)
    expected = [x.mean((0, 1, 2)), x.var((0, 1, 2))]
    for of_part in found.reshape(PARTS, 2, -1):
        np.testing.assert_allclose(of_part, expected, rtol=1e-12)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_random_numbers_of_an_image_are_the_same_in_any_number_of_parts(float64, name):
    x = float64.normal(size=SHAPE)
    key, strength = jax.random.key(3), jnp.asarray(0.4)
    whole = CORRUPTIONS[name](key, x, strength)
    parts = by_parts(lambda x: CORRUPTIONS[name](key, x, strength), x)
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-12)
    change = (whole / x).reshape(PARTS, -1)
    assert (change[0] != change[1]).any()


def test_without_an_axis_the_batch_is_whole():
    assert count_parts() == 1
    key = jax.random.key(0)
    drawn = draw_for_images(lambda shape: jax.random.normal(key, shape), (4, 2))
    np.testing.assert_array_equal(drawn, jax.random.normal(key, (4, 2)))


def test_what_is_joined_is_not_joined_again_on_the_way_back():
    guess = np.zeros((2, SHAPE[-1]), np.float32)

    def joins(policy):
        def part(x):
            layer = jax.checkpoint(
                lambda x: jnp.sin(standardize_jointly(x, guess, None)[0]), policy=policy
            )
            return lax.psum(jnp.sum(layer(x) ** 2), BATCH)

        return str(
            jax.make_jaxpr(
                jax.grad(part),
                axis_env=[(BATCH, PARTS)],
            )(np.ones(SHAPE, np.float32))
        ).count("psum")

    assert joins(keep_joined) == joins(None) - 1
