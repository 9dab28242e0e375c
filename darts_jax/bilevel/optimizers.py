"""The optimizers of DARTS with PyTorch's conventions, their scalars as arrays.

L2 decay is coupled: it joins the gradient before momentum or moments see it.
"""

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.types import Params

Scalar = float | Float[Array, ""]


def sgd(
    *,
    learning_rate: Scalar,
    momentum: Scalar = 0.0,
    decay: Scalar = 0.0,
    clip: Scalar = jnp.inf,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """w <- w - rate * buf with buf <- momentum * buf + clipped gradient + decay * w.

    Args:
      clip: largest global norm of the gradient; infinity for none.
      nesterov: steps by clipped gradient + decay * w + momentum * buf, with the new
        buf, in place of buf (Sutskever et al., 2013, in PyTorch's form).
    """
    return optax.chain(
        _clip_by_global_norm(clip),
        optax.add_decayed_weights(decay),
        optax.trace(momentum, nesterov=nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def adam(
    *, learning_rate: Scalar, beta1: Scalar, beta2: Scalar, decay: Scalar
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015, algorithm 1) on the gradient plus decay * alpha."""
    chain = optax.chain(
        optax.add_decayed_weights(decay),
        optax.scale_by_adam(beta1, beta2),
        optax.scale_by_learning_rate(learning_rate),
    )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        # optax raises the betas, arrays here, to an integer count.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)


class AverageState(NamedTuple):
    """State of `average_weights`: number of steps, and the mean of their weights."""

    steps: Float[Array, ""]
    mean: Params


def average_weights(on: Scalar) -> optax.GradientTransformation:
    """Changes no update; its state is the mean of the weights since ``on`` became 1.

    mean <- mean + (w - mean) / count (Polyak and Juditsky, 1992). While ``on`` is 0 the
    mean is the weights themselves. Last in a chain, as it takes its updates for what
    the weights are changed by.

    Raises:
      ValueError: an update without the present weights.
    """

    def update(
        updates: Any, state: AverageState, params: Any = None
    ) -> tuple[Any, AverageState]:
        if params is None:
            raise ValueError("average_weights needs the weights: update(g, state, w)")
        count = jnp.where(jnp.asarray(on) > 0, state.steps + 1, 0)
        share = 1 / jnp.maximum(count, 1)

        def moved(mean: Array, weight: Array, update: Array) -> Array:
            there = weight + update
            further = mean + (there - mean) * share.astype(mean.dtype)
            return jnp.where(count > 1, further, there)

        mean = jax.tree.map(moved, state.mean, params, updates)
        return updates, AverageState(count, mean)

    def init(params: Any) -> AverageState:
        return AverageState(jnp.zeros((), jnp.float32), jax.tree.map(jnp.array, params))

    return optax.GradientTransformation(init, update)


def has_stopped_improving(scores: Sequence[float], patience: int) -> bool:
    """Whether losses have stopped to fall, so that weights should be averaged.

    Once one was above the least of those more than ``patience`` before it (Merity et
    al., 2018, NT-ASGD), it stays so.
    """
    return any(
        last > min(scores[: i - patience])
        for i, last in enumerate(scores)
        if i > patience
    )


def _clip_by_global_norm(clip: Scalar) -> optax.GradientTransformation:
    """g <- g * min(1, clip / (norm + 1e-6)), PyTorch's form.

    Written so that its derivative is finite for an infinite ``clip``: the exact
    hypergradient goes through it.
    """

    def scaled(gradient: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        # In few equations: optax asks of every leaf whether its numbers are complex.
        squares = (jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient))
        norm = jnp.sqrt(functools.reduce(operator.add, squares)) + 1e-6
        share = jnp.minimum(norm, clip) / norm
        return jax.tree.map(lambda g: g * share.astype(g.dtype), gradient)

    return optax.stateless(scaled)
