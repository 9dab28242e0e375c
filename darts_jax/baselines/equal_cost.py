"""Random genotypes of a given cost, which show what the cost alone is worth."""

from collections.abc import Callable

import numpy as np

from darts_jax.spaces import moves
from darts_jax.spaces.graph import Genotype, Space

NEAR = 0.05
"""A random genotype is of equal cost if it costs at most this share less."""

_WALKS = 30
_STEPS = 60


def random_of_cost(
    space: Space,
    cost: Callable[[Genotype], float],
    wanted: float,
    rng: np.random.Generator,
) -> Genotype:
    """Returns a random genotype whose cost is within ``[(1 - NEAR) * wanted, wanted]``.

    Random walks of mutations, each from a random genotype, reject every step that leads
    further away from that range. If none arrives, the nearest end is returned.

    Args:
      space: where genotypes come from.
      cost: genotype -> cost, in any unit.
      wanted: the highest cost, in that unit.
      rng: source of all random numbers.
    """
    low = (1 - NEAR) * wanted

    def distance(genotype: Genotype) -> float:
        paid = cost(genotype)
        return max(low - paid, paid - wanted, 0.0)

    ends = []
    for _ in range(_WALKS):
        genotype = moves.sample_genotype(space, rng)
        for _ in range(_STEPS):
            if not distance(genotype):
                return genotype
            other = moves.mutate(space, genotype, rng)
            if distance(other) <= distance(genotype):
                genotype = other
        ends.append(genotype)
    return min(ends, key=distance)
