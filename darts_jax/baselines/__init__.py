"""Searches by scores alone, under one budget and one interface.

Each is ``(space, evaluate, budget, rng, **settings) -> Trace``. To add one, write a
generator of proposals and register it: ``BASELINES["mine"] = budgeted(mine)``, or
``scheduled(mine)`` of proposals that say for how long networks are trained.
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
    scheduled,
)
from darts_jax.baselines.evolution import evolution
from darts_jax.baselines.halving import bohb, hyperband, successive_halving
from darts_jax.baselines.learning_curves import EXTRAPOLATIONS, Extrapolation
from darts_jax.baselines.local_search import local_search
from darts_jax.baselines.predictor import predictor_search
from darts_jax.baselines.predictors import (
    PREDICTORS,
    Prediction,
    Predictor,
    Question,
)
from darts_jax.baselines.prior import Prior, draw_best
from darts_jax.baselines.random_search import random_search
from darts_jax.baselines.reinforce import reinforce
from darts_jax.errors import InputError, look_up

BASELINES: dict[str, Baseline] = {
    "random_search": random_search,
    "evolution": evolution,
    "reinforce": reinforce,
    "local_search": local_search,
    "predictor_search": predictor_search,
    "successive_halving": successive_halving,
    "hyperband": hyperband,
    "bohb": bohb,
}
"""Name -> search without gradients, within a budget of evaluations."""


def takes_setting(search: Baseline, setting: str) -> bool:
    """Returns whether a baseline has a setting, such as ``predictor``.

    Args:
      search: of ``BASELINES``.
      setting: name of a keyword argument.
    """
    return setting in inspect.signature(search).parameters


def require_prior_taken(name: str) -> None:
    """Raises InputError unless a baseline takes scores that it has before it asks.

    Args:
      name: a key of ``BASELINES``.
    """
    if not takes_setting(look_up(BASELINES, name, "baseline"), "prior"):
        able = [n for n, search in BASELINES.items() if takes_setting(search, "prior")]
        raise InputError(f"{name} takes no proxies; want {', '.join(able)}")


__all__ = [
    "BASELINES",
    "EXTRAPOLATIONS",
    "PREDICTORS",
    "Asked",
    "Baseline",
    "Batch",
    "BatchEvaluate",
    "Budget",
    "Evaluate",
    "Evaluation",
    "Extrapolation",
    "Improvement",
    "Prediction",
    "Predictor",
    "Prior",
    "Proposals",
    "Question",
    "Trace",
    "bohb",
    "budgeted",
    "draw_best",
    "evolution",
    "hyperband",
    "improvement",
    "local_search",
    "predictor_search",
    "random_search",
    "reinforce",
    "require_prior_taken",
    "scheduled",
    "successive_halving",
    "takes_setting",
]
