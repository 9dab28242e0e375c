"""More epochs in a run directory: which runs may simply go on, and which may not.

A run goes on with more epochs where it then ends with the bits of one that was asked
for so many at once: where no schedule depends on how many epochs there are.
"""

import itertools
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.errors import InputError
from darts_jax.settings.config import flatten, get_setting
from darts_jax.settings.scalars import (
    search_scalars,
    setting_of_scalar,
    training_scalars,
)

EPOCHS = {"search.epochs": "search", "retrain.epochs": "retrain"}
"""Setting -> the verb that it is of."""


def extendable_verbs(
    path: Path,
    old: ConfigDict,
    new: ConfigDict,
    differing: Collection[str],
    verbs: Collection[str],
) -> list[str]:
    """Returns the verbs that go on with more epochs.

    Args:
      path: of the run directory.
      old: the settings that it holds.
      new: those that are asked for.
      differing: keys of the settings that bind the run and differ.
      verbs: what has been done in the directory.

    Returns:
      None of them where more than epochs differs, or where there are fewer.

    Raises:
      InputError: a schedule, or another result in the directory, depends on how many
        epochs there are; the line has the command that starts a new run from this one.
    """
    if not set(differing) <= EPOCHS.keys() or not set(verbs) <= {"search", "retrain"}:
        return []
    if any(get_setting(new, key) < get_setting(old, key) for key in differing):
        return []
    for key in differing:
        reason = next(_reasons(EPOCHS[key], old, new, verbs), None)
        if reason is not None:
            before, after = get_setting(old, key), get_setting(new, key)
            command = _command(path, EPOCHS[key], key, after - before)
            raise InputError(
                f"run directory {path} holds another config ({key}: {before} -> "
                f"{after}), and {reason}; a new run starts from its parameters: "
                f"{command}"
            )
    return [EPOCHS[key] for key in differing]


def _reasons(
    verb: str, old: ConfigDict, new: ConfigDict, verbs: Collection[str]
) -> Iterator[str]:
    """Why a run of so many epochs is not the beginning of a longer one."""
    if verb == "search":
        if "retrain" in verbs:
            yield "its network has the genotype that the shorter search found"
        if old.search.stages:
            yield (
                "search.stages prunes by the end of one stage what the next begins with"
            )
        found = _dependent(search_scalars, old.search, new.search)
        named = [_of_search(old, name) for name in found]
    else:
        found = _dependent(training_scalars, old.retrain, new.retrain)
        named = [_of_retrain(old, name) for name in found]
    if len(named) == 1:
        yield f"the schedule {named[0]} depends on {verb}.epochs"
    if len(named) > 1:
        yield f"the schedules {' and '.join(named)} depend on {verb}.epochs"


def _dependent(
    scalars: Callable[[ConfigDict, int], Mapping[str, Any]],
    old: ConfigDict,
    new: ConfigDict,
) -> list[str]:
    """The scalars that differ by how many epochs there are, in some epoch of both."""
    found = dict[str, None]()
    # In its first epoch alone every schedule has its first value.
    for epoch in range(max(old.epochs, 2)):
        before = dict(flatten(scalars(old, epoch)))
        after = dict(flatten(scalars(new, epoch)))
        found |= dict.fromkeys(k for k in before if before[k] != after[k])
    return list(found)


def _of_search(config: ConfigDict, scalar: str) -> str:
    if scalar == "weights.learning_rate":
        rates = config.search.weights
        return (
            "search.weights.learning_rate (a cosine from "
            f"{rates.learning_rate:g} to {rates.final_learning_rate:g})"
        )
    if scalar == "architecture.learns":
        return f"search.warmup ({config.search.warmup:g} of the epochs)"
    key = setting_of_scalar(scalar)
    return f"{key} ({get_setting(config, key)})"


def _of_retrain(config: ConfigDict, scalar: str) -> str:
    settings = config.retrain
    if scalar == "drop_path":
        return f"retrain.drop_path (a ramp to {settings.drop_path:g})"
    rates = settings.weights
    return (
        f"retrain.weights.learning_rate (retrain.schedule={settings.schedule} from "
        f"{rates.learning_rate:g} to {rates.final_learning_rate:g})"
    )


def _command(path: Path, verb: str, key: str, epochs: int) -> str:
    words = ["darts-jax", verb, "--config", str(path / "config.json")]
    words += [f"--config.{key}={epochs}", "--from", str(path)]
    names = (f"{path}-more{'' if n == 1 else n}" for n in itertools.count(1))
    free = next(name for name in names if not Path(name).exists())
    return shlex.join([*words, "--run", free])
