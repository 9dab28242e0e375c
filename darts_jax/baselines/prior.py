"""Scores that a search has of every genotype before it asks for one.

They come from proxies of untrained networks, or from whatever else costs little beside
an evaluation.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from darts_jax.errors import InputError
from darts_jax.proxies.ensemble import average_ranks
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import genotype_key, sample_genotype

Prior = Callable[[Sequence[Genotype]], Float[np.ndarray, "genotype score"]]
"""Scores of genotypes, several of each; higher for those that may be better."""


def draw_best(
    space: Space,
    rng: np.random.Generator,
    prior: Prior,
    count: int,
    candidates: int,
) -> list[Genotype]:
    """Returns the best of uniformly drawn genotypes by the mean rank of their scores.

    Abdelfattah et al. (2021), section 4.2, "zero-cost warmup".

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      prior: scores of genotypes.
      count: number of genotypes that are returned, best first, each once.
      candidates: number of draws.

    Raises:
      InputError: fewer candidates than genotypes.
    """
    if candidates < count:
        raise InputError(f"candidates is {candidates}; want {count} or more")
    drawn = [sample_genotype(space, rng) for _ in range(candidates)]
    different = list({genotype_key(genotype): genotype for genotype in drawn}.values())
    order = np.argsort(-average_ranks(prior(different)), kind="stable")
    return [different[i] for i in order[:count]]
