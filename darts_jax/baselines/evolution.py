"""Regularised evolution (Real et al., 2019)."""

import collections

import numpy as np

from darts_jax.baselines.evaluation_budget import Proposals, budgeted
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import mutate, uniform


@budgeted
def evolution(
    space: Space, rng: np.random.Generator, population: int = 10, sample: int = 3
) -> Proposals:
    """Aging evolution (Real et al., 2019, algorithm 1).

    Args:
      population: how many genotypes live; the first so many are drawn uniformly, and
        with each one more the oldest dies. NAS-Bench-201 takes 10, the paper 100.
      sample: of how many, drawn with replacement, the best has a mutated child.
        NAS-Bench-201 takes 3 (its released scripts), the paper 25.

    Raises:
      InputError: a number below 1.
    """
    if population < 1 or sample < 1:
        raise InputError(f"population {population}, sample {sample}; want 1 or more")
    living: collections.deque[tuple[float, Genotype]] = collections.deque(
        maxlen=population
    )
    while True:
        child = uniform(space, rng)
        if len(living) == population:
            drawn = [living[i] for i in rng.integers(population, size=sample)]
            _, parent = max(drawn, key=lambda one: one[0])
            child = mutate(space, parent, rng)
        evaluation = yield child
        living.append((evaluation.score, child))
