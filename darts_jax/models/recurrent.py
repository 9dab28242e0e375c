"""Recurrent cells along a text: the one-shot cell and a genotype's.

Liu et al. (2019) and their code. With one weight matrix a node,

    c, h = split(W_0 [x m_x, h' m_h]);  s_0 = h' + sigmoid(c) (tanh(h) - h')
    c, h = split(W_i (s_j m_h));        s_i = s_j + sigmoid(c) (f(h) - s_j)

and the next hidden state is the mean of the output states. The masks m stay the same
over a window. A node's matrix serves all edges into it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from darts_jax.models import stack
from darts_jax.models.language import (
    HIDDEN,
    Dropouts,
    LanguageNetwork,
    LanguageSupernet,
    Reading,
    Vocabulary,
    dropout_mask,
    locked_dropout,
    weights,
)
from darts_jax.models.operations.activations import ACTIVATIONS, get_activation
from darts_jax.models.operations.layers import BN_EPSILON, BN_MOMENTUM
from darts_jax.spaces.graph import Cell
from darts_jax.spaces.recurrent import KIND
from darts_jax.types import Mixture, Text

State = Float[Array, "batch unit"]

Moments = tuple[Float[Array, "state unit"], ...]
"""Running mean and variance of every state of a cell, or nothing."""

Node = Callable[[int, list[State], Float[Array, "unit twice"], State], State]
"""(number of the node from 0, states before, its matrix, mask of states) -> state."""


class Recurrence(nn.Module):
    """A cell along a window of text, with nodes of any kind.

    Attributes:
      units: number of units of every state.
      nodes: number of nodes.
      output: the states whose mean is the next hidden state.
      normalized: whether states pass batch norm, as in a search. In a test it is by
        the running moments of every state; the released code has one for all.
      dropouts: of which ``inputs`` and ``hidden`` apply.
      streams: number of texts that are read by turns; each has a hidden state to go on
        from.
    """

    units: int
    nodes: int
    output: Sequence[int]
    normalized: bool
    dropouts: Dropouts
    streams: int

    @nn.compact
    def __call__(
        self,
        embedded: Float[Array, "batch time unit"],
        text: Text,
        node: Node,
        train: bool,
    ) -> Float[Array, "batch time unit"]:
        """Computes the hidden states of every time.

        Args:
          embedded: the embedded tokens.
          text: the window.
          node: computes the state of a node.
          train: whether the network is trained.
        """
        units = self.units
        batch = len(embedded)
        dtype = embedded.dtype
        into = self.param("into", lambda key: weights(2 * units, 2 * units))
        each = self.param("nodes", lambda key: weights(self.nodes, units, 2 * units))
        rates = self.dropouts if train else Dropouts()
        keys = jax.random.split(stack.key_for(self, "noise"))
        inputs = embedded * dropout_mask(
            keys[0], (batch, 1, units), rates.inputs, dtype
        )
        mask = dropout_mask(keys[1], (batch, units), rates.hidden, dtype)

        def cell(last: State, entering: Array, moments: Moments) -> Any:
            gate, new = jnp.split(entering + (last * mask) @ into[units:], 2, axis=-1)
            first = last + jax.nn.sigmoid(gate) * (jnp.tanh(new) - last)
            state, moments = self._normal(0, first, moments, train)
            states = [state]
            for i in range(self.nodes):
                made = node(i, states, each[i], mask)
                state, moments = self._normal(i + 1, made, moments, train)
                states.append(state)
            return sum(states[i] for i in self.output) / len(self.output), moments

        def step(carry: Any, at: Any) -> Any:
            last, before = carry
            entering, present = at
            following, after = cell(last, entering, before)
            # Behind the end of a window nothing moves.
            following = jnp.where(present[:, None], following, last)
            after = jax.tree.map(
                lambda a, b: jnp.where(present[0], a, b), after, before
            )
            return (following, after), following

        # All times at once: the hidden half alone is left for the recurrence.
        entering = (inputs @ into[:units]).swapaxes(0, 1)
        hidden, moments = self._kept(batch, dtype)
        begin = _begin(hidden.value, text), tuple(kept.value for kept in moments)
        along = entering, jnp.asarray(text.present).T
        (last, after), states = lax.scan(step, begin, along)
        if not self.is_initializing():
            hidden.value = _stored(hidden.value, text, last)
            for kept, value in zip(moments, after, strict=True):
                kept.value = value
        return states.swapaxes(0, 1)

    def _kept(self, batch: int, dtype: Any) -> tuple[Any, tuple[Any, ...]]:
        """Returns variables: hidden states, and moments if states are normalised."""

        def variable(name: str, fill: Any, shape: tuple[int, ...]) -> Any:
            return self.variable("batch_stats", name, fill, shape, dtype)

        hidden = variable(HIDDEN, jnp.zeros, (batch, self.streams, self.units))
        if not self.normalized:
            return hidden, ()
        shape = self.nodes + 1, self.units
        mean = variable("mean", jnp.zeros, shape)
        var = variable("var", jnp.ones, shape)
        return hidden, (mean, var)

    def _normal(
        self, i: int, state: State, moments: Moments, train: bool
    ) -> tuple[State, Moments]:
        """Applies batch norm without scale and shift, with PyTorch's constants."""
        if not self.normalized:
            return state, moments
        running, spread = moments
        if not train:
            return (state - running[i]) * lax.rsqrt(spread[i] + BN_EPSILON), moments
        mean = state.mean(0)
        variance = state.var(0)
        unbiased = variance * (len(state) / max(len(state) - 1, 1))
        running = running.at[i].add(BN_MOMENTUM * (mean - running[i]))
        spread = spread.at[i].add(BN_MOMENTUM * (unbiased - spread[i]))
        return (state - mean) * lax.rsqrt(variance + BN_EPSILON), (running, spread)


