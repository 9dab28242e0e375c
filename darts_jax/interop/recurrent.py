"""Arrays of published recurrent networks (Liu et al., 2019), by name.

``encoder.weight`` [word, unit] embeds and, as ``decoder.weight``, predicts, with
``decoder.bias``; ``rnns.0._W0`` [2 unit, 2 unit] takes a word and the hidden state,
``rnns.0._Ws.i`` [unit, 2 unit] makes node i. Matrices lie as ours do.
"""

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from darts_jax.interop.rows import Row, named_leaves
from darts_jax.models.functional import Initialized, initialize
from darts_jax.models.recurrent import RecurrentNetwork
from darts_jax.types import Text


def initialize_recurrent(net: RecurrentNetwork, key: PRNGKeyArray) -> Initialized:
    """Initializes a recurrent network.

    Args:
      net: the network.
      key: the key is consumed.

    Returns:
      Parameters, and the hidden state of one text.
    """
    one = jnp.zeros((1, 1), jnp.int32)
    text = Text(one, one, one == 0, one[0] == 0, one[0])
    return initialize(net, key, text, jnp.zeros(()))


def recurrent_rows(net: RecurrentNetwork, shapes: Initialized) -> tuple[Row, ...]:
    """Makes a row for each published array; both embeddings are one of ours.

    Args:
      net: the network.
      shapes: its parameters and statistics, or their shapes.
    """
    words = ("params", "reader", "vocabulary", "words")
    bias = ("params", "reader", "vocabulary", "bias")
    into = ("params", "reader", "recurrence", "into")
    nodes = ("params", "reader", "recurrence", "nodes")
    leaves = named_leaves(shapes)

    def row(
        name: str, path: tuple[str, ...], *index: int, twin: str | None = None
    ) -> Row:
        shape = leaves[path].shape[len(index) :]
        return Row(name, path, index, shape, tuple(range(len(shape))), twin)

    return (
        row("encoder.weight", words),
        row("decoder.weight", words, twin="encoder.weight"),
        row("decoder.bias", bias),
        row("rnns.0._W0", into),
        *(row(f"rnns.0._Ws.{i}", nodes, i) for i in range(leaves[nodes].shape[0])),
    )
