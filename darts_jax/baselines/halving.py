"""Many short trainings and few long ones: successive halving, Hyperband and BOHB."""

import functools
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from darts_jax.baselines.evaluation_budget import (
    Batch,
    Evaluation,
    Proposals,
    scheduled,
)
from darts_jax.baselines.learning_curves import EXTRAPOLATIONS, Extrapolation
from darts_jax.baselines.tree_sampler import TreeSampler
from darts_jax.errors import InputError, look_up
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import decision_nodes, sample_genotype

_Tell = Callable[[Genotype, int, float], object]
"""Hears of a genotype, the epochs of its training, and its score."""


@scheduled
def successive_halving(
    space: Space,
    lengths: Sequence[int],
    rng: np.random.Generator,
    eta: float = 3.0,
    extrapolation: str | Extrapolation = "last_score",
) -> Proposals:
    """Trains many random genotypes for a short time, and the best of them for longer.

    Jamieson and Talwalkar (2016), algorithm 1: each rung of trainings costs as much as
    the one before, and trains ``eta`` times longer as many times fewer genotypes. When
    the longest are done, it begins anew with other genotypes.

    Args:
      space: where genotypes come from.
      lengths: epochs that trainings may have, ascending.
      rng: source of all random numbers.
      eta: by how much longer the next trainings are at least.
      extrapolation: score by which genotypes are compared, of their scores so far; a
        function, or its name in `learning_curves.EXTRAPOLATIONS`.

    Yields:
      Genotypes to evaluate.

    Raises:
      InputError: ``eta`` is not above 1, or no such extrapolation.
    """
    rungs = choose_rungs(lengths, eta)
    expect = _get_extrapolation(extrapolation)
    draw = functools.partial(sample_genotype, space, rng)
    yield from _run_brackets([rungs], expect, draw)


@scheduled
def hyperband(
    space: Space,
    lengths: Sequence[int],
    rng: np.random.Generator,
    eta: float = 3.0,
    extrapolation: str | Extrapolation = "last_score",
) -> Proposals:
    """Repeats successive halving with ever longer first trainings of ever fewer.

    Li et al. (2018, Hyperband), algorithm 1: short trainings may mislead, so that each
    bracket trusts them less than the one before; the last one trains a few genotypes
    for the whole length. Then the brackets begin anew.

    Args:
      space: where genotypes come from.
      lengths: epochs that trainings may have, ascending.
      rng: source of all random numbers.
      eta: by how much longer the next trainings are at least.
      extrapolation: as for `successive_halving`.

    Yields:
      Genotypes to evaluate.

    Raises:
      InputError: ``eta`` is not above 1, or no such extrapolation.
    """
    rungs = choose_rungs(lengths, eta)
    expect = _get_extrapolation(extrapolation)
    draw = functools.partial(sample_genotype, space, rng)
    yield from _run_brackets(_brackets(rungs), expect, draw)


@scheduled
def bohb(
    space: Space,
    lengths: Sequence[int],
    rng: np.random.Generator,
    eta: float = 3.0,
    extrapolation: str | Extrapolation = "last_score",
    random_share: float = 1 / 3,
) -> Proposals:
    """Runs Hyperband on genotypes that a tree of Parzen estimators draws.

    Falkner et al. (2018, BOHB), algorithms 1 and 2: the estimators are fitted to the
    scores after the longest trainings of which there are enough, two more than
    decisions of a genotype plus one; until then, and for a share of genotypes always,
    the draw is uniform. The estimators are those of Optuna's sampler (Bergstra et al.,
    2011). All genotypes of a bracket are drawn before the first is trained.

    Args:
      space: where genotypes come from.
      lengths: epochs that trainings may have, ascending.
      rng: source of all random numbers.
      eta: by how much longer the next trainings are at least.
      extrapolation: as for `successive_halving`.
      random_share: of genotypes that are drawn uniformly.

    Yields:
      Genotypes to evaluate.

    Raises:
      InputError: ``eta`` is not above 1, a share outside 0 to 1, no such extrapolation,
        or Optuna is not installed.
    """
    if not 0 <= random_share <= 1:
        raise InputError(f"random_share is {random_share}; want 0 to 1")
    rungs = choose_rungs(lengths, eta)
    expect = _get_extrapolation(extrapolation)
    samplers = {
        length: TreeSampler(space, int(rng.integers(2**32))) for length in rungs
    }
    decisions = sum(
        node.keeps + (len(node.sources) > 1) for node in decision_nodes(space)
    )

    def tell(genotype: Genotype, epochs: int, score: float) -> None:
        samplers[epochs].tell(genotype, score)

    def draw() -> Genotype:
        is_random = rng.random() < random_share
        able = [s for s in samplers.values() if s.told >= decisions + 3]
        return (
            able[-1].draw() if able and not is_random else sample_genotype(space, rng)
        )

    yield from _run_brackets(_brackets(rungs), expect, draw, tell)


def choose_rungs(lengths: Sequence[int], eta: float) -> tuple[int, ...]:
    """Returns the lengths of the trainings that follow each other.

    From the longest down, each is the longest that is ``eta`` times shorter, or more.

    Args:
      lengths: epochs that trainings may have, ascending.
      eta: above 1.

    Raises:
      InputError: ``eta`` is not above 1.
    """
    if not eta > 1:
        raise InputError(f"eta is {eta}; want a number above 1")
    rungs = [lengths[-1]]
    while shorter := [length for length in lengths if length * eta <= rungs[0]]:
        rungs.insert(0, shorter[-1])
    return tuple(rungs)


def _brackets(rungs: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [rungs[start:] for start in range(len(rungs))]


def _first_count(rungs: tuple[int, ...], every: int) -> int:
    """Returns the number of genotypes that begin a bracket, so that all cost alike."""
    return math.ceil(every / len(rungs) * rungs[-1] / rungs[0])


def _ignore(*told: Any) -> None:
    """Hears of a score."""


def _run_brackets(
    brackets: Sequence[tuple[int, ...]],
    expect: Extrapolation,
    draw: Callable[[], Genotype],
    tell: _Tell = _ignore,
) -> Generator[Batch, list[Evaluation], None]:
    """Proposes the genotypes of one bracket after another, and begins anew."""
    every = max(map(len, brackets))
    while True:
        for rungs in brackets:
            drawn = [draw() for _ in range(_first_count(rungs, every))]
            yield from _run_bracket(drawn, rungs, expect, tell)


def _run_bracket(
    genotypes: Sequence[Genotype],
    rungs: tuple[int, ...],
    expect: Extrapolation,
    tell: _Tell,
) -> Generator[Batch, list[Evaluation], None]:
    """Proposes genotypes for ever longer trainings, ever fewer of them."""
    curves: list[list[float]] = [[] for _ in genotypes]
    living = [*range(len(genotypes))]
    for k, length in enumerate(rungs):
        told = yield Batch(tuple(genotypes[i] for i in living), length)
        for i, evaluation in zip(living, told, strict=True):
            curves[i].append(evaluation.score)
            tell(genotypes[i], length, evaluation.score)
        epochs = np.array(rungs[: k + 1], float)
        scores = {i: expect(epochs, np.array(curves[i]), rungs[-1]) for i in living}
        if length < rungs[-1]:
            kept = max(1, len(living) * length // rungs[k + 1])
            living = sorted(living, key=lambda i: -scores[i])[:kept]


def _get_extrapolation(given: str | Extrapolation) -> Extrapolation:
    if isinstance(given, str):
        return look_up(EXTRAPOLATIONS, given, "extrapolation")
    return given
