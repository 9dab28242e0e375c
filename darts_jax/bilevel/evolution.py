"""Evolution over a trained supernet, generation by generation, under a limit of cost.

Single path one-shot (Guo et al., 2020, algorithm 1). The genotypes of a generation are
proposed together, so that one program scores them all.
"""

import dataclasses
import math
from collections.abc import Callable, Generator, Hashable, Sequence

import numpy as np
from jaxtyping import Float

from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import (
    genotype_key,
    mutate,
    mutate_each,
    recombine,
    sample_genotype,
)

_TRIES = 10  # for each genotype of a generation, before one is drawn at random
_WALKS = 30
_STEPS = 100

Scores = Float[np.ndarray, " genotype"]


@dataclasses.dataclass(frozen=True)
class CostLimit:
    """A limit that genotypes are held to.

    Attributes:
      cost: of a genotype, in any unit.
      most: largest cost that is allowed, in that unit.
      unit: its name.
    """

    cost: Callable[[Genotype], float] = lambda genotype: 0.0
    most: float = math.inf
    unit: str = ""

    def is_met(self, genotype: Genotype) -> bool:
        """Returns whether a genotype costs no more than is allowed."""
        return self.cost(genotype) <= self.most


NO_LIMIT = CostLimit()


def evolve(
    space: Space,
    rng: np.random.Generator,
    limit: CostLimit,
    population: int = 50,
    generations: int = 20,
    parents: int = 10,
    mutation: float = 0.1,
) -> Generator[tuple[Genotype, ...], Scores, None]:
    """Proposes generations: the first at random, then children of the best so far.

    Half of a generation takes every decision from one of two parents, half is a parent
    of whose decisions some are drawn anew. No genotype is proposed twice, and each
    meets the limit. What is found nowhere near is drawn at random.

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      limit: that genotypes meet.
      population: genotypes of a generation.
      generations: their number, the first included.
      parents: best genotypes so far, of which children are made.
      mutation: probability with which a decision is drawn anew.

    Yields:
      The genotypes of a generation, fewer where the space has no more; is sent their
      scores, of which more is better.

    Raises:
      InputError: no genotype that meets the limit was found.
    """
    seen: set[Hashable] = set()
    best: list[tuple[float, Genotype]] = []

    def fresh(make: Callable[[], Genotype], count: int) -> list[Genotype]:
        found: list[Genotype] = []
        for _ in range(_TRIES * count):
            if len(found) == count:
                break
            one = make()
            key = genotype_key(one)
            if key not in seen and space.has(one) and limit.is_met(one):
                seen.add(key)
                found.append(one)
        return found

    def any_parent() -> Genotype:
        return best[int(rng.integers(len(best)))][1]

    def cross() -> Genotype:
        return recombine(space, any_parent(), any_parent(), rng)

    def change() -> Genotype:
        return mutate_each(space, any_parent(), mutation, rng)

    def draw() -> Genotype:
        return draw_within(space, rng, limit)

    for generation in range(generations):
        proposed: list[Genotype] = []
        if generation:
            proposed += fresh(cross, population // 2)
            proposed += fresh(change, population // 2)
        proposed += fresh(draw, population - len(proposed))
        if not proposed:
            return
        scores = yield tuple(proposed)
        scored = zip(map(float, scores), proposed, strict=True)
        # The sort keeps the order of equals: the first that was found comes first.
        best = sorted([*best, *scored], key=lambda one: -one[0])[:parents]


def draw_within(space: Space, rng: np.random.Generator, limit: CostLimit) -> Genotype:
    """Draws a genotype that meets a limit: at random, or by steps that cost less.

    Args:
      space: where it comes from.
      rng: source of random numbers.
      limit: that it meets.

    Raises:
      InputError: none was found.
    """
    cheapest = math.inf
    for _ in range(_WALKS):
        genotype = sample_genotype(space, rng)
        cost = limit.cost(genotype)
        for _ in range(_STEPS):
            if cost <= limit.most:
                break
            other = mutate(space, genotype, rng)
            paid = limit.cost(other)
            if paid <= cost:
                genotype = other
                cost = paid
        if cost <= limit.most:
            return genotype
        cheapest = min(cheapest, cost)
    raise InputError(
        f"no genotype of space {space.name!r} was found that costs at most "
        f"{limit.most:g} {limit.unit}; the cheapest costs {cheapest:g}: want a larger "
        "limit"
    )


def run_generations(
    proposals: Generator[tuple[Genotype, ...], Scores, None],
    score: Callable[[Sequence[Genotype]], Scores],
) -> list[tuple[Genotype, float]]:
    """Scores every generation, and returns all genotypes in order, with their scores.

    Args:
      proposals: of `evolve`.
      score: genotypes -> their scores.
    """
    asked: list[tuple[Genotype, float]] = []
    scores: Scores | None = None
    while True:
        try:
            genotypes = next(proposals) if scores is None else proposals.send(scores)
        except StopIteration:
            return asked
        scores = score(genotypes)
        asked += zip(genotypes, map(float, scores), strict=True)
