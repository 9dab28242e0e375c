"""Local search (White et al., 2020, Local Search is State of the Art for NAS)."""

from collections.abc import Hashable

import numpy as np

from darts_jax.baselines.evaluation_budget import Proposals, budgeted
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Space
from darts_jax.spaces.moves import identity, neighbours, uniform


@budgeted
def local_search(space: Space, rng: np.random.Generator, initial: int = 1) -> Proposals:
    """To the best neighbour while it is better, then again from the start (section 3).

    A genotype whose score is known is not asked for again, but for those drawn at the
    start. Neighbours are asked for in random order.

    Args:
      initial: of how many genotypes drawn uniformly the best is where a climb begins.

    Raises:
      InputError: a number below 1.
    """
    if initial < 1:
        raise InputError(f"initial {initial}; want 1 or more")
    scores: dict[Hashable, float] = {}
    while True:
        reached = [uniform(space, rng) for _ in range(initial)]
        for genotype in reached:
            scores[identity(genotype)] = (yield genotype).score
        best, before = max(reached, key=lambda g: scores[identity(g)]), None
        while best is not before:
            near = neighbours(space, best)
            for i in rng.permutation(len(near)):
                if identity(near[i]) not in scores:
                    scores[identity(near[i])] = (yield near[i]).score
            # Of equals the first, which is where it stands.
            before = best
            best = max([best, *near], key=lambda g: scores[identity(g)])
