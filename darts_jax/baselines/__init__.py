"""Searches by scores alone, under one budget and one interface.

Each is ``(space, evaluate, budget, rng, **settings) -> Trace``. To add one, write a
generator of proposals and register it: ``BASELINES["mine"] = budgeted(mine)``.
"""

import inspect

from darts_jax.analysis.comparison import Improvement, improvement
from darts_jax.baselines.evaluation_budget import (
    Asked,
    Baseline,
    Batch,
    BatchEvaluate,
    Budget,
    Evaluate,
    Evaluation,
    Proposals,
    Trace,
    budgeted,
)
from darts_jax.baselines.evolution import evolution
from darts_jax.baselines.local_search import local_search
from darts_jax.baselines.predictor import predictor_search
from darts_jax.baselines.prior import Prior, draw_best
from darts_jax.baselines.random_search import random_search
from darts_jax.baselines.reinforce import reinforce
from darts_jax.errors import InputError, unknown_name_error

BASELINES: dict[str, Baseline] = {
    "random_search": random_search,
    "evolution": evolution,
    "reinforce": reinforce,
    "local_search": local_search,
    "predictor_search": predictor_search,
}
"""Name -> search without gradients, within a budget of evaluations."""


def require_prior_taken(name: str) -> None:
    """Raises InputError unless a baseline takes scores that it has before it asks.

    Args:
      name: a key of ``BASELINES``.
    """

    def takes(search: Baseline) -> bool:
        return "prior" in inspect.signature(search).parameters

    if not takes(get_baseline(name)):
        able = [other for other, search in BASELINES.items() if takes(search)]
        raise InputError(f"{name} takes no proxies; want {', '.join(able)}")


def get_baseline(name: str) -> Baseline:
    """Returns the baseline of a name.

    Args:
      name: a key of ``BASELINES``.

    Raises:
      InputError: there is none; the message has the nearest name.
    """
    if name not in BASELINES:
        raise unknown_name_error("baseline", name, list(BASELINES))
    return BASELINES[name]


__all__ = [
    "BASELINES",
    "Asked",
    "Baseline",
    "Batch",
    "BatchEvaluate",
    "Budget",
    "Evaluate",
    "Evaluation",
    "Improvement",
    "Prior",
    "Proposals",
    "Trace",
    "budgeted",
    "draw_best",
    "evolution",
    "get_baseline",
    "improvement",
    "local_search",
    "predictor_search",
    "random_search",
    "reinforce",
    "require_prior_taken",
]
