"""Random search: what every other search must beat (Li and Talwalkar, 2019)."""

import numpy as np

from darts_jax.baselines.evaluation_budget import Proposals, budgeted
from darts_jax.spaces.graph import Space
from darts_jax.spaces.moves import uniform


@budgeted
def random_search(space: Space, rng: np.random.Generator) -> Proposals:
    """Genotypes drawn uniformly, each independent of all before."""
    while True:
        yield uniform(space, rng)
