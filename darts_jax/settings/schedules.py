"""Scalars by epoch, computed on the host and handed to the program as arrays."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from darts_jax.bilevel.step import ANY_SCALARS
from darts_jax.errors import InputError

Shape = Callable[[float, float, float], float]
"""(share of the epochs that are over, initial, final) -> value."""


def _linear(share: float, initial: float, final: float) -> float:
    return initial + (final - initial) * share


def _cosine(share: float, initial: float, final: float) -> float:
    return final + (initial - final) * (1 + math.cos(math.pi * share)) / 2


def _exponential(share: float, initial: float, final: float) -> float:
    return initial * (final / initial) ** share


SHAPES: dict[str, Shape] = {
    "linear": _linear,
    "cosine": _cosine,
    "exponential": _exponential,
}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """From ``initial`` at epoch 0 towards ``final``, one epoch after the last.

    That is how published code lets its rates fall; `parse` reads one from a setting.
    """

    initial: float
    final: float
    shape: str = "linear"

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Of ``"0.3"``, ``"0.03:0.3"`` or ``"10:0.1:cosine"``; raises InputError."""
        first, *rest = text.split(":")
        last, *shapes = rest or [first]
        try:
            schedule = cls(float(first), float(last), *shapes)
        except (TypeError, ValueError):
            raise InputError(
                f"schedule {text!r}; want a number, FROM:TO or FROM:TO:SHAPE"
            ) from None
        if schedule.shape not in SHAPES:
            raise InputError(f"schedule {text!r}; want a shape of {', '.join(SHAPES)}")
        if not math.isfinite(schedule.initial) or not math.isfinite(schedule.final):
            raise InputError(f"schedule {text!r}; want finite numbers")
        if schedule.shape == "exponential" and schedule.low <= 0:
            raise InputError(f"schedule {text!r}; an exponential's ends are above 0")
        return schedule

    @property
    def low(self) -> float:
        return min(self.initial, self.final)

    @property
    def high(self) -> float:
        return max(self.initial, self.final)

    @property
    def is_zero(self) -> bool:
        return self.initial == self.final == 0

    def at(self, epoch: int, epochs: int) -> float:
        return SHAPES[self.shape](epoch / epochs, self.initial, self.final)


def learning_rate(settings: ConfigDict, epoch: int) -> float:
    """The rate of a retraining epoch, after a linear warm-up.

    Args:
      settings: ``config.retrain``.
    """
    rates = settings.weights
    if epoch < settings.warmup_epochs:
        return rates.learning_rate * (epoch + 1) / settings.warmup_epochs
    if settings.schedule == "exponential":
        return rates.learning_rate * settings.decay_per_epoch**epoch
    span = max(settings.epochs - settings.warmup_epochs, 1)
    ends = rates.learning_rate, rates.final_learning_rate
    return Schedule(*ends, settings.schedule).at(epoch - settings.warmup_epochs, span)


# Scalars of `bilevel.step.ANY_SCALARS` -> the settings of ``search`` they follow.
SCHEDULED = {
    "temperature": "temperature",
    "auxiliary_skip": "auxiliary_skip",
    "strength": "corruption.strength",
    "valid_weight": "valid_weight",
    "radius": "radius",
    "hook": "hook_weight",
}


def search_scalars(settings: ConfigDict, epoch: int) -> dict[str, Any]:
    """What `bilevel.step.Search.step` takes, from ``config.search``."""
    weights, architecture = settings.weights, settings.architecture
    rates = Schedule(weights.learning_rate, weights.final_learning_rate, "cosine")

    def now(text: str) -> float:
        return Schedule.parse(text).at(epoch, settings.epochs)

    names = ANY_SCALARS["architecture"].keys() - {"learns"}
    learns = epoch >= resting_epochs(settings)
    return {
        "weights": _sgd_scalars(weights, rates.at(epoch, settings.epochs)),
        "architecture": {name: architecture[name] for name in names}
        | {"learns": float(learns)},
        "terms": {name: now(settings.terms[name]) for name in active_terms(settings)},
        "budget": {name: settings.budget[name] for name in ANY_SCALARS["budget"]},
    } | {name: now(_setting(settings, key)) for name, key in SCHEDULED.items()}


def resting_epochs(settings: ConfigDict) -> int:
    """The first epochs, in which the architecture stays as it is."""
    return math.floor(settings.warmup * settings.epochs)


def active_terms(settings: ConfigDict) -> tuple[str, ...]:
    """The terms that some epoch gives a weight."""
    return tuple(
        name
        for name, text in sorted(settings.terms.items())
        if not Schedule.parse(text).is_zero
    )


def training_scalars(settings: ConfigDict, epoch: int) -> dict[str, Any]:
    """What `training.Training.step` takes, from ``config.retrain``."""
    return {
        "weights": _sgd_scalars(settings.weights, learning_rate(settings, epoch)),
        "drop_path": settings.drop_path * epoch / settings.epochs,
        "auxiliary_weight": settings.auxiliary_weight,
        "label_smoothing": settings.label_smoothing,
        "averages": 0.0,  # until a score says otherwise: `Problem.adapt`
    }


def _setting(settings: ConfigDict, key: str) -> Any:
    for name in key.split("."):
        settings = settings[name]
    return settings


def _sgd_scalars(weights: ConfigDict, rate: float) -> dict[str, float]:
    return {
        "learning_rate": rate,
        "momentum": weights.momentum,
        "decay": weights.decay,
        "clip": weights.clip,
    }
