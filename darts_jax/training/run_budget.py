"""A budget in a run directory: what choices cost, and whether genotypes meet it."""

from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from darts_jax.cost.expected import ExpectedCost
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype
from darts_jax.training.console import print_status
from darts_jax.training.cost_limits import Limit, has_budget, make_expected
from darts_jax.training.directory import RunDirectory, atomic_write


def write_costs(
    config: ConfigDict, dataset: AnyDataset, directory: RunDirectory
) -> None:
    """Writes what choices cost, so that a run is read without its data.

    Raises:
      InputError: the run's budget was for networks of another size.
    """
    if not has_budget(config):
        return
    text = make_expected(config, dataset).to_json()
    if directory.costs.exists() and directory.costs.read_text() != text:
        raise InputError(
            f"the budget in {directory.path} is of other networks: want the retrain "
            "settings and the costs that it was begun with, or another --run"
        )
    atomic_write(directory.costs, text)


def read_limit(config: ConfigDict, directory: RunDirectory) -> Limit | None:
    """The budget of a run, if it has one.

    Raises:
      InputError: what choices cost is not there, or damaged.
    """
    if not has_budget(config):
        return None
    try:
        text = directory.costs.read_text()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {directory.costs}: {error}") from None
    return Limit.of(config, ExpectedCost.from_json(text))


def fit_to_budget(
    config: ConfigDict,
    directory: RunDirectory,
    genotype: Genotype,
    alpha: Mapping[str, np.ndarray],
) -> Genotype:
    """A search's genotype as it meets the budget, or as near as could be made.

    Args:
      alpha: the parameters that it was read off.
    """
    limit = read_limit(config, directory)
    return genotype if limit is None else limit.fitted(genotype, alpha)


def print_budget(
    config: ConfigDict,
    directory: RunDirectory,
    genotype: Genotype,
    before: Genotype | None = None,
) -> None:
    """Says what a genotype costs, and whether that meets the budget, if there is one.

    Args:
      before: what it was made of by `fit_to_budget`.
    """
    limit = read_limit(config, directory)
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
