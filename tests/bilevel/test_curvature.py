"""Top eigenvalues against a full decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from darts_jax.bilevel.curvature import cosine, lanczos, top_eigenvalue

KEY = jax.random.key(0)
SIZE = 200


def symmetric(values, seed):
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
    return (turn * values) @ turn.T


def bulk_and_outliers(rng):
    """A network's spectrum: a bulk about zero, few large values, some below zero."""
    bulk = 0.3 * rng.standard_cauchy(SIZE - 12).clip(-1, 1)
    return np.concatenate([bulk, rng.uniform(3, 20, 9), [-1.5, -2.0, -4.0]])


def power_law(rng):
    return 10 * np.arange(1, SIZE + 1) ** -1.5 * rng.choice([1, 1, 1, -0.2], SIZE)


def dominated_from_below(rng):
    return -bulk_and_outliers(rng)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "spectrum", [bulk_and_outliers, power_law, dominated_from_below]
)
@pytest.mark.parametrize("seed", range(3))
def test_of_a_matrix_in_twenty_products(spectrum, seed, dtype):
    matrix = symmetric(spectrum(np.random.default_rng(seed)), seed)
    values = np.linalg.eigvalsh(matrix)
    with jax.enable_x64(True):
        m = jnp.asarray(matrix, dtype)
        got = jax.jit(lambda m, key: lanczos(lambda v: m @ v, m[0], key))(m, KEY)
    assert float(got) == pytest.approx(values[-1], rel=1e-4)


@pytest.mark.slow
def test_of_the_hessian_by_mixing_logits():
    """8 edges of 5 functions in a small network: 40 parameters in two kinds."""
    rng = np.random.default_rng(4)
    with jax.enable_x64(True):
        inputs = jnp.asarray(rng.normal(size=(16, 4)))
        targets = jnp.asarray(rng.normal(size=(16, 4)))
        w = jnp.asarray(rng.normal(size=(8, 4, 4)))

        def loss(alpha):
            x, e = inputs, 0
            for kind in ("normal", "reduce"):
                for logits in alpha[kind]:
                    p, y = jax.nn.softmax(logits), x @ w[e]
                    ops = [jnp.tanh(y), jnp.sin(y), x, jax.nn.relu(y), 0 * x]
                    x = x + sum(p[i] * op for i, op in enumerate(ops))
                    e += 1
            return jnp.mean((x - targets) ** 2)

        alpha = {
            kind: jnp.asarray(rng.normal(size=(4, 5))) for kind in ("normal", "reduce")
        }
        flat, unravel = ravel_pytree(alpha)
        values = np.linalg.eigvalsh(jax.hessian(lambda v: loss(unravel(v)))(flat))
        got = jax.jit(lambda a, key: top_eigenvalue(loss, a, key))(alpha, KEY)
    assert float(got) == pytest.approx(values[-1], rel=1e-4)


@pytest.mark.parametrize(
    "values",
    [[3.0] * 6, [-2.0, -2.0, -1.0, -5.0, -5.0], [0.0] * 4, [7.0], [1.0, -8.0]],
)
def test_closed_spaces_do_not_invent_eigenvalues(values):
    """The starting vector alone reaches one direction of each distinct value."""
    matrix = jnp.asarray(symmetric(np.array(values), 0), jnp.float32)
    got = lanczos(lambda v: matrix @ v, matrix[0], KEY)
    assert float(got) == pytest.approx(max(values), rel=1e-4, abs=1e-6)


def test_orthogonality_outlives_convergence():
    """A gap so wide that a plain three-term recurrence finds the top value twice."""
    matrix = symmetric(np.concatenate([[1e4], np.linspace(-3, 1, 59)]), 1)
    m = jnp.asarray(matrix, jnp.float32)
    both = jax.vmap(lambda m: lanczos(lambda v: m @ v, m[0], KEY, 60))(
        jnp.stack([m, -m])
    )
    assert float(both[0]) == pytest.approx(1e4, rel=1e-5)
    # Of -m the largest is 3, were it not for the 1e4 that float32 rounds by 1e-3.
    assert float(both[1]) == pytest.approx(3, abs=0.05)


def test_no_products():
    with pytest.raises(ValueError, match="at least one"):
        lanczos(lambda v: v, jnp.ones(3), KEY, 0)


def test_cosine():
    tree = {"a": jnp.asarray([3.0, 0.0]), "b": jnp.asarray([[4.0]])}
    other = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray([[2.0]])}
    assert float(jax.jit(cosine)(tree, other)) == pytest.approx(11 / 15)
    assert float(cosine(tree, optax.tree.scale(-7, tree))) == pytest.approx(-1)
    assert float(cosine(tree, optax.tree.zeros_like(tree))) == 0
