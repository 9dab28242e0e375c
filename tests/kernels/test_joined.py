"""Like calls joined into one: fewer of them, the same numbers and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np

from darts_jax import jaxprs
from darts_jax.kernels import join, moments, relu_separable, standardize
from darts_jax.kernels.rectified import SEPARABLE, SEPARABLES
from darts_jax.kernels.sums import weighted_p

EDGES = 2
WINDOWS = ((3, 1), (5, 1), (3, 2))  # size and dilation


def mixture(kernels, x):
    """Three separable convolutions of an image, and another behind two of them."""
    found = jnp.zeros((), x.dtype)
    guess = jnp.zeros((2, 4), x.dtype)
    for i, (_, dilation) in enumerate(WINDOWS):
        first, matrix, second = kernels[i]
        y, of_y = relu_separable(x, first, matrix, guess, stride=2, dilation=dilation)
        y = standardize(y, of_y)
        found += jnp.sum(of_y)
        if i < 2:
            y, of_y = relu_separable(y, second, matrix, guess)
            y = standardize(y, of_y)
        found += jnp.sum(jnp.sin(y) * (i + 1))
    return found + jnp.sum(moments(x, guess))


def arguments():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    kernels = [
        (draw(EDGES, k, k, 4), draw(EDGES, 1, 1, 4, 4), draw(EDGES, k, k, 4))
        for k, _ in WINDOWS
    ]
    return kernels, draw(2, 7, 6, 4)


def loss(function):
    def over_edges(kernels, x):
        return jnp.sum(jax.vmap(function, in_axes=(0, None))(kernels, x))

    return over_edges


def count(function, primitive):
    equations = jax.make_jaxpr(function)(*arguments()).jaxpr.eqns
    found = 0
    for equation in equations:
        found += equation.primitive is primitive
        assert not jaxprs.bodies(equation) or equation.primitive.name in ("pjit", "jit")
    return found


def test_like_calls_are_one():
    plain = loss(mixture)
    joined = loss(join(mixture))
    assert count(plain, SEPARABLE.map_p) == 5
    assert count(plain, weighted_p) == 5
    assert count(joined, SEPARABLE.map_p) == 0
    assert count(joined, SEPARABLES.map_p) == 2
    assert count(joined, weighted_p) == 2


def test_numbers_and_derivatives_stay():
    with jax.enable_x64(True):
        given = arguments()

        def everything(function):
            slope = jax.grad(loss(function), argnums=(0, 1))
            along = jax.tree.map(jnp.cos, given)
            return jax.jvp(slope, given, along), loss(function)(*given)

        plain = jax.jit(lambda: everything(mixture))()
        joined = jax.jit(lambda: everything(join(mixture)))()
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
            plain,
            joined,
        )


def test_a_gradient_by_images_alone_stays():
    with jax.enable_x64(True):
        kernels, x = arguments()
        slopes = [
            jax.jit(jax.grad(lambda x, f=f: loss(f)(kernels, x)))(x)
            for f in (mixture, join(mixture))
        ]
        np.testing.assert_allclose(*slopes, rtol=1e-9, atol=1e-9)
