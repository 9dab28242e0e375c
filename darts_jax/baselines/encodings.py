"""Genotypes as numbers, for models that predict their scores."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import decision_nodes

_STATES = ("input", "node", "output")


class Graphs(NamedTuple):
    """Cells of genotypes as directed graphs; the order of the vertices means nothing.

    States of a cell are vertices, and so is the operation of every kept edge, between
    the two states that the edge joins. Cells of several kinds are parts of one graph.

    Attributes:
      labels: one-hot name of each vertex's operation, or its part in the cell; with
        several kinds of cells also its kind. All 0 where there is no vertex.
      edges: 1 where one vertex leads to another, [..., source, target].
      extra: further features of each genotype.
    """

    labels: Float[np.ndarray, "genotype vertex label"]
    edges: Float[np.ndarray, "genotype vertex vertex"]
    extra: Float[np.ndarray, "genotype feature"]


def encode(
    space: Space, genotypes: Sequence[Genotype]
) -> Float[np.ndarray, "genotype feature"]:
    """Returns the operation of every edge, one-hot; all 0 for an edge that is not kept.

    Args:
      space: the space of the genotypes.
      genotypes: one for each row.

    Returns:
      float32 [genotype, feature], features by kind, target, source and operation.
    """
    columns = {
        place: column
        for column, place in enumerate(
            (node.kind, node.targets[source], source, op)
            for node in decision_nodes(space)
            for source, operations in node.operations.items()
            for op in operations
        )
    }
    features = np.zeros((len(genotypes), len(columns)), np.float32)
    for row, genotype in enumerate(genotypes):
        for kind, cell in genotype.cells.items():
            for c in cell.choices:
                features[row, columns[kind, c.target, c.source, c.operation]] = 1
    return features


def encode_graphs(
    space: Space,
    genotypes: Sequence[Genotype],
    extra: Float[np.ndarray, "genotype feature"] | None = None,
) -> Graphs:
    """Returns genotypes as graphs of equal size.

    Args:
      space: the space of the genotypes.
      genotypes: one for each row.
      extra: further features of each genotype; None: there are none.
    """
    operations = (op for cell in space.cells.values() for op in cell.operations)
    kinds = list(space.cells) if len(space.cells) > 1 else []
    names = [*_STATES, *dict.fromkeys(operations), *kinds]
    columns = {name: column for column, name in enumerate(names)}
    kept = sum(node.keeps for node in decision_nodes(space))
    size = sum(cell.states for cell in space.cells.values()) + kept
    labels = np.zeros((len(genotypes), size, len(names)), np.float32)
    edges = np.zeros((len(genotypes), size, size), np.float32)
    for row, genotype in enumerate(genotypes):
        free = 0
        for kind, cell in space.cells.items():
            first = free
            free += cell.states
            for state in range(cell.states):
                labels[row, first + state, columns[_part(state, cell.inputs)]] = 1
            for state in genotype.cells[kind].output:
                labels[row, first + state, columns["output"]] = 1
            for choice in genotype.cells[kind].choices:
                labels[row, free, columns[choice.operation]] = 1
                edges[row, first + choice.source, free] = 1
                edges[row, free, first + choice.target] = 1
                free += 1
            if kinds:
                labels[row, first:free, columns[kind]] = 1
    if extra is None:
        extra = np.zeros((len(genotypes), 0), np.float32)
    return Graphs(labels, edges, extra)


def _part(state: int, inputs: int) -> str:
    return "input" if state < inputs else "node"
