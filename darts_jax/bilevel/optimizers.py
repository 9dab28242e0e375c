"""Optimizers of DARTS by PyTorch's conventions, with their scalars as arrays.

L2 decay is coupled: it joins the gradient before momentum or moments see it.
"""

import collections
import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.types import Params, Scalars

Scalar = float | Float[Array, ""]


def blank_scalars() -> Scalars:
    """Returns scalars for a first state, as no optimizer's depends on their values."""
    return collections.defaultdict(float, weights={"learning_rate": 0.0})


def sgd(
    *,
    learning_rate: Scalar,
    momentum: Scalar = 0.0,
    decay: Scalar = 0.0,
    clip: Scalar = jnp.inf,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """Returns w <- w - rate * b, b <- momentum * b + clipped gradient + decay * w.

    Args:
      learning_rate: rate, 0 or more.
      momentum: 0 to 1.
      decay: of the weights, 0 or more.
      clip: largest global norm of the gradient; infinity for none.
      nesterov: steps by clipped gradient + decay * w + momentum * b, with the new b, in
        place of b (Sutskever et al., 2013, in PyTorch's form).
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
    """Returns Adam (Kingma and Ba, 2015, alg. 1) on the gradient plus decay * alpha.

    Args:
      learning_rate: rate, 0 or more.
      beta1: decay of the first moment, 0 to 1.
      beta2: decay of the second moment, 0 to 1.
      decay: of the parameters, 0 or more.
    """
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
    """State of `average_weights`.

    Attributes:
      steps: number of steps in the mean.
      mean: mean of the weights after each of them.
    """

    steps: Float[Array, ""]
    mean: Params


def average_weights(on: Scalar) -> optax.GradientTransformation:
    """Returns a transformation that changes no update and keeps a mean of the weights.

    mean <- mean + (w - mean) / count (Polyak and Juditsky, 1992) since ``on`` became 1;
    before, the mean is the weights themselves. It comes last in a chain, as it takes
    its updates for the change of the weights.

    Args:
      on: 1 to average, 0 to wait.

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

        def next_mean(mean: Array, weight: Array, update: Array) -> Array:
            new_weight = weight + update
            moved_mean = mean + (new_weight - mean) * share.astype(mean.dtype)
            return jnp.where(count > 1, moved_mean, new_weight)

        mean = jax.tree.map(next_mean, state.mean, params, updates)
        return updates, AverageState(count, mean)

    def init(params: Any) -> AverageState:
        return AverageState(jnp.zeros((), jnp.float32), jax.tree.map(jnp.array, params))

    return optax.GradientTransformation(init, update)


def has_stopped_improving(scores: Sequence[float], patience: int) -> bool:
    """Returns whether losses have stopped falling, so that weights should be averaged.

    Once one was above the least of those more than ``patience`` before it (Merity et
    al., 2018, NT-ASGD), it stays so.

    Args:
      scores: losses by epoch.
      patience: number of epochs.
    """
    return any(
        last > min(scores[: i - patience])
        for i, last in enumerate(scores)
        if i > patience
    )


def _clip_by_global_norm(clip: Scalar) -> optax.GradientTransformation:
    """Returns g <- g * min(1, clip / (norm + 1e-6)), PyTorch's form.

    Its derivative is finite for an infinite ``clip``: the exact hypergradient goes
    through it.
    """

    def clip_updates(
        gradient: optax.Updates, params: optax.Params | None
    ) -> optax.Updates:
        del params
        # In few equations: optax asks of every leaf whether its numbers are complex.
        squares = (jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient))
        norm = jnp.sqrt(functools.reduce(operator.add, squares)) + 1e-6
        share = jnp.minimum(norm, clip) / norm
        return jax.tree.map(lambda g: g * share.astype(g.dtype), gradient)

    return optax.stateless(clip_updates)
