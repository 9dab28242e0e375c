"""The scalars of each epoch's steps, from the settings that name them in the schema.

They are computed on the host and handed to the compiled program as arrays.
"""

import math
from typing import Any

from ml_collections import ConfigDict

from darts_jax.bilevel.elastic import AXES
from darts_jax.settings.config import flatten
from darts_jax.settings.schedules import FLAT_EPOCHS, FLATTENED, Schedule
from darts_jax.settings.schema import all_settings
from darts_jax.types import Scalars


def search_scalars(settings: ConfigDict, epoch: int) -> Scalars:
    """Returns the scalars of a search's steps, as `Search.step` takes them.

    Args:
      settings: ``config.search``.
      epoch: from 0.

    Returns:
      The tree of numbers that the schema names: by its name each setting's number or
      what its schedule has reached. ``weights.learning_rate`` falls by a cosine, of
      which a warm-up takes a share that rises, ``architecture.learns`` is 0 while the
      architecture rests, and ``terms`` are those that some epoch weighs.
    """
    scalars = _scalars("search", settings, epoch)
    rates = settings.weights
    cosine = Schedule(rates.learning_rate, rates.final_learning_rate, "cosine")
    span = rates.cosine_epochs or settings.epochs
    rise = min(1.0, (epoch + 1) / max(rates.warmup_epochs, 1))
    scalars["weights"]["learning_rate"] = rise * cosine.at(epoch, span)
    scalars["architecture"]["learns"] = float(epoch >= resting_epochs(settings))
    terms = scalars.get("terms", {})
    scalars["terms"] = {name: terms[name] for name in active_terms(settings)}
    if has_elastic(settings):
        scalars["elastic"] = {
            axis: elastic_rank(settings.elastic, axis, epoch) for axis in AXES
        }
    if settings.decisions.every:
        past = epoch - settings.decisions.first
        scalars["decisions"] = float(max(past // settings.decisions.every + 1, 0))
    return scalars


def training_scalars(settings: ConfigDict, epoch: int) -> Scalars:
    """Returns the scalars of a retraining's steps, as `Training.step` takes them.

    Args:
      settings: ``config.retrain``.
      epoch: from 0.

    Returns:
      The tree of numbers that the schema names, with the learning rate of this epoch
      and the share of ``drop_path`` that its ramp has reached. ``averages`` is 0 until
      a score says otherwise (`Problem.adapt`).
    """
    scalars = _scalars("retrain", settings, epoch)
    scalars["weights"]["learning_rate"] = learning_rate(settings, epoch)
    scalars["drop_path"] = settings.drop_path * epoch / settings.epochs
    scalars["averages"] = 0.0
    return scalars


def learning_rate(settings: ConfigDict, epoch: int) -> float:
    """Returns the learning rate of a retraining's epoch, after a linear warm-up.

    The schedule begins behind the warm-up; ``flattened`` begins with it, and the
    warm-up takes a share of it that rises (PC-DARTS, Xu et al., 2020, code).

    Args:
      settings: ``config.retrain``.
      epoch: from 0.
    """
    rates = settings.weights
    if settings.schedule == FLATTENED:
        rise = min(1.0, (epoch + 1) / max(settings.warmup_epochs, 1))
        return rise * rates.learning_rate * flattened_share(epoch, settings.epochs)
    if epoch < settings.warmup_epochs:
        return rates.learning_rate * (epoch + 1) / settings.warmup_epochs
    if settings.schedule == "exponential":
        return rates.learning_rate * settings.decay_per_epoch**epoch
    span = max(settings.epochs - settings.warmup_epochs, 1)
    fall = Schedule(rates.learning_rate, rates.final_learning_rate, settings.schedule)
    return fall.at(epoch - settings.warmup_epochs, span)


def flattened_share(epoch: int, epochs: int) -> float:
    """Returns the share of the first rate by ImageNet's schedule of PC-DARTS's code.

    It falls on a line that would end at 0 five epochs early; the last five fall from a
    fifth of a step on that line to 0 behind the last.

    Args:
      epoch: from 0.
      epochs: how many there are, more than `FLAT_EPOCHS`.
    """
    left = epochs - epoch
    line = epochs - FLAT_EPOCHS
    if left > FLAT_EPOCHS:
        return (left - FLAT_EPOCHS) / line
    return left / (FLAT_EPOCHS * line)


def resting_epochs(settings: ConfigDict) -> int:
    """Returns how many epochs, from the first, the architecture rests.

    Args:
      settings: ``config.search``.
    """
    return math.floor(settings.warmup * settings.epochs)


def has_elastic(settings: ConfigDict) -> bool:
    """Returns whether some smaller operations take part later than others.

    Args:
      settings: ``config.search``.
    """
    return any(settings.elastic[axis] for axis in AXES)


def elastic_rank(settings: ConfigDict, axis: str, epoch: int) -> float:
    """Returns the largest rank on an axis of operations that take part in an epoch.

    Args:
      settings: ``config.search.elastic``.
      axis: of `AXES`.
      epoch: from 0.
    """
    first = settings[axis]
    if epoch < first:
        return 0.0
    if not (first and settings.every):
        return math.inf
    return float(1 + (epoch - first) // settings.every)


def active_terms(settings: ConfigDict) -> tuple[str, ...]:
    """Returns the names, sorted, of the loss terms that some epoch weighs.

    Args:
      settings: ``config.search``.
    """
    return tuple(
        name
        for name, text in sorted(settings.terms.items())
        if not Schedule.parse(text).is_zero
    )


def setting_of_scalar(name: str) -> str:
    """Returns the setting that a scalar of a search's step follows.

    Args:
      name: dotted, as ``"weights.decay"``.
    """
    return next(
        key
        for key, setting in all_settings().items()
        if setting.scalar == name and key.startswith("search.")
    )


def _scalars(part: str, settings: ConfigDict, epoch: int) -> Scalars:
    """Returns the numbers that the schema names, of a part of the config."""
    schema = all_settings()
    scalars: Scalars = {}
    for key, value in flatten(settings, f"{part}."):
        setting = schema[key]
        if setting.scalar:
            *path, last = setting.scalar.split(".")
            place: dict[str, Any] = scalars
            for name in path:
                place = place.setdefault(name, {})
            place[last] = (
                Schedule.parse(value).at(epoch, settings.epochs)
                if setting.is_scheduled
                else value
            )
    return scalars
