"""Local search (White et al., 2020, Local Search is State of the Art for NAS)."""

from collections.abc import Hashable

import numpy as np

from darts_jax.baselines.evaluation_budget import Proposals, budgeted
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Space
from darts_jax.spaces.moves import genotype_key, list_neighbours, sample_genotype


@budgeted
def local_search(space: Space, rng: np.random.Generator, initial: int = 1) -> Proposals:
    """Moves to the best neighbour while it is better, then starts again elsewhere.

    White et al. (2020), section 3. Neighbours are evaluated in random order. A genotype
    is evaluated again only if it is drawn again at a start.

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      initial: number of genotypes drawn uniformly at each start; the climb begins at
        the best of them.

    Yields:
      Genotypes to evaluate.

    Raises:
      InputError: a number below 1.
    """
    if initial < 1:
        raise InputError(f"initial {initial}; want 1 or more")
    scores: dict[Hashable, float] = {}
    while True:
        reached = [sample_genotype(space, rng) for _ in range(initial)]
        for genotype in reached:
            scores[genotype_key(genotype)] = (yield genotype).score
        best = max(reached, key=lambda g: scores[genotype_key(g)])
        before = None
        while best is not before:
            near = list_neighbours(space, best)
            for i in rng.permutation(len(near)):
                if genotype_key(near[i]) not in scores:
                    scores[genotype_key(near[i])] = (yield near[i]).score
            # `max` takes the first of equals: the climb stays where it is.
            before = best
            best = max([best, *near], key=lambda g: scores[genotype_key(g)])
