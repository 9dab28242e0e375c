"""Random search, which every other search must beat (Li and Talwalkar, 2019)."""

import numpy as np

from darts_jax.baselines.evaluation_budget import Batch, Proposals, budgeted
from darts_jax.spaces.graph import Space
from darts_jax.spaces.moves import sample_genotype

TOGETHER = 16
"""Genotypes that are drawn, and may be trained, at once; what they are, it leaves."""


@budgeted
def random_search(space: Space, rng: np.random.Generator) -> Proposals:
    """Draws genotypes uniformly, each independent of all before.

    Bergstra and Bengio (2012).

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.

    Yields:
      Genotypes to evaluate.
    """
    while True:
        yield Batch(tuple(sample_genotype(space, rng) for _ in range(TOGETHER)))
