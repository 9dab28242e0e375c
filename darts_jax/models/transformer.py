"""Chains of residual blocks over a window of text: the one-shot chain and a genotype's.

With layer normalisation N before every block (Xiong et al., 2020) and weights p of an
edge's operations, which came from outside,

    x_0 = sqrt(units) (E[token] + b sinusoids);  x_(e+1) = x_e + sum_o p_eo f_o(N_e x_e)

and the last state, normalised, predicts by E. A state always passes by its edge as
well. The context is the window: nothing is carried on from one to the next.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.models.language import (
    BOUND,
    Dropouts,
    LanguageNetwork,
    LanguageSupernet,
    Reading,
    States,
    Vocabulary,
    locked_dropout,
)
from darts_jax.models.operations.sequence import (
    SKIP,
    LayerNorm,
    make_sequence_operation,
)
from darts_jax.spaces.graph import Cell
from darts_jax.spaces.transformer import KIND
from darts_jax.types import Mixture, Text

Walk = Callable[[States, PRNGKeyArray], States]
"""(embedded text, key) -> the chain's last state."""


class ResidualBlock(nn.Module):
    """An edge: a state plus a weighted sum of operations on the normalised state.

    Attributes:
      operations: that the edge may be.
      dropouts: of which ``inputs``, of the operations, and ``hidden``, of what they
        add, apply.
    """

    operations: tuple[str, ...]
    dropouts: Dropouts

    @nn.compact
    def __call__(self, x: States, weights: Float[Array, " op"], train: bool) -> States:
        """Computes the next state; ``weights`` are in the order of the operations."""
        present = [(o, name) for o, name in enumerate(self.operations) if name != SKIP]
        if not present:
            return x
        rates = self.dropouts if train else Dropouts()
        keys = jax.random.split(stack.key_for(self, "noise"))
        given = locked_dropout(keys[0], LayerNorm(name="norm")(x), rates.inputs)
        added = jnp.zeros_like(x)
        for o, name in present:
            made = make_sequence_operation(name).clone(name=name, parent=self)
            added += weights[o].astype(x.dtype) * made(given, train)
        return x + locked_dropout(keys[1], added, rates.hidden)


class TransformerReader(nn.Module):
    """A chain of blocks of any kind between tied embeddings.

    Attributes:
      vocabulary: number of words.
      units: number of units of every state.
      dropouts: rates.
    """

    vocabulary: int
    units: int
    dropouts: Dropouts

    @nn.compact
    def __call__(self, text: Text, walk: Walk, train: bool) -> Reading:
        words = Vocabulary(self.vocabulary, self.units, name="vocabulary")
        rates = self.dropouts if train else Dropouts()
        keys = jax.random.split(stack.key_for(self, "noise"), 4)
        embedded = words.embed(keys[0], jnp.asarray(text.tokens), rates.words)
        # As large as embeddings begin, or places would drown words.
        _, times, units = embedded.shape
        places = jnp.asarray(BOUND * sinusoids(times, units), embedded.dtype)
        begin = math.sqrt(self.units) * (embedded + places)
        last = walk(locked_dropout(keys[1], begin, rates.embedding), keys[2])
        states = LayerNorm(name="norm")(last)
        dropped = locked_dropout(keys[3], states, rates.output)
        return Reading(
            words.losses(dropped, jnp.asarray(text.targets)), states, dropped
        )


def sinusoids(times: int, units: int) -> Float[np.ndarray, "time unit"]:
    """Returns codes of places: sines, then cosines (Vaswani et al., 2017, section 3.5).

    Args:
      times: number of places.
      units: number of values of each.
    """
    half = -(-units // 2)
    rates = 10_000.0 ** -(np.arange(half) / half)
    angles = np.arange(times)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)[:, :units]


class TransformerSupernet(LanguageSupernet):
    """The chain of a space with every edge a mixture of its operations.

    Edges whose operations repeat along the chain are layers, walked by one scan; their
    parameters are stacked over the layers.
    """

    @nn.compact
    def __call__(self, text: Text, mixture: Mixture, train: bool) -> Reading:
        """Reads a window of text with the mixture's weights [edge, op]."""
        turns = repeated_operations(self.space.cells[KIND])
        rows = mixture.weights[KIND]
        weights = rows.reshape(-1, len(turns), rows.shape[-1])
        blocks = [ResidualBlock(operations, self.dropouts) for operations in turns]

        def walk(x: States, key: PRNGKeyArray) -> States:
            layers = len(weights)
            variables = [
                stack.declare(self, f"edges_{i}", block, layers, x, weights[0, 0])
                for i, block in enumerate(blocks)
            ]
            keys = jax.random.split(key, weights.shape[:2])

            def layer(x: States, at: tuple[list[stack.Variables], Array, Array]) -> Any:
                variables, weights, keys = at
                for block, own, given, key in zip(
                    blocks, variables, weights, keys, strict=True
                ):
                    x, _ = stack.apply(block, own, key, x, given, train=train)
                return x, None

            return lax.scan(layer, x, (variables, weights, keys))[0]

        reader = TransformerReader(
            self.vocabulary, self.units, self.dropouts, name="reader"
        )
        return reader(text, walk, train)


def repeated_operations(cell: Cell) -> tuple[tuple[str, ...], ...]:
    """Returns the operations of the fewest edges whose repetition is the whole chain.

    Args:
      cell: a chain of edges.

    Returns:
      Names of operations for each of these edges.
    """
    names = tuple(edge.operations for edge in cell.edges)
    count = next(
        n
        for n in range(1, len(names) + 1)
        if len(names) % n == 0 and names[:n] * (len(names) // n) == names
    )
    return names[:count]


class TransformerNetwork(LanguageNetwork):
    """The chain of a genotype; an edge that adds nothing has no parameters."""

    @nn.compact
    def __call__(self, text: Text, drop_rate: Array, train: bool) -> Reading:
        """Reads a window of text; no path can be dropped."""
        del drop_rate

        def walk(x: States, key: PRNGKeyArray) -> States:
            del key  # Every block draws its own.
            for i, choice in enumerate(sorted(self.genotype.choices)):
                only = (choice.operation,)
                block = ResidualBlock(only, self.dropouts, name=f"edge_{i}")
                x = block.clone(parent=self)(x, jnp.ones(1), train)
            return x

        reader = TransformerReader(
            self.vocabulary, self.units, self.dropouts, name="reader"
        )
        return reader(text, walk, train)
