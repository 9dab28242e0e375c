"""Networks that read text, by the family of their space.

A new family is a row in each of three tables: a function that makes a module called as
`RecurrentSupernet` is, one that makes a module called as `RecurrentNetwork` is, both of
which return a `Reading`, and one that gives the cost of its operations.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from darts_jax.data.text import Corpus
from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters
from darts_jax.models.language import Dropouts
from darts_jax.models.operations.activations import get_activation
from darts_jax.models.operations.sequence import (
    SEQUENCE_OPERATIONS,
    require_sequence_operation,
)
from darts_jax.models.operations.soundness import require_sequence_sound
from darts_jax.models.recurrent import RecurrentNetwork, RecurrentSupernet
from darts_jax.models.transformer import (
    ResidualBlock,
    TransformerNetwork,
    TransformerSupernet,
)
from darts_jax.spaces import recurrent, transformer
from darts_jax.spaces.graph import CellGenotype, Genotype, Space

Parameters = dict[str, Float[np.ndarray, "edge op"]]


def _recurrent_supernet(
    settings: ConfigDict, corpus: Corpus, space: Space
) -> RecurrentSupernet:
    size = len(corpus.vocabulary)
    return RecurrentSupernet(space, size, settings.units, _dropouts(settings))


def _recurrent_network(
    settings: ConfigDict, corpus: Corpus, genotype: Genotype
) -> RecurrentNetwork:
    cell = _cell(genotype, recurrent.KIND)
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


def _transformer_supernet(
    settings: ConfigDict, corpus: Corpus, space: Space
) -> TransformerSupernet:
    cell = space.cells[transformer.KIND]
    units = settings.units
    _require_chain(space.name, [(edge.source, edge.target) for edge in cell.edges])
    for operation in cell.operations:
        _require_mixer(operation, units)
    size = len(corpus.vocabulary)
    return TransformerSupernet(space, size, units, _dropouts(settings))


def _transformer_network(
    settings: ConfigDict, corpus: Corpus, genotype: Genotype
) -> TransformerNetwork:
    cell = _cell(genotype, transformer.KIND)
    units = settings.units
    choices = sorted(cell.choices)
    _require_chain("the genotype", [(c.source, c.target) for c in choices])
    for choice in choices:
        _require_mixer(choice.operation, units)
    size = len(corpus.vocabulary)
    return TransformerNetwork(cell, size, units, _dropouts(settings))


def _require_mixer(operation: str, units: int) -> None:
    require_sequence_operation(operation, units)
    if operation in SEQUENCE_OPERATIONS:
        make = SEQUENCE_OPERATIONS[operation]
        require_sequence_sound(operation, make, units)


def _require_chain(what: str, edges: list[tuple[int, int]]) -> None:
    if edges != [(i, i + 1) for i in range(len(edges))]:
        raise InputError(
            f"edges of {what} are {edges}; a transformer wants a chain, one from every "
            "state to the next"
        )


def _cell(genotype: Genotype, kind: str) -> CellGenotype:
    if kind not in genotype.cells:
        raise InputError(f"the genotype has no {kind} cell, but {list(genotype.cells)}")
    return genotype.cells[kind]


def _activation_parameters(net: RecurrentSupernet) -> Parameters:
    # A node has its matrix, whatever the activation.
    return {kind: np.zeros(cell.shape) for kind, cell in net.space.cells.items()}


def _block_parameters(net: TransformerSupernet) -> Parameters:
    cell = net.space.cells[transformer.KIND]
    x = jnp.zeros((1, 1, net.units))
    one = jnp.ones(1)

    def millions(operation: str) -> float:
        block = ResidualBlock((operation,), Dropouts())
        made = jax.eval_shape(lambda: block.init(jax.random.key(0), x, one, False))
        return count_parameters(made.get("params", {})) / 1e6

    known = {operation: millions(operation) for operation in cell.operations}
    found = np.zeros(cell.shape)
    for e, edge in enumerate(cell.edges):
        found[e, : len(edge.operations)] = [known[name] for name in edge.operations]
    return {transformer.KIND: found}


def _dropouts(settings: ConfigDict) -> Dropouts:
    return Dropouts(**settings.dropouts)


SUPERNETS: dict[str, Callable[[ConfigDict, Corpus, Space], Any]] = {
    "recurrent": _recurrent_supernet,
    "transformer": _transformer_supernet,
}
NETWORKS: dict[str, Callable[[ConfigDict, Corpus, Genotype], Any]] = {
    "recurrent": _recurrent_network,
    "transformer": _transformer_network,
}
PARAMETERS: dict[str, Callable[[Any], Parameters]] = {
    "recurrent": _activation_parameters,
    "transformer": _block_parameters,
}
"""Supernet -> kind -> millions of parameters that a choice adds [edge, op]."""
