"""Values inside loops and branches of a traced function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from darts_jax.errors import InputError
from darts_jax.proxies.taps import Taps, read_values, run_with_taps


def is_sine(equation):
    return equation.primitive.name == "sin"


def loop(x):
    def turn(carry, takes):
        y = lax.cond(takes, lambda c: jnp.sin(c) + 1, lambda c: c, carry)
        return y, jnp.sin(2 * y)

    return lax.scan(turn, x, jnp.array([True, False, True]))


@pytest.mark.parametrize("walk", [lambda f: f, jax.jit, jax.vmap])
def test_reads_turn_by_turn_and_only_what_ran(walk):
    x = jnp.arange(3.0)

    def run(x):
        return read_values(loop, is_sine, lambda equation, value: value, x)

    first, second = walk(run)(x)
    if walk is jax.vmap:
        first, second = jax.tree.map(
            lambda leaf: np.moveaxis(leaf, 0, -1), (first, second)
        )
    one = np.sin(x) + 1
    np.testing.assert_allclose(first.value, [x, 0 * x, one], rtol=1e-6)
    taken = first.ran[..., 0] if walk is jax.vmap else first.ran
    assert taken.tolist() == [True, False, True]
    last = np.sin(one) + 1
    np.testing.assert_allclose(second.value, [2 * one, 2 * one, 2 * last], rtol=1e-6)


def test_leaves_results_as_they_are_and_shifts_them():
    x = jnp.arange(3.0)
    taps = Taps(is_sine, lambda equation, operands, extra: (None, ()))
    plain, _ = run_with_taps(loop, taps, (x,))
    jax.tree.map(np.testing.assert_array_equal, plain, loop(x))

    def shift(equation, operands, extra):
        return [extra + 0 * operands[0]], ()

    shifts = [jnp.zeros(3), jnp.arange(3.0)]
    (_, sines), _ = run_with_taps(loop, Taps(is_sine, shift), (x,), shifts)
    np.testing.assert_allclose(sines, np.arange(3.0)[:, None] * np.ones(3))


def test_a_loop_of_unknown_length_is_refused():
    def run(x):
        return lax.while_loop(lambda v: v < 3, lambda v: v + jnp.sin(v), x)

    with pytest.raises(InputError, match="while"):
        read_values(run, is_sine, lambda equation, value: value, 1.0)
