"""The budget of a search by scores alone, and the trace that it leaves.

A baseline proposes genotypes and receives the score of each. It knows neither where the
scores come from nor when to stop: `budgeted` turns its proposals into a search,
``(space, evaluate, budget, rng, **settings) -> Trace``.
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
    """Score and cost of one genotype.

    Attributes:
      score: the higher the better.
      cost: above 0; usually seconds, measured or simulated.

    Raises:
      InputError: a score that is not finite, or a cost not above 0.
    """

    score: float
    cost: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise InputError(f"score {self.score} of a genotype; want a finite number")
        if not (math.isfinite(self.cost) and self.cost > 0):
            raise InputError(f"cost {self.cost} of a genotype; want a number above 0")


Evaluate = Callable[[Genotype], Evaluation]
"""Scores a genotype: by a table, a supernet's shared weights, training from scratch."""

Proposals = Generator[Genotype, Evaluation, None]
"""Yields a genotype, is sent its evaluation, and never ends."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """Largest cost and number of evaluations of a search; the first reached ends it.

    Attributes:
      cost: in the unit of `Evaluation.cost`.
      evaluations: their number; a genotype that is evaluated twice counts twice.

    Raises:
      InputError: a number that is too small, or neither is given.
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
    """A genotype with its score and its cost, as in `Evaluation`."""

    genotype: Genotype
    score: float
    cost: float


@dataclasses.dataclass(frozen=True)
class Trace:
    """Every evaluated genotype, in order; at least one."""

    asked: tuple[Asked, ...]

    @property
    def best(self) -> Asked:
        """The genotype of the highest score; of equals, the first."""
        return max(self.asked, key=lambda one: one.score)

    @property
    def cost(self) -> float:
        """Cost of all evaluations together."""
        return sum(one.cost for one in self.asked)

    @property
    def costs(self) -> Float[np.ndarray, " asked"]:
        """Cost of each evaluation and all before it, float64."""
        return np.cumsum([one.cost for one in self.asked])


Baseline = Callable[..., Trace]
"""``(space, evaluate, budget, rng, **settings) -> Trace``."""


def budgeted(
    propose: Callable[Concatenate[Space, np.random.Generator, _P], Proposals],
) -> Callable[
    Concatenate[Space, Evaluate, Budget, np.random.Generator, _P],
    Trace,
]:
    """Turns proposals into a search under a budget.

    The cost of an evaluation is known once it is done. One that exceeds the budget is
    dropped, so that no trace costs more than its budget (Dong and Yang, 2020).

    Args:
      propose: ``(space, rng, **settings) -> Proposals``.

    Returns:
      ``(space, evaluate, budget, rng, **settings) -> Trace``, which raises InputError
      if the first evaluation alone exceeds the budget.
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