def _begin(hidden: Float[Array, "batch stream unit"], text: Text) -> State:
    """Returns the hidden states that the texts go on from; zero where one begins."""
    stream = jnp.asarray(text.stream)[:, None, None]
    last = jnp.take_along_axis(hidden, stream, axis=1)[:, 0]
    return jnp.where(jnp.asarray(text.fresh)[:, None], jnp.zeros_like(last), last)


def _stored(
    hidden: Float[Array, "batch stream unit"], text: Text, last: State
) -> Float[Array, "batch stream unit"]:
    streams = jnp.arange(hidden.shape[1], dtype=jnp.int32)[None, :, None]
    mine = streams == jnp.asarray(text.stream)[:, None, None]
    return jnp.where(mine, last[:, None], hidden)


class RecurrentReader(nn.Module):
    """A recurrence between tied embeddings.

    Attributes:
      vocabulary: number of words.
      recurrence: the cell along the text, made with ``parent=None``.
    """

    vocabulary: int
    recurrence: Recurrence

    @nn.compact
    def __call__(self, text: Text, node: Node, train: bool) -> Reading:
        words = Vocabulary(self.vocabulary, self.recurrence.units, name="vocabulary")
        rates = self.recurrence.dropouts if train else Dropouts()
        keys = jax.random.split(stack.key_for(self, "noise"), 3)
        embedded = words.embed(keys[0], jnp.asarray(text.tokens), rates.words)
        embedded = locked_dropout(keys[1], embedded, rates.embedding)
        states = self.recurrence(embedded, text, node, train)
        dropped = locked_dropout(keys[2], states, rates.output)
        return Reading(
            words.losses(dropped, jnp.asarray(text.targets)), states, dropped
        )


class RecurrentSupernet(LanguageSupernet):
    """The cell of a space with every edge a mixture of its activations.

    Two streams go on: the text that trains and the one that validates.
    """

    @nn.compact
    def __call__(self, text: Text, mixture: Mixture, train: bool) -> Reading:
        """Reads a window of text with the mixture's weights [edge, op]."""
        cell = self.space.cells[KIND]
        given = mixture.weights[KIND]

        def node(
            i: int, states: list[State], matrix: Array, mask: State
        ) -> Float[Array, "batch unit"]:
            edges = cell.incoming(cell.inputs + i)
            sources = jnp.stack([states[cell.edges[e].source] for e in edges])
            gate, new = jnp.split((sources * mask) @ matrix, 2, axis=-1)
            shares = _activation_weights(cell, edges, given[jnp.array(edges)])
            # All activations of an edge have one gate, and one way round it.
            total = sum(shares.values(), start=jnp.zeros(len(edges), new.dtype))
            whole = total[:, None, None] * sources
            mixed = sum(
                (p[:, None, None] * ACTIVATIONS[f](new) for f, p in shares.items()),
                start=jnp.zeros_like(new),
            )
            return (whole + jax.nn.sigmoid(gate) * (mixed - whole)).sum(0)

        reader = _make_reader(
            self, nodes=cell.nodes, output=cell.output, normalized=True, streams=2
        )
        return reader(text, node, train)


class RecurrentNetwork(LanguageNetwork):
    """The cell of a genotype, one edge into every node, without batch norm."""

    @nn.compact
    def __call__(self, text: Text, drop_rate: Array, train: bool) -> Reading:
        """Reads a window of text; no path can be dropped."""
        del drop_rate
        choices = sorted(self.genotype.choices)

        def node(
            i: int, states: list[State], matrix: Array, mask: State
        ) -> Float[Array, "batch unit"]:
            source = states[choices[i].source]
            gate, new = jnp.split((source * mask) @ matrix, 2, axis=-1)
            new = get_activation(choices[i].operation)(new)
            return source + jax.nn.sigmoid(gate) * (new - source)

        reader = _make_reader(
            self,
            nodes=len(choices),
            output=self.genotype.output,
            normalized=False,
            streams=1,
        )
        return reader(text, node, train)


def _make_reader(
    net: LanguageSupernet | LanguageNetwork, **settings: Any
) -> RecurrentReader:
    """Makes the reader of a network; ``settings`` are those of its `Recurrence`."""
    recurrence = Recurrence(
        units=net.units, dropouts=net.dropouts, parent=None, **settings
    )
    return RecurrentReader(net.vocabulary, recurrence, name="reader")


def _activation_weights(
    cell: Cell, edges: Sequence[int], given: Float[Array, "edge op"]
) -> dict[str, Float[Array, " edge"]]:
    """Returns each activation's weight on every edge, 0 where an edge lacks it."""
    names = [name for name in cell.operations if name != "none"]
    found = {}
    for name in names:
        columns = [_column(cell.edges[e].operations, name) for e in edges]
        has = np.array([column is not None for column in columns])
        places = jnp.array([column or 0 for column in columns])[:, None]
        share = jnp.take_along_axis(given, places, axis=1)[:, 0]
        found[name] = jnp.where(has, share, jnp.zeros_like(share))
    return found


def _column(operations: Sequence[str], name: str) -> int | None:
    return operations.index(name) if name in operations else None
