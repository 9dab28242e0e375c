"""The budget of a search by scores alone, and the trace that it leaves.

A baseline proposes genotypes and receives the score of each. It knows neither where the
scores come from nor when to stop: `budgeted` turns its proposals into a search,
``(space, evaluate, budget, rng, **settings) -> Trace``.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol

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


@dataclasses.dataclass(frozen=True)
class Batch:
    """Genotypes that are proposed together, as none depends on another's score.

    Attributes:
      genotypes: in the order in which they count.
      epochs: length of their trainings; 0: as long as the oracle usually trains.
    """

    genotypes: tuple[Genotype, ...]
    epochs: int = 0


class EvaluateAll(Protocol):
    """Scores of genotypes, side by side.

    Args:
      genotypes: to be scored.
      epochs: length of their trainings; 0: as long as usual.

    Returns:
      The evaluations, in order.
    """

    def __call__(
        self, genotypes: Sequence[Genotype], epochs: int
    ) -> Iterator[Evaluation]: ...


@dataclasses.dataclass(frozen=True)
class BatchEvaluate:
    """Scores genotypes side by side; called with one, it is an `Evaluate`.

    Attributes:
      evaluate_all: scores genotypes after trainings of some length.
      lengths: epochs that these may have, ascending; empty: only the usual length.
    """

    evaluate_all: EvaluateAll
    lengths: Sequence[int] = ()

    def __call__(self, genotype: Genotype) -> Evaluation:
        (evaluation,) = self.evaluate_all([genotype], 0)
        return evaluation


Proposals = Generator[Genotype | Batch, Any, None]
"""Yields a genotype, or a `Batch`; is sent its evaluation, or the list of theirs."""


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
    """A genotype with its score and its cost, as in `Evaluation`.

    Attributes:
      epochs: length of its training; 0: the oracle's usual one.
    """

    genotype: Genotype
    score: float
    cost: float
    epochs: int = 0


@dataclasses.dataclass(frozen=True)
class Trace:
    """Every evaluated genotype, in order; at least one."""

    asked: tuple[Asked, ...]

    @property
    def best(self) -> Asked:
        """The genotype of the highest score after the longest training.

        Of equals it is the first.
        """
        return max(self.asked, key=lambda one: (one.epochs, one.score))

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


def scheduled(
    propose: Callable[
        Concatenate[Space, Sequence[int], np.random.Generator, _P], Proposals
    ],
) -> Callable[
    Concatenate[Space, Evaluate, Budget, np.random.Generator, _P],
    Trace,
]:
    """Turns proposals of trainings of several lengths into a search under a budget.

    Args:
      propose: ``(space, lengths, rng, **settings) -> Proposals``, with the epochs that
        trainings may have.

    Returns:
      ``(space, evaluate, budget, rng, **settings) -> Trace``, which raises InputError
      as that of `budgeted`, and if ``evaluate`` is no `BatchEvaluate` with two lengths
      of training or more.
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
        lengths = evaluate.lengths if isinstance(evaluate, BatchEvaluate) else ()
        if len(lengths) < 2:
            raise InputError(
                f"{propose.__name__} wants scores after trainings of 2 lengths or "
                f"more, and here are {len(lengths)}: want real trainings of 2 epochs "
                "or more, or a table that has several lengths"
            )
        proposals = propose(space, lengths, rng, *args, **kwargs)
        return _spend(proposals, evaluate, budget)

    return search


def _spend(proposals: Proposals, evaluate: Evaluate, budget: Budget) -> Trace:
    asked: list[Asked] = []
    spent = 0.0
    proposed = next(proposals)
    while len(asked) < budget.evaluations and spent <= budget.cost:
        is_batch = isinstance(proposed, Batch)
        batch = proposed if isinstance(proposed, Batch) else Batch((proposed,))
        left = min(budget.evaluations - len(asked), len(batch.genotypes))
        genotypes = batch.genotypes[: int(left)]
        told = []
        for genotype, evaluation in _evaluate_all(evaluate, genotypes, batch.epochs):
            spent += evaluation.cost
            if spent > budget.cost:
                break
            asked.append(
                Asked(genotype, evaluation.score, evaluation.cost, batch.epochs)
            )
            told.append(evaluation)
        if len(asked) < budget.evaluations and spent <= budget.cost:
            proposed = proposals.send(told if is_batch else told[0])
    proposals.close()
    if not asked:
        raise InputError(
            f"one evaluation costs {spent:g}, more than the budget of {budget.cost:g}"
        )
    return Trace(tuple(asked))


def _evaluate_all(
    evaluate: Evaluate, genotypes: Sequence[Genotype], epochs: int
) -> Iterator[tuple[Genotype, Evaluation]]:
    """Yields genotypes with their evaluations, which may have been made together."""
    if isinstance(evaluate, BatchEvaluate):
        yield from zip(genotypes, evaluate.evaluate_all(genotypes, epochs), strict=True)
    else:
        for genotype in genotypes:
            yield genotype, evaluate(genotype)
