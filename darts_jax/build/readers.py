"""Networks that read text, by the family of their space.

To add a family: a function in each table, to a module that is called as
`RecurrentSupernet`, or as `RecurrentNetwork`, is, and gives a `Reading`.
"""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from darts_jax.data.text import Corpus
from darts_jax.errors import InputError
from darts_jax.models.language import Dropouts
from darts_jax.models.recurrent import RecurrentNetwork, RecurrentSupernet
from darts_jax.operations.activations import get_activation
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.recurrent import KIND


def _recurrent_supernet(
    settings: ConfigDict, corpus: Corpus, space: Space
) -> RecurrentSupernet:
    size = len(corpus.vocabulary)
    return RecurrentSupernet(space, size, settings.units, _dropouts(settings))


def _recurrent_network(
    settings: ConfigDict, corpus: Corpus, genotype: Genotype
) -> RecurrentNetwork:
    cell = genotype.cells.get(KIND)
    if cell is None:
        raise InputError(f"the genotype has no {KIND} cell, but {list(genotype.cells)}")
    for choice in cell.choices:
        get_activation(choice.operation)
    targets = sorted(choice.target for choice in cell.choices)
    if targets != list(range(1, len(targets) + 1)):
        raise InputError(
            f"edges of the genotype end in {targets}; a recurrent cell wants one edge "
            "into every node"
        )
    size = len(corpus.vocabulary)
    return RecurrentNetwork(cell, size, settings.units, _dropouts(settings))


def _dropouts(settings: ConfigDict) -> Dropouts:
    return Dropouts(**settings.dropouts)


SUPERNETS: dict[str, Callable[[ConfigDict, Corpus, Space], Any]] = {
    "recurrent": _recurrent_supernet
}
NETWORKS: dict[str, Callable[[ConfigDict, Corpus, Genotype], Any]] = {
    "recurrent": _recurrent_network
}
