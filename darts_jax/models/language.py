"""Reading text: tied embeddings, dropouts of one mask a window, what is read of it."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, PRNGKeyArray

from darts_jax.models.operations.layers import Uniform

States = Float[Array, "batch time unit"]

HIDDEN = "hidden"
"""Names, in the statistics, the hidden states [batch, stream, unit] to go on from."""

BOUND = 0.04
"""Weights begin as U(-0.04, 0.04) (Liu et al., 2019, code)."""


class Reading(NamedTuple):
    """What a network makes of a window of text.

    Attributes:
      losses: minus the log probability of every target, in nats.
      states: the last layer's.
      dropped: those that the targets were predicted from, after dropout.
    """

    losses: Float[Array, "batch time"]
    states: States
    dropped: States


@dataclasses.dataclass(frozen=True)
class Dropouts:
    """Rates, each of a mask that stays the same over a window.

    Attributes:
      words: of whole words of the vocabulary (Gal and Ghahramani, 2016).
      embedding: of units of the embedded text (Merity et al., 2018, locked).
      inputs: of units that enter the recurrence.
      hidden: of units of hidden states, within the recurrence.
      output: of units that predict.
    """

    words: float = 0.0
    embedding: float = 0.0
    inputs: float = 0.0
    hidden: float = 0.0
    output: float = 0.0


def weights(*shape: int) -> Any:
    """An initialiser's box of weights of that shape; see `layers.draw`."""
    return Uniform(jnp.full(shape, BOUND, jnp.float32))


def dropout_mask(
    key: PRNGKeyArray, shape: tuple[int, ...], rate: float, dtype: Any
) -> Float[Array, "..."]:
    """0 with probability ``rate``, else 1 / (1 - rate); the key is consumed."""
    if not rate:
        return jnp.ones(shape, dtype)
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return kept.astype(dtype) / (1 - rate)


def locked(key: PRNGKeyArray, states: States, rate: float) -> States:
    """Drops the same units at all times of a text."""
    batch, _, units = states.shape
    return states * dropout_mask(key, (batch, 1, units), rate, states.dtype)


class Vocabulary(nn.Module):
    """One matrix that embeds words and predicts them (Inan et al., 2017)."""

    size: int
    units: int

    def setup(self) -> None:
        self.words = self.param("words", lambda key: weights(self.size, self.units))
        self.bias = self.param("bias", lambda key: jnp.zeros(self.size, jnp.float32))

    def embed(
        self, key: PRNGKeyArray, tokens: Int[Array, "batch time"], rate: float
    ) -> States:
        """Of tokens, whole words of which are dropped; the key is consumed."""
        mask = dropout_mask(key, (self.size, 1), rate, self.words.dtype)
        return self.words[tokens] * mask[tokens]

    def losses(
        self, states: States, targets: Int[Array, "batch time"]
    ) -> Float[Array, "batch time"]:
        """Minus the log probability of every target, in nats."""
        logits = states @ self.words.T + self.bias
        chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return jax.nn.logsumexp(logits, axis=-1) - chosen
