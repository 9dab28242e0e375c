"""What a baseline spends, and what it leaves behind.

A baseline proposes genotypes and is told what each was worth; it knows neither where
the scores come from nor when to stop. `budgeted` makes of such proposals a search, the
same for all: ``(space, evaluate, budget, rng, **settings) -> Trace``.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Generator
from typing import Concatenate, ParamSpec

import numpy as np
from jaxtyping import Float

from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space

_P = ParamSpec("_P")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What asking for a genotype gave.

    Attributes:
      score: the higher the better.
      cost: above 0; seconds as a rule, measured or simulated.
    """

    score: float
    cost: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise InputError(f"score {self.score} of a genotype; want a finite number")
        if not (math.isfinite(self.cost) and self.cost > 0):
            raise InputError(f"cost {self.cost} of a genotype; want a number above 0")


Evaluate = Callable[[Genotype], Evaluation]
"""A table, paths of a supernet, training from scratch: whatever scores a genotype."""

Proposals = Generator[Genotype, Evaluation, None]
"""Yields a genotype, is sent its evaluation, and never ends."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much a search may spend; where both are given, whichever ends first.

    Attributes:
      cost: in the unit of `Evaluation.cost`.
      evaluations: how many, one genotype asked for twice counting twice.
    """

    cost: float = math.inf
    evaluations: float = math.inf

    def __post_init__(self) -> None:
        if not (self.cost > 0 and self.evaluations >= 1):
            raise InputError(f"{self}; want a cost above 0 and 1 evaluation or more")
        if math.inf == self.cost == self.evaluations:
            raise InputError("a budget without an end; want a cost or evaluations")


@dataclasses.dataclass(frozen=True)
class Asked:
    """A genotype and its evaluation."""

    genotype: Genotype
    score: float
    cost: float


@dataclasses.dataclass(frozen=True)
class Trace:
    """Every genotype that was asked for, in order; at least one."""

    asked: tuple[Asked, ...]

    @property
    def best(self) -> Asked:
        """The highest score, of equals the first."""
        return max(self.asked, key=lambda one: one.score)

    @property
    def cost(self) -> float:
        """Of all together."""
        return sum(one.cost for one in self.asked)

    @property
    def costs(self) -> Float[np.ndarray, " asked"]:
        """Spent by the time that each was known, float64."""
        return np.cumsum([one.cost for one in self.asked])

    @property
    def best_scores(self) -> Float[np.ndarray, " asked"]:
        """The best so far at each, float64."""
        return np.maximum.accumulate([one.score for one in self.asked])


Baseline = Callable[..., Trace]
"""``(space, evaluate, budget, rng, **settings) -> Trace``."""


def budgeted(
    propose: Callable[Concatenate[Space, np.random.Generator, _P], Proposals],
) -> Callable[
    Concatenate[Space, Evaluate, Budget, np.random.Generator, _P],
    Trace,
]:
    """Makes a search of ``(space, rng, **settings) -> Proposals``.

    What an evaluation costs is known when it is done: one that oversteps the budget is
    neither told nor recorded, so that no trace costs more than its budget (as Dong and
    Yang, 2020, count).
    """

    @functools.wraps(propose)
    def search(
        space: Space,
        evaluate: Evaluate,
        budget: Budget,
        rng: np.random.Generator,
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> Trace:
        proposals = propose(space, rng, *args, **kwargs)
        return _spend(proposals, evaluate, budget)

    return search


def _spend(proposals: Proposals, evaluate: Evaluate, budget: Budget) -> Trace:
    asked: list[Asked] = []
    spent = 0.0
    genotype = next(proposals)
    while len(asked) < budget.evaluations:
        evaluation = evaluate(genotype)
        spent += evaluation.cost
        if spent > budget.cost:
            break
        asked.append(Asked(genotype, evaluation.score, evaluation.cost))
        if len(asked) < budget.evaluations:
            genotype = proposals.send(evaluation)
    proposals.close()
    if not asked:
        raise InputError(
            f"one evaluation costs {spent:g}, more than the budget of {budget.cost:g}"
        )
    return Trace(tuple(asked))
