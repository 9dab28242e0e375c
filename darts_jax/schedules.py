"""Rates by epoch, computed on the host and handed to the program as arrays."""

import math
from typing import Any

from ml_collections import ConfigDict


def cosine(epoch: int, epochs: int, initial: float, final: float) -> float:
    """Half a cosine from ``initial`` at epoch 0 towards ``final`` at ``epochs``."""
    return final + (initial - final) * (1 + math.cos(math.pi * epoch / epochs)) / 2


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
    done = epoch - settings.warmup_epochs
    if settings.schedule == "linear":
        slope = rates.learning_rate - rates.final_learning_rate
        return rates.learning_rate - slope * done / span
    return cosine(done, span, rates.learning_rate, rates.final_learning_rate)


def search_scalars(settings: ConfigDict, epoch: int) -> dict[str, Any]:
    """What `bilevel.step.Search.step` takes, from ``config.search``."""
    weights = settings.weights
    rate = cosine(
        epoch, settings.epochs, weights.learning_rate, weights.final_learning_rate
    )
    architecture = settings.architecture
    return {
        "weights": _sgd_scalars(weights, rate),
        "architecture": {
            name: architecture[name]
            for name in ("learning_rate", "beta1", "beta2", "decay")
        },
    }


def training_scalars(settings: ConfigDict, epoch: int) -> dict[str, Any]:
    """What `training.Training.step` takes, from ``config.retrain``."""
    return {
        "weights": _sgd_scalars(settings.weights, learning_rate(settings, epoch)),
        "drop_path": settings.drop_path * epoch / settings.epochs,
        "auxiliary_weight": settings.auxiliary_weight,
        "label_smoothing": settings.label_smoothing,
    }


def _sgd_scalars(weights: ConfigDict, rate: float) -> dict[str, float]:
    return {
        "learning_rate": rate,
        "momentum": weights.momentum,
        "decay": weights.decay,
        "clip": weights.clip,
    }
