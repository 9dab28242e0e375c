"""Limits of what a network may cost, in a search and as its genotype."""

import dataclasses
from collections.abc import Callable, Mapping

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


def has_budget(config: ConfigDict) -> bool:
    """Returns whether the cost of the architecture is limited.

    Args:
      config: settings of a run.
    """
    return bool(config.search.budget.rule != "none")


def make_cost_constraint(
    config: ConfigDict, expected_cost: Callable[[str], ExpectedCost]
) -> CostConstraint | None:
    """Makes the limit of a search's architecture; None without one.

    Args:
      config: settings of a run.
      expected_cost: unit of cost, as ``search.costs`` -> expected cost of the networks
        that would be retrained.

    Raises:
      InputError: the table of costs that is asked for is not at hand, or lacks
        operations of the network that is to be retrained.
    """
    if not has_budget(config):
        return None
    return budget_of_space(
        space_with_rule(config),
        config.search.relaxation,
        BUDGET_RULES[config.search.budget.rule],
        expected_cost(config.search.costs),
    )


def budget_of_space(
    space: Space, relaxation: str, rule: BudgetRule, expected: ExpectedCost
) -> CostConstraint:
    """Makes the limit of an architecture that is searched by a relaxation.

    Args:
      space: space whose rule of discretization gives the genotypes.
      relaxation: name of the relaxation.
      rule: weight of the expected excess in the architecture's loss.
      expected: expected cost of the network.
    """
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


def space_with_rule(config: ConfigDict) -> Space:
    """Returns the space with the rule by which the config reads its genotypes.

    Args:
      config: settings of a run.
    """
    space = get_space(config.space)
    name = config.search.discretization
    if name not in moves.RULES:
        return space
    return dataclasses.replace(space, discretization=name)


@dataclasses.dataclass(frozen=True)
class Pricing:
    """The exact cost of every genotype of a space.

    Attributes:
      space: space whose rule says what its genotypes keep.
      expected: expected cost of a network; exact at a genotype's one-hot weights.
    """

    space: Space
    expected: ExpectedCost

    def cost(self, genotype: Genotype) -> float:
        """Returns the cost of the genotype's network, in the unit of ``expected``.

        Args:
          genotype: genotype of the space.

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


@dataclasses.dataclass(frozen=True)
class Limit(Pricing):
    """A budget that genotypes are held to.

    Attributes:
      target: largest cost, in the unit of ``expected``.
      relaxation: name of the relaxation that the parameters were searched with.
    """

    target: float
    relaxation: str

    @classmethod
    def from_config(cls, config: ConfigDict, expected: ExpectedCost) -> "Limit":
        """Returns the limit that a search's settings ask for.

        Args:
          config: settings of a run.
          expected: expected cost of the networks that would be retrained.
        """
        return cls(
            space=space_with_rule(config),
            expected=expected,
            target=config.search.budget.target,
            relaxation=config.search.relaxation,
        )

    def is_met(self, genotype: Genotype) -> bool:
        """Returns whether a genotype costs no more than the target."""
        return self.cost(genotype) <= self.target

    def fit(
        self, genotype: Genotype, alpha: Mapping[str, Float[np.ndarray, "edge op"]]
    ) -> Genotype:
        """Returns the genotype, or one that meets the target at least loss of weight.

        Args:
          genotype: genotype of the space.
          alpha: kind -> the architecture parameters that it was read off.
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
