"""Opening of a run directory: what may be written into it, and by which settings.

A directory belongs to the settings that its verbs have used, and to the data that it
began with, wherever these lie now. Opening it with others fails before anything in it
is touched. It may be opened for more epochs where the run then ends with the bits of
one that was asked for so many at once, that is, where no schedule depends on how many
epochs there are.
"""

import errno
import itertools
import json
import os
import platform
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.buckets import is_in_bucket
from darts_jax.data.identity import Identity, identify, read_identity
from darts_jax.errors import InputError
from darts_jax.files import disk_errors, make_folder, open_place
from darts_jax.settings.config import (
    config_difference,
    config_to_json,
    flatten,
    get_setting,
)
from darts_jax.settings.config_files import load_config
from darts_jax.settings.scalars import (
    search_scalars,
    setting_of_scalar,
    training_scalars,
)
from darts_jax.tasks.module.problem import Problem
from darts_jax.training.directory import (
    RunDirectory,
    atomic_write,
    installed_versions,
    read_versions,
)
from darts_jax.training.processes import run_in_process_zero
from darts_jax.training.run_loggers import check_loggers

EPOCHS = {"search.epochs": "search", "retrain.epochs": "retrain"}
"""Setting -> the verb that it is of."""

# Of the settings, those that say what is learned from what.
_DATA = ("seed", "task", "space", "data", "language", "detection")
# Those that say how any network is computed.
_COMPUTATION = ("precision", "batch_norm")
# What a verb's results depend on; a verb that is not listed depends on everything.
# Settings in no used section, as those of checkpoints, may change between calls.
_SECTIONS = {
    "search": (*_DATA, *_COMPUTATION, "supernet", "search"),
    "population": (*_DATA, *_COMPUTATION, "supernet", "search"),
    "baseline": (*_DATA, *_COMPUTATION, "search", "retrain", "benchmark"),
    "retrain": (*_DATA, *_COMPUTATION, "retrain", "baseline"),
    "proxies": (*_DATA, *_COMPUTATION, "retrain", "proxies"),
}
# Where data lie, which may change while the data are the same.
_PLACES = ("data.name", "data.directory", "data.images")


def open_run(
    path: str | Path, config: ConfigDict, verb: str, dataset: Any = None
) -> RunDirectory:
    """Creates the directory of a run, or opens it to go on.

    Args:
      path: of the directory.
      config: all settings.
      verb: that is going to write there.
      dataset: what is learned from, which the run remembers; None where nothing is.

    Raises:
      InputError: it holds a run with other settings or other data, something that is
        no run, or it cannot be written. Nothing in it has been touched then.
    """
    run = RunDirectory(open_place(path))

    def create_or_reopen() -> None:
        facts = _describe_environment(config)
        check_loggers(config)
        data = identify(dataset)
        with disk_errors(f"run directory {run.path}"):
            if run.config.exists():
                _reopen(run, config, verb, data, facts)
            else:
                _create(run, config, verb, data, facts)
            if isinstance(dataset, Problem) and not run.space.exists():
                atomic_write(run.space, dataset.to_json())

    run_in_process_zero(create_or_reopen, f"to open {run.path}")
    return run


def require_same_data(run: RunDirectory, dataset: Any) -> None:
    """Refuses other data than those that the run began with, if it remembers them.

    Args:
      run: that has begun.
      dataset: to go on with.

    Raises:
      InputError: one line that says what differs.
    """
    known = read_identity(run.data)
    here = identify(dataset)
    if known is not None and here is not None:
        _refuse_other_data(run, known, here)


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
        reason = next(_reasons_against(EPOCHS[key], old, new, verbs), None)
        if reason is not None:
            before = get_setting(old, key)
            after = get_setting(new, key)
            command = _new_run_command(path, EPOCHS[key], key, after - before)
            raise InputError(
                f"run directory {path} holds another config ({key}: {before} -> "
                f"{after}), and {reason}; a new run starts from its parameters: "
                f"{command}"
            )
    return [EPOCHS[key] for key in differing]


def _create(
    run: RunDirectory,
    config: ConfigDict,
    verb: str,
    data: Identity | None,
    facts: dict[str, Any],
) -> None:
    # Hidden files are no one's work, but a folder view's or a killed atomic_write's.
    if run.path.exists() and any(
        not p.name.startswith(".") for p in run.path.iterdir()
    ):
        raise InputError(
            f"directory {run.path} is not empty and holds no run (no config.json); "
            "choose another --run"
        )
    make_folder(run.path)
    atomic_write(run.config, config_to_json(config))
    if data is not None:
        atomic_write(run.data, data.to_json())
    _record_facts(run, {}, verb, facts)


