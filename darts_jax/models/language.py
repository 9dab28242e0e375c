"""Parts of networks that read text: tied embeddings, dropouts, and their results."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, PRNGKeyArray

from darts_jax.models.operations.layers import Uniform
from darts_jax.spaces.graph import CellGenotype, Space

States = Float[Array, "batch time unit"]

HIDDEN = "hidden"
"""Name, among the statistics, of the hidden states [batch, stream, unit]."""

BOUND = 0.04
"""Weights begin as U(-0.04, 0.04) (Liu et al., 2019, code)."""


class Reading(NamedTuple):
    """Results of a network for a window of text.

    Attributes:
      losses: minus the log probability of every target, in nats.
      states: of the last layer.
      dropped: these states after dropout, which predict the targets.
    """

    losses: Float[Array, "batch time"]
    states: States
    dropped: States


@dataclasses.dataclass(frozen=True)
class Dropouts:
    """Dropout rates, each of a mask that stays the same over a window.

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


class LanguageSupernet(nn.Module):
    """A space as one network that reads text.

    Attributes:
      space: of one kind of cell.
      vocabulary: number of words.
      units: number of units of every state.
      dropouts: rates.
    """

    space: Space
    vocabulary: int
    units: int
    dropouts: Dropouts


class LanguageNetwork(nn.Module):
    """A genotype's network that reads text.

    Attributes:
      genotype: its cell.
      vocabulary: number of words.
      units: number of units of every state.
      dropouts: rates.
    """

    genotype: CellGenotype
    vocabulary: int
    units: int
    dropouts: Dropouts


def weights(*shape: int) -> Any:
    """Returns weights that are still to be drawn; see `layers.draw`.

    Args:
      shape: of the weights.
    """
    return Uniform(jnp.full(shape, BOUND, jnp.float32))


def dropout_mask(
    key: PRNGKeyArray, shape: tuple[int, ...], rate: float, dtype: Any
) -> Float[Array, "..."]:
    """Draws a mask of values 0, with probability ``rate``, and 1 / (1 - rate).

    Args:
      key: consumed.
      shape: of the mask.
      rate: in [0, 1).
      dtype: of the mask.
    """
    if not rate:
        return jnp.ones(shape, dtype)
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return kept.astype(dtype) / (1 - rate)


def locked_dropout(key: PRNGKeyArray, states: States, rate: float) -> States:
    """Drops the same units at all times of a text.

    Args:
      key: consumed.
      states: [batch, time, unit].
      rate: probability of a unit to be dropped.
    """
    batch, _, units = states.shape
    return states * dropout_mask(key, (batch, 1, units), rate, states.dtype)


class Vocabulary(nn.Module):
    """A matrix that embeds words and also predicts them (Inan et al., 2017).

    Attributes:
      size: number of words.
      units: number of units of an embedded word.
    """

    size: int
    units: int

    def setup(self) -> None:
        self.words = self.param("words", lambda key: weights(self.size, self.units))
        self.bias = self.param("bias", lambda key: jnp.zeros(self.size, jnp.float32))

    def embed(
        self, key: PRNGKeyArray, tokens: Int[Array, "batch time"], rate: float
    ) -> States:
        """Embeds tokens, of which whole words are dropped; the key is consumed."""
        mask = dropout_mask(key, (self.size, 1), rate, self.words.dtype)
        return self.words[tokens] * mask[tokens]

    def losses(
        self, states: States, targets: Int[Array, "batch time"]
    ) -> Float[Array, "batch time"]:
        """Returns minus the log probability of every target, in nats."""
        logits = states @ self.words.T + self.bias
        chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return jax.nn.logsumexp(logits, axis=-1) - chosen
