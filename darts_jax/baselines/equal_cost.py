"""Random genotypes that cost what another does: what the cost alone is worth."""

from collections.abc import Callable

import numpy as np

from darts_jax.spaces import moves
from darts_jax.spaces.graph import Genotype, Space

NEAR = 0.05
"""A random network counts as of equal cost if it costs so much less, at most."""

_WALKS, _STEPS = 30, 60


def random_of_cost(
    space: Space,
    cost: Callable[[Genotype], float],
    wanted: float,
    rng: np.random.Generator,
) -> Genotype:
    """A random genotype that costs no more than wanted, and less by ``NEAR`` at most.

    Walks of random changes, each from a random one, that take no step away from that;
    if none arrives, the nearest that they came.
    """
    low, high = (1 - NEAR) * wanted, wanted

    def distance(genotype: Genotype) -> float:
        paid = cost(genotype)
        return max(low - paid, paid - high, 0.0)

    ends = []
    for _ in range(_WALKS):
        genotype = moves.uniform(space, rng)
        for _ in range(_STEPS):
            if not distance(genotype):
                return genotype
            other = moves.mutate(space, genotype, rng)
            if distance(other) <= distance(genotype):
                genotype = other
        ends.append(genotype)
    return min(ends, key=distance)
