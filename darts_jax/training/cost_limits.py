"""Settings to what a network may cost, in a search and as its genotype."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from darts_jax.bilevel.cost_constraint import (
    BUDGET_RULES,
    BudgetRule,
    CostConstraint,
    log_probability_of,
    repair_genotype,
)
from darts_jax.bilevel.discretization import WEIGHT_READERS, one_hot, weight_reader
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.cost.expected import ExpectedCost
from darts_jax.errors import InputError
from darts_jax.spaces import get_space, moves
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.tasks.registry import get_task


def make_budget(config: ConfigDict, dataset: Any) -> CostConstraint | None:
    """The limit of a search's architecture, if it has one.

    Raises:
      InputError: the table of costs that is asked for is not at hand, or lacks
        operations of the network that is to be retrained.
    """
    if not has_budget(config):
        return None
    rule, expected = (
        BUDGET_RULES[config.search.budget.rule],
        make_expected(config, dataset),
    )
    return budget_of(_ruled_space(config), config.search.relaxation, rule, expected)


def budget_of(
    space: Space, relaxation: str, rule: BudgetRule, expected: ExpectedCost
) -> CostConstraint:
    """The limit of a search by a relaxation; the space's rule is that of genotypes."""
    own = RELAXATIONS[relaxation]
    read = relaxation if relaxation in WEIGHT_READERS else "softmax"
    return CostConstraint(
        rule,
        expected,
        space,
        moves.RULES[space.discretization],
        own.cost_relaxation or own.function,
        RELAXATIONS[read].function,
    )


def has_budget(config: ConfigDict) -> bool:
    """Whether what the architecture costs is limited."""
    return bool(config.search.budget.rule != "none")


def make_expected(config: ConfigDict, dataset: Any) -> ExpectedCost:
    """What the networks cost that ``retrain`` would train, by ``search.costs``.

    Raises:
      InputError: as `make_budget` does.
    """
    return get_task(config).expected(config, dataset, config.search.costs)


@dataclasses.dataclass(frozen=True)
class Pricing:
    """What the genotypes of a space cost, exactly.

    Attributes:
      space: with the rule that says what its genotypes keep.
    """

    space: Space
    expected: ExpectedCost

    def cost(self, genotype: Genotype) -> float:
        """Of the genotype's network.

        Raises:
          InputError: the genotype is none of the space.
        """
        try:
            chosen = one_hot(self.space, genotype).weights.items()
        except (KeyError, ValueError):
            raise InputError(
                f"the genotype, of {genotype.space}, has choices that space "
                f"{self.space.name!r} has not, so that its cost is not known"
            ) from None
        return float(self.expected({k: w.astype(np.float64) for k, w in chosen}))


def make_pricing(config: ConfigDict, dataset: Any, costs: str) -> Pricing:
    """Of the networks that ``retrain`` would train.

    Args:
      costs: what is counted, as ``search.costs``.

    Raises:
      InputError: as `make_budget` does.
    """
    expected = get_task(config).expected(config, dataset, costs)
    return Pricing(_ruled_space(config), expected)


@dataclasses.dataclass(frozen=True)
class Limit(Pricing):
    """A budget as genotypes are held to it.

    Attributes:
      target: in the unit of what is expected.
      relaxation: that the parameters were searched with.
    """

    target: float
    relaxation: str

    @classmethod
    def of(cls, config: ConfigDict, expected: ExpectedCost) -> "Limit":
        """That of a search's settings."""
        settings = config.search
        target = settings.budget.target
        return cls(_ruled_space(config), expected, target, settings.relaxation)

    def is_met(self, genotype: Genotype) -> bool:
        """Whether the genotype costs no more than the target."""
        return self.cost(genotype) <= self.target

    def fitted(
        self, genotype: Genotype, alpha: Mapping[str, Float[np.ndarray, "edge op"]]
    ) -> Genotype:
        """The genotype, or one that meets the target at the least loss of weight.

        Args:
          alpha: the parameters that it was read off.
        """
        if self.is_met(genotype):
            return genotype
        read = weight_reader(self.relaxation)
        cells = self.space.cells.items()
        weight = log_probability_of(
            {kind: read(cell, alpha[kind]) for kind, cell in cells}
        )
        return repair_genotype(
            self.space,
            genotype,
            lambda other: weight(one_hot(self.space, other).weights),
            self.cost,
            self.target,
        )


def _ruled_space(config: ConfigDict) -> Space:
    """The space with the rule that says what its genotypes keep."""
    space, name = get_space(config.space), config.search.discretization
    if name not in moves.RULES:
        return space
    return dataclasses.replace(space, discretization=name)
