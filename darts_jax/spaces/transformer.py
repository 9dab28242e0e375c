"""Chains of residual blocks over a text: which mixes tokens how, and how wide.

State 0 is the embedded text. Edges mix tokens and feed forward by turns, each into the
next state; all edges are kept, and what is decided of each is what it adds to its
state: attention of so many heads or a causal depthwise convolution, then a hidden layer
of so many times the units, or, of either, nothing. This module needs the standard
library only.
"""

from collections.abc import Sequence

from darts_jax.spaces.graph import Cell, Edge, Macro, Space

KIND = "transformer"
MIXERS = (
    *("skip_connect", "attention_2", "attention_4", "attention_8"),
    *("causal_conv_3", "causal_conv_7"),
)
FEED_FORWARDS = ("skip_connect", "ffn_1x", "ffn_2x", "ffn_4x")
LAYERS = 4


def chain(layers: int, *turns: Sequence[str]) -> Cell:
    """A cell of one path, in every layer of which the edges may be these by turns."""
    lists = tuple(map(tuple, turns)) * layers
    edges = tuple(Edge(i, i + 1, names) for i, names in enumerate(lists))
    return Cell(1, len(edges), edges, output=(len(edges),))


# One cell is the network.
MACRO = Macro(
    lambda cells: (KIND,),
    reductions=(),
    stem_multiplier=1,
    preprocesses=False,
    final_norm=True,
)

TRANSFORMER = Space(
    "transformer",
    {KIND: chain(LAYERS, MIXERS, FEED_FORWARDS)},
    MACRO,
    discretization="argmax",
    family="transformer",
)
