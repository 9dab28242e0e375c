"""Local search (White et al., 2020, Local Search is State of the Art for NAS)."""

from collections.abc import Hashable, Sequence

import numpy as np

from darts_jax.baselines.evaluation_budget import (
    Batch,
    Evaluation,
    Proposals,
    budgeted,
)
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space
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
        _note(scores, reached, (yield Batch(tuple(reached))))
        best = max(reached, key=lambda g: scores[genotype_key(g)])
        before = None
        while best is not before:
            near = list_neighbours(space, best)
            unknown: dict[Hashable, Genotype] = {}
            for i in rng.permutation(len(near)):
                if genotype_key(near[i]) not in scores:
                    unknown.setdefault(genotype_key(near[i]), near[i])
            if unknown:
                asked = [*unknown.values()]
                _note(scores, asked, (yield Batch(tuple(asked))))
            # `max` takes the first of equals: the climb stays where it is.
            before = best
            best = max([best, *near], key=lambda g: scores[genotype_key(g)])


def _note(
    scores: dict[Hashable, float],
    genotypes: Sequence[Genotype],
    evaluations: Sequence[Evaluation],
) -> None:
    for genotype, evaluation in zip(genotypes, evaluations, strict=True):
        scores[genotype_key(genotype)] = evaluation.score
