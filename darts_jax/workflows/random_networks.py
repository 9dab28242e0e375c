"""Random genotypes that a genotype is compared with."""

import numpy as np
from ml_collections import ConfigDict

from darts_jax.baselines.equal_cost import random_of_cost
from darts_jax.bilevel.discretization import random_genotype
from darts_jax.data.stream import AnyDataset
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.cost_limits import Pricing
from darts_jax.tasks.registry import make_pricing
from darts_jax.training.console import print_status


def draw_comparable(
    config: ConfigDict, dataset: AnyDataset, genotype: Genotype
) -> tuple[Pricing | None, list[Genotype]]:
    """Draws ``config.baseline.random_genotypes`` from the genotype's own space.

    If the settings name another space, that is printed: its networks would not compare.

    Args:
      config: the settings of a training.
      dataset: of the training.
      genotype: to compare with.

    Returns:
      Costs of genotypes, where random ones are to cost the same, or None; and the
      genotypes.

    Raises:
      InputError: the costs are not at hand, or the genotype's cannot be told.
    """
    count = config.baseline.random_genotypes
    if not count:
        return None, []
    if genotype.space != config.space:
        print_status(
            f"retrain: random genotypes are drawn from space {genotype.space!r}, the "
            f"genotype's own, and not from config.space, {config.space!r}"
        )
        config = _with_space(genotype.space, config)
    rng = np.random.default_rng(config.seed)
    if not config.baseline.equal_cost:
        space = get_space(config.space)
        return None, [random_genotype(space, rng) for _ in range(count)]
    pricing = make_pricing(config, dataset, config.baseline.equal_cost)
    wanted = pricing.cost(genotype)
    drawn = [
        random_of_cost(pricing.space, pricing.cost, wanted, rng) for _ in range(count)
    ]
    return pricing, drawn


def _with_space(space: str, config: ConfigDict) -> ConfigDict:
    """Returns the settings with another space, and its own rule for genotypes."""
    own = ConfigDict(config.to_dict())
    own.space = space
    own.search.discretization = "auto"
    return own