def _reopen(
    run: RunDirectory,
    config: ConfigDict,
    verb: str,
    data: Identity | None,
    facts: dict[str, Any],
) -> None:
    old = load_config(run.config)
    versions = read_versions(run)
    known = read_identity(run.data)
    if known is not None and data is not None:
        _refuse_other_data(run, known, data)
    are_same_data = known is not None and data is not None
    differences = config_difference(old, config)
    binding = _binding_differences(differences, versions, tuple(config), are_same_data)
    longer: list[str] = []
    if binding:
        longer = extendable_verbs(run.path, old, config, binding.keys(), versions)
        if not longer:
            raise InputError(
                f"run directory {run.path} holds another config "
                f"({', '.join(binding.values())}); choose another --run, or the old "
                "settings"
            )
    if not is_in_bucket(run.path) and not os.access(run.path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    # Before the settings: a run that is killed in between has its old end again.
    for name in longer:
        _forget_end(run, name)
    if differences:
        atomic_write(run.config, config_to_json(config))
    if verb not in versions:
        # A verb that began without this file may have begun on other data.
        if known is None and data is not None:
            atomic_write(run.data, data.to_json())
        _record_facts(run, versions, verb, facts)


def _binding_differences(
    differences: Collection[str],
    verbs: Collection[str],
    sections: Collection[str],
    are_same_data: bool,
) -> dict[str, str]:
    """Returns key -> difference of the settings that a result depends on.

    Args:
      differences: lines of `config_difference`.
      verbs: what has been done in the directory.
      sections: of a config.
      are_same_data: whether data are known to be the same, wherever they lie.
    """
    used = {s for verb in verbs for s in _SECTIONS.get(verb, sections)}
    free = _PLACES if are_same_data else ()
    lines = {line.partition(":")[0]: line for line in differences}
    return {
        key: line
        for key, line in lines.items()
        if key.split(".")[0] in used and key not in free
    }


def _refuse_other_data(run: RunDirectory, known: Identity, here: Identity) -> None:
    differences = known.differences(here)
    if differences:
        raise InputError(
            f"run directory {run.path} holds a run on other data "
            f"({'; '.join(differences)}); choose another --run, or the old data"
        )


def _forget_end(run: RunDirectory, verb: str) -> None:
    """Removes the files that a verb writes at its end."""
    drawings = [run.genotype.with_suffix(suffix) for suffix in (".png", ".svg")]
    ends = {
        "search": [*drawings, run.genotype],
        "retrain": [run.summary_json, run.summary_text, run.evaluation],
    }
    for path in ends[verb]:
        path.unlink(missing_ok=True)


def _record_facts(
    run: RunDirectory, before: Mapping[str, Any], verb: str, facts: dict[str, Any]
) -> None:
    text = json.dumps({**before, verb: facts}, indent=1, sort_keys=True)
    atomic_write(run.versions, text + "\n")


def _describe_environment(config: ConfigDict) -> dict[str, Any]:
    """Returns versions, the device, and how it multiplies.

    Raises:
      InputError: it does not have the precision that is asked for.
    """
    import jax

    from darts_jax import kernels

    device = jax.devices()[0]
    computes = kernels.describe_kernels()
    return {
        **installed_versions(),
        "platform": platform.platform(),
        "backend": device.platform,
        "device": device.device_kind,
        **({"kernels": computes} if computes else {}),
        "precision": kernels.describe_precision(config.precision, device),
        "seed": config.seed,
    }


def _reasons_against(
    verb: str, old: ConfigDict, new: ConfigDict, verbs: Collection[str]
) -> Iterator[str]:
    """Yields why a run is not the beginning of one with more epochs."""
    if verb == "search":
        if "retrain" in verbs:
            yield "its network has the genotype that the shorter search found"
        if old.search.stages:
            yield (
                "search.stages prunes by the end of one stage what the next begins with"
            )
        found = _dependent_scalars(search_scalars, old.search, new.search)
        named = [_search_schedule(old, name) for name in found]
    else:
        found = _dependent_scalars(training_scalars, old.retrain, new.retrain)
        named = [_retrain_schedule(old, name) for name in found]
    if len(named) == 1:
        yield f"the schedule {named[0]} depends on {verb}.epochs"
    if len(named) > 1:
        yield f"the schedules {' and '.join(named)} depend on {verb}.epochs"


def _dependent_scalars(
    scalars: Callable[[ConfigDict, int], Mapping[str, Any]],
    old: ConfigDict,
    new: ConfigDict,
) -> list[str]:
    """Returns the scalars that differ in some epoch that both configs have."""
    found = dict[str, None]()
    # In its first epoch alone every schedule has its first value.
    for epoch in range(max(old.epochs, 2)):
        before = dict(flatten(scalars(old, epoch)))
        after = dict(flatten(scalars(new, epoch)))
        found |= dict.fromkeys(k for k in before if before[k] != after[k])
    return list(found)


def _search_schedule(config: ConfigDict, scalar: str) -> str:
    """Returns the setting of a search's scalar, with its values."""
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


def _retrain_schedule(config: ConfigDict, scalar: str) -> str:
    """Returns the setting of a retraining's scalar, with its values."""
    settings = config.retrain
    if scalar == "drop_path":
        return f"retrain.drop_path (a ramp to {settings.drop_path:g})"
    rates = settings.weights
    return (
        f"retrain.weights.learning_rate (retrain.schedule={settings.schedule} from "
        f"{rates.learning_rate:g} to {rates.final_learning_rate:g})"
    )


def _new_run_command(path: Path, verb: str, key: str, epochs: int) -> str:
    """Returns the command of a run that starts from another's parameters."""
    words = ["darts-jax", verb, "--config", str(path / "config.json")]
    words += [f"--config.{key}={epochs}", "--from", str(path)]
    names = (f"{path}-more{'' if n == 1 else n}" for n in itertools.count(1))
    free = next(name for name in names if not open_place(name).exists())
    return shlex.join([*words, "--run", free])
