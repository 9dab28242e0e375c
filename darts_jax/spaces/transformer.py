"""Transformer chains over text: the token mixer and feed-forward width of every layer.

State 0 is the embedded text. Edges are token mixers and feed-forward layers in turn,
each into the next state, and all are kept. An operation is what the edge adds to its
state: attention with a number of heads or a causal depthwise convolution; a hidden
layer of a multiple of the units; or nothing (``skip_connect``). This module needs the
standard library only.
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


def chain_cell(layers: int, turns: Sequence[Sequence[str]]) -> Cell:
    """Returns a cell of one path.

    Args:
      layers: their number.
      turns: candidate operations of each edge of a layer.
    """
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
    {KIND: chain_cell(LAYERS, (MIXERS, FEED_FORWARDS))},
    MACRO,
    discretization="argmax",
    family="transformer",
)
