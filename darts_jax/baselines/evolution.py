"""Regularized evolution (Real et al., 2019)."""

import collections

import numpy as np

from darts_jax.baselines.evaluation_budget import Batch, Proposals, budgeted
from darts_jax.baselines.prior import Prior, draw_best
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Space
from darts_jax.spaces.moves import mutate, sample_genotype


@budgeted
def evolution(
    space: Space,
    rng: np.random.Generator,
    population: int = 10,
    sample: int = 3,
    prior: Prior | None = None,
    candidates: int = 1000,
) -> Proposals:
    """Mutates the best of a random sample of the newest genotypes.

    Aging evolution, Real et al. (2019), algorithm 1.

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      population: number of genotypes that live. As many are drawn uniformly at the
        start; each child then replaces the oldest. 10 in NAS-Bench-201, 100 in the
        paper.
      sample: number of genotypes, drawn with replacement, whose best is mutated. 3 in
        NAS-Bench-201's released scripts, 25 in the paper.
      prior: scores by which the first generation is the best of ``candidates`` draws;
        None: it is drawn uniformly.
      candidates: number of these draws.

    Yields:
      Genotypes to evaluate.

    Raises:
      InputError: a number below 1.
    """
    if population < 1 or sample < 1:
        raise InputError(f"population {population}, sample {sample}; want 1 or more")
    if prior is None:
        first = [sample_genotype(space, rng) for _ in range(population)]
    else:
        first = draw_best(space, rng, prior, population, candidates)
    evaluations = yield Batch(tuple(first))
    scores = (evaluation.score for evaluation in evaluations)
    living = collections.deque(zip(scores, first, strict=True), maxlen=population)
    while True:
        # A draw that does not count: the order of the random numbers is kept by it.
        sample_genotype(space, rng)
        drawn = [living[i] for i in rng.integers(len(living), size=sample)]
        _, parent = max(drawn, key=lambda one: one[0])
        child = mutate(space, parent, rng)
        evaluation = yield child
        living.append((evaluation.score, child))
