"""Budget of a run: the costs of its choices on disk, and genotypes that meet it."""

from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from darts_jax.cost.expected import ExpectedCost
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.cost_limits import Limit, has_budget
from darts_jax.tasks.registry import task_cost
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory, atomic_write


def write_costs(
    config: ConfigDict, dataset: AnyDataset, directory: RunDirectory
) -> None:
    """Writes the costs of a run's choices, so that a run is read without its data.

    Args:
      config: of the search; nothing is written where it has no budget.
      dataset: that the networks are for.
      directory: of the run.

    Raises:
      InputError: the run's budget was for networks of another size.
    """
    if not has_budget(config):
        return
    text = task_cost(config, dataset, config.search.costs).to_json()
    if directory.costs.exists() and directory.costs.read_text() != text:
        raise InputError(
            f"the budget in {directory.path} is of other networks: want the retrain "
            "settings and the costs that it was begun with, or another --run"
        )
    atomic_write(directory.costs, text)


def read_limit(config: ConfigDict, directory: RunDirectory) -> Limit | None:
    """Reads the budget of a run; None where it has none.

    Args:
      config: of the search.
      directory: of the run.

    Raises:
      InputError: the costs are missing or damaged.
    """
    if not has_budget(config):
        return None
    try:
        text = directory.costs.read_text()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {directory.costs}: {error}") from None
    return Limit.from_config(config, ExpectedCost.from_json(text))


def fit_to_budget(
    limit: Limit | None, genotype: Genotype, alpha: Mapping[str, np.ndarray]
) -> Genotype:
    """Returns a genotype that meets a budget, or comes as near as was found.

    Args:
      limit: the budget; without one the genotype is returned as it is.
      genotype: read off ``alpha``.
      alpha: kind of cell -> architecture parameters [edge, op].
    """
    return genotype if limit is None else limit.fit(genotype, alpha)


def print_budget(
    limit: Limit | None, genotype: Genotype, before: Genotype | None = None
) -> None:
    """Prints the cost of a genotype, and whether it meets the budget, if there is one.

    Args:
      limit: the budget.
      genotype: as `fit_to_budget` returned it.
      before: as `fit_to_budget` took it.
    """
    if limit is None:
        return
    cost = f"{limit.cost(genotype):.4g} of {limit.target:g} {limit.expected.unit}"
    if not limit.is_met(genotype):
        print_status(
            f"budget: not met: the cheapest genotype that was found costs {cost}"
        )
    elif before is not None and before != genotype:
        print_status(f"budget: {cost}, repaired from {limit.cost(before):.4g}")
    else:
        print_status(f"budget: {cost}")
