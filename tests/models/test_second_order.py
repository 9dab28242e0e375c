"""Derivatives of derivatives of every operation inside a loop, where edges stand.

A loop keeps no rule of a `custom_jvp` for what runs ahead of the backward pass: an
operation may be right alone and wrong there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from darts_jax.models import stack
from darts_jax.models.operations.image import OPERATIONS, make_operation
from darts_jax.models.operations.layers import draw
from darts_jax.models.operations.mobile import BLOCKS

CHANNELS, EDGES, RADIUS = 4, 2, 1e-6
STRIDES = {"pool_and_project": 2}  # where it is not 1
QUICK = ["max_pool_3x3", "sep_conv_3x3", "nor_conv_3x3"]
SLOW = [  # of the many blocks of mobile networks, the last one
    name
    for name in [*sorted(OPERATIONS.keys() - BLOCKS.keys()), list(BLOCKS)[-1]]
    if name not in QUICK and name != "none"
]


def same_size(y, x):
    """Returns `y` with zeros below and to the right, as large as `x`."""
    return jnp.pad(
        y, [(0, want - have) for want, have in zip(x.shape, y.shape, strict=True)]
    )


def problem(name):
    """A loss of weights and mixture, whose edges are a loop, and where to begin."""
    module = make_operation(name, CHANNELS, STRIDES.get(name, 1), discrete=False)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 5, 5, CHANNELS)))
    keys = jax.random.split(jax.random.key(0), EDGES)
    streams = {"params": keys[0], "noise": keys[1]}
    made = draw(keys[0], module.init(streams, x, True))
    stats = made.get("batch_stats", {})
    weights = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=(EDGES, *leaf.shape))),
        made.get("params", {}),
    )
    weights = {"operation": weights, "input": jnp.asarray(rng.normal(size=(EDGES, 4)))}

    def loss(weights, mixture):
        def edge(x, of_edge):
            (own, share), key = of_edge
            variables = {"params": own["operation"], "batch_stats": stats}
            y, _ = stack.apply(module, variables, key, x * own["input"], train=True)
            return x + share * same_size(y, x), None

        y, _ = lax.scan(edge, x, ((weights, mixture), keys))
        return jnp.sum(jnp.sin(y) * jnp.cos(jnp.arange(y.size)).reshape(y.shape))

    return loss, weights, jnp.asarray([0.3, 0.7])


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_second_derivatives_inside_a_loop_are_differences_of_the_first(name):
    with jax.enable_x64(True):
        loss, weights, mixture = problem(name)
        both = weights, mixture
        gradient = jax.jit(jax.grad(lambda both: loss(*both)))
        rng = np.random.default_rng(1)
        along = jax.tree.map(
            lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), both
        )
        ahead, behind = (
            gradient(optax.tree.add_scale(both, sign * RADIUS, along))
            for sign in (1, -1)
        )
        want = optax.tree.scale(0.5 / RADIUS, optax.tree.sub(ahead, behind))
        forward = jax.jit(lambda both: jax.jvp(gradient, (both,), (along,))[1])
        reverse = jax.jit(jax.grad(lambda both: optax.tree.vdot(gradient(both), along)))
        check = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
        jax.tree.map(check, forward(both), want)
        jax.tree.map(check, reverse(both), want)
