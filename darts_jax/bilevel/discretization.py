"""From saved architecture parameters to a genotype: pure functions on the host."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from darts_jax.spaces.graph import Cell, CellGenotype, Choice, Genotype, Space

Saved = Mapping[str, Float[np.ndarray, "edge op"]]
Discretization = Callable[[Space, Saved], Genotype]


def two_strongest(space: Space, alpha: Saved) -> Genotype:
    """The published rule of DARTS (Liu et al., 2019, section 2.4).

    Every node keeps the two incoming edges whose strongest operation has the largest
    softmax weight, with that operation; ``none`` takes part in the softmax and is
    never chosen. A node's edges come strongest first; ties go to the earlier source.
    """
    return _genotype(space, alpha, _two_strongest)


def argmax(space: Space, alpha: Saved) -> Genotype:
    """NAS-Bench-201's rule: every edge its strongest operation, ``none`` included."""
    return _genotype(space, alpha, _argmax)


DISCRETIZATIONS: dict[str, Discretization] = {
    "two_strongest": two_strongest,
    "argmax": argmax,
}


def random_genotype(space: Space, rng: np.random.Generator) -> Genotype:
    """A genotype drawn uniformly: the space's rule on exchangeable parameters."""
    alpha = {kind: rng.normal(size=cell.shape) for kind, cell in space.cells.items()}
    return DISCRETIZATIONS[space.discretization](space, alpha)


def _genotype(
    space: Space,
    alpha: Saved,
    rule: Callable[[Cell, np.ndarray], tuple[Choice, ...]],
) -> Genotype:
    cells = {
        kind: CellGenotype(
            cell.inputs, rule(cell, _weights(cell, alpha[kind])), cell.output
        )
        for kind, cell in space.cells.items()
    }
    return Genotype(space.name, cells)


def _weights(cell: Cell, logits: Float[np.ndarray, "edge op"]) -> np.ndarray:
    """Softmax in double precision; -1 where an edge has no such operation."""
    masked = np.where(cell.mask, np.asarray(logits, np.float64), -np.inf)
    powers = np.exp(masked - masked.max(-1, keepdims=True))
    return np.where(cell.mask, powers / powers.sum(-1, keepdims=True), -1.0)


def _two_strongest(cell: Cell, weights: np.ndarray) -> tuple[Choice, ...]:
    choices = []
    for target in range(cell.inputs, cell.states):
        candidates = []
        for e in cell.incoming(target):
            edge = cell.edges[e]
            allowed = [o for o, op in enumerate(edge.operations) if op != "none"]
            best = allowed[int(np.argmax(weights[e, allowed]))]
            candidates.append(
                (-weights[e, best], Choice(target, edge.source, edge.operations[best]))
            )
        strongest = sorted(candidates, key=lambda pair: pair[0])[:2]
        choices += [choice for _, choice in strongest]
    return tuple(choices)


def _argmax(cell: Cell, weights: np.ndarray) -> tuple[Choice, ...]:
    best = weights.argmax(-1)
    return tuple(
        Choice(edge.target, edge.source, edge.operations[o])
        for edge, o in zip(cell.edges, best, strict=True)
    )
