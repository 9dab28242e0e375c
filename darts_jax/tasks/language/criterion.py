"""Cross entropy of the next token and the costs of activations."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from darts_jax.bilevel.losses import Criterion
from darts_jax.models.language import Reading
from darts_jax.types import Metrics, Scalars, Text

METRICS = ("loss", "count")
REWARD = 80.0
"""Numerator of the reward over the perplexity (Pham et al., 2018)."""


def make_text_criterion(settings: ConfigDict) -> Criterion:
    """Makes the criterion of a text: cross entropy and the cost of activations.

    ``activation`` times the mean square of the states that predict, and ``slowness``
    times that of the difference between a state and the last (Merity et al., 2017),
    are added for the text that trains.

    Args:
      settings: section of the config with ``activation`` and ``slowness``.
    """

    def loss(reading: Reading, text: Text, scalars: Scalars) -> Float[Array, ""]:
        del scalars
        large = _mean(jnp.square(reading.dropped).mean(-1), text.present)
        change = jnp.diff(reading.states, axis=1)
        quick = _mean(jnp.square(change).mean(-1), text.present[:, 1:])
        cost = settings.activation * large + settings.slowness * quick
        trains = jnp.mean(text.stream == 0, dtype=cost.dtype)
        return _mean(reading.losses, text.present) + trains * cost

    def rewards(reading: Reading, text: Text) -> Float[Array, " 1"]:
        return REWARD / jnp.exp(_mean(reading.losses, text.present))[None]

    def metrics(loss: Array, reading: Reading, text: Text) -> Metrics:
        del loss  # It has the cost of activations in it.
        return sum_losses(reading, text)

    return Criterion(lambda text: text, loss, metrics, rewards)


def sum_losses(reading: Reading, text: Text) -> Metrics:
    """Returns the sum of the tokens' losses and their number, float32.

    Args:
      reading: outputs of a network.
      text: the window that it read.
    """
    losses = jnp.where(text.present, reading.losses, 0)
    return {
        "loss": jnp.sum(losses, dtype=jnp.float32),
        "count": jnp.sum(text.present, dtype=jnp.float32),
    }


def _mean(values: Array, present: Any) -> Float[Array, ""]:
    count = jnp.maximum(jnp.sum(present, dtype=values.dtype), 1)
    return jnp.sum(jnp.where(present, values, 0)) / count
