"""The recurrent cell of DARTS (Liu et al., 2019), and published ones.

State 0 is made of the input and the last hidden state. Every node takes one earlier
state through one activation; the mean of the output states is the next hidden state.
This module needs the standard library only.
"""

from darts_jax.spaces.graph import (
    Cell,
    CellGenotype,
    Genotype,
    KeptEdge,
    Macro,
    Space,
    dense_edges,
)

KIND = "recurrent"
OPERATIONS = ("none", "tanh", "relu", "sigmoid", "identity")
NODES = 8

# One cell is the network, walked along the text.
MACRO = Macro(
    lambda cells: (KIND,),
    reductions=(),
    stem_multiplier=1,
    preprocesses=False,
    final_norm=False,
)

RECURRENT = Space(
    "recurrent",
    {KIND: Cell(1, NODES, dense_edges(1, NODES, OPERATIONS), (*range(1, NODES + 1),))},
    MACRO,
    discretization="one_strongest",
    family="recurrent",
)

_TABLE = {  # name: (source, operation and earlier state of every node, output)
    "ENAS_recurrent": (
        "Pham et al. (2018), as transcribed by Liu et al. (2019)",
        "tanh 0 | tanh 1 | relu 1 | tanh 3 | tanh 3 | relu 3 | relu 4 | relu 7 | "
        "relu 8 | relu 8 | relu 8",
        (2, 5, 6, 9, 10, 11),
    ),
    "DARTS_V1_recurrent": (
        "Liu et al. (2019), first order, searched on Penn Treebank",
        "relu 0 | relu 1 | tanh 2 | relu 3 | relu 4 | identity 1 | relu 5 | relu 1",
        (*range(1, 9),),
    ),
    "DARTS_V2_recurrent": (
        "Liu et al. (2019), second order, searched on Penn Treebank",
        "sigmoid 0 | relu 1 | relu 1 | identity 1 | tanh 2 | sigmoid 5 | tanh 3 | "
        "relu 5",
        (*range(1, 9),),
    ),
}


def _genotype(text: str, output: tuple[int, ...]) -> Genotype:
    nodes = [node.split() for node in text.split(" | ")]
    choices = tuple(
        KeptEdge(target, int(source), operation)
        for target, (operation, source) in enumerate(nodes, start=1)
    )
    return Genotype(RECURRENT.name, {KIND: CellGenotype(1, choices, output)})


PUBLISHED_RECURRENT: dict[str, Genotype] = {
    name: _genotype(text, output) for name, (_, text, output) in _TABLE.items()
}
SOURCES: dict[str, str] = {name: source for name, (source, _, _) in _TABLE.items()}
