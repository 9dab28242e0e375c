"""Predictor-guided search: a model of all scores so far proposes the next genotypes.

After BANANAS (White et al., 2021): its acquisition function, independent Thompson
sampling, and its candidates, mutations of the best. Genotypes are encoded by their
edges, not by paths.
"""

from collections.abc import Hashable

import numpy as np

from darts_jax.baselines.evaluation_budget import Batch, Proposals, budgeted
from darts_jax.baselines.predictors import PREDICTORS, Predictor, Question
from darts_jax.baselines.prior import Prior, draw_best
from darts_jax.errors import InputError, look_up
from darts_jax.proxies.ensemble import relative_ranks
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import genotype_key, mutate, sample_genotype


@budgeted
def predictor_search(
    space: Space,
    rng: np.random.Generator,
    initial: int = 10,
    batch: int = 10,
    candidates: int = 100,
    parents: int = 5,
    predictor: str | Predictor = "ensemble",
    prior: Prior | None = None,
    draws: int = 1000,
) -> Proposals:
    """Evaluates the candidates that a model fitted to all scores rates highest.

    White et al. (2021), algorithm 1. The score of each candidate is an independent draw
    from the normal distribution with the mean and standard deviation that the model
    predicts. The candidates of the largest draws are evaluated, and the model is fitted
    anew.

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      initial: number of genotypes drawn uniformly at the start.
      batch: number of genotypes evaluated between two fits.
      candidates: number of mutations to choose from; known genotypes are left out.
      parents: number of best genotypes that are mutated.
      predictor: the model, or its name in `predictors.PREDICTORS`; other settings of
        one are a `functools.partial` of it.
      prior: scores of genotypes, whose ranks are further features, and by which the
        first genotypes are the best of ``draws``; None: there are none.
      draws: number of genotypes that the first are chosen from.

    Yields:
      Genotypes to evaluate.

    Raises:
      InputError: a number below 1, or no such predictor.
    """
    numbers = (initial, batch, candidates, parents)
    if min(numbers) < 1:
        raise InputError(f"predictor_search wants numbers of 1 or more, got {numbers}")
    if isinstance(predictor, str):
        predictor = look_up(PREDICTORS, predictor, "predictor")
    known: dict[Hashable, tuple[float, Genotype]] = {}
    if prior is None:
        chosen = [sample_genotype(space, rng) for _ in range(initial)]
    else:
        chosen = draw_best(space, rng, prior, initial, draws)
    while True:
        evaluations = yield Batch(tuple(chosen))
        for genotype, evaluation in zip(chosen, evaluations, strict=True):
            known[genotype_key(genotype)] = evaluation.score, genotype
        offered = _candidates(space, known, candidates, parents, rng)
        if not offered:
            chosen = [sample_genotype(space, rng)]
            continue
        genotypes = [genotype for _, genotype in known.values()]
        every = [*genotypes, *offered]
        predicted = predictor(
            Question(
                space,
                known=genotypes,
                scores=np.array([score for score, _ in known.values()]),
                asked=offered,
                extra=None if prior is None else relative_ranks(prior(every)),
                most=candidates,
                seed=int(rng.integers(2**32)),
            )
        )
        drawn = rng.normal(predicted.mean, predicted.deviation)
        chosen = [offered[i] for i in np.argsort(-drawn, kind="stable")[:batch]]


def _candidates(
    space: Space,
    known: dict[Hashable, tuple[float, Genotype]],
    most: int,
    parents: int,
    rng: np.random.Generator,
) -> list[Genotype]:
    """Returns new mutations of the best genotypes, parent after parent, each once."""
    best = sorted(known.values(), key=lambda one: -one[0])[:parents]
    found: dict[Hashable, Genotype] = {}
    for i in range(most):
        _, parent = best[i % len(best)]
        child = mutate(space, parent, rng)
        if genotype_key(child) not in known:
            found[genotype_key(child)] = child
    return list(found.values())
