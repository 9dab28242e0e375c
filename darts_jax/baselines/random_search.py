"""Random search, which every other search must beat (Li and Talwalkar, 2019)."""

import numpy as np

from darts_jax.baselines.evaluation_budget import Batch, Proposals, budgeted
from darts_jax.baselines.prior import Prior, draw_best
from darts_jax.spaces.graph import Space
from darts_jax.spaces.moves import sample_genotype

TOGETHER = 16
"""Genotypes that are drawn, and may be trained, at once; what they are, it leaves."""


@budgeted
def random_search(
    space: Space,
    rng: np.random.Generator,
    prior: Prior | None = None,
    candidates: int = 1000,
) -> Proposals:
    """Draws genotypes uniformly, each independent of all before.

    Bergstra and Bengio (2012). With a prior ``candidates`` draws come first, the best
    by their scores before the others.

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      prior: scores of genotypes; None: there are none.
      candidates: number of draws that are put in the order of their scores.

    Yields:
      Genotypes to evaluate.
    """
    if prior is not None:
        first = draw_best(space, rng, prior, candidates, candidates)
        for start in range(0, len(first), TOGETHER):
            yield Batch(tuple(first[start : start + TOGETHER]))
    while True:
        yield Batch(tuple(sample_genotype(space, rng) for _ in range(TOGETHER)))
