"""Closed forms of batch norm's derivatives, for platforms without native kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.kernels import sums


@pytest.mark.parametrize("derivative", ["change", "back", "back_change"])
def test_closed_forms_are_the_derivatives_of_the_plain_form(derivative):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)

        def draw(*shape):
            return jnp.asarray(rng.normal(1.0, 2.0, shape))

        x = draw(2, 3, 4, 5, 6)
        moments = sums.moments_p.bind(x, jnp.zeros((2, 2, 6)))
        primals = x, moments, draw(2, 6)
        tangents = draw(*x.shape), draw(2, 2, 6), draw(2, 6)
        g = draw(*x.shape)
        t_g = draw(*x.shape)

        def back(g, *primals):
            return jax.vjp(sums._weighted_xla, *primals)[1](g)

        forms = {
            "change": (
                (*tangents, *primals),
                lambda: [jax.jvp(sums._weighted_xla, primals, tangents)[1]],
            ),
            "back": ((g, *primals), lambda: back(g, *primals)),
            "back_change": (
                (t_g, *tangents, g, *primals),
                lambda: jax.jvp(back, (g, *primals), (t_g, *tangents))[1],
            ),
        }
        arguments, plain = forms[derivative]
        closed = dict(sums.WEIGHTED.closed)[derivative](*arguments)
        for ours, wanted in zip(closed, plain(), strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pixels", [(3, 4, 5), (1, 7, 1)])
def test_moments_by_parts_are_those_of_all_pixels(pixels):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(3.0, 2.0, (2, *pixels, 6)))
        moments = sums._moments_by_parts(x, jnp.ones((2, 2, 6)))
        wanted = np.stack([x.mean((1, 2, 3)), x.var((1, 2, 3))], 1)
        np.testing.assert_allclose(moments, wanted, rtol=1e-10)
