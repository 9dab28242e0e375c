"""Settings of a run, and command lines that repeat it."""

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from darts_jax.settings.config import default_config, flatten
from darts_jax.training.directory import RunDirectory
from darts_jax.training.warm_start import read_warm_starts

_RUN = {"search", "retrain"}
_CONTINUATION = " \\\n  "  # a shell continues in the next line


@dataclasses.dataclass(frozen=True)
class RecordedSetting:
    """A setting of a run beside its default.

    Attributes:
      name: its name, such as "search.epochs".
      value: its value.
      default: its default.
    """

    name: str
    value: Any
    default: Any

    @property
    def is_changed(self) -> bool:
        """True if the value is not the default."""
        return bool(self.value != self.default)


def list_settings(config: ConfigDict) -> list[RecordedSetting]:
    """Returns every setting beside its default, in the order of names.

    Args:
      config: the settings.
    """
    defaults = dict(flatten(default_config().to_dict()))
    given = sorted(flatten(config.to_dict()))
    return [RecordedSetting(key, value, defaults.get(key)) for key, value in given]


def reproduction_commands(
    run: RunDirectory, config: ConfigDict, verbs: Iterable[str]
) -> dict[str, str]:
    """Returns command lines that do the same in a new directory.

    Args:
      run: the directory of the run.
      config: its settings.
      verbs: the verbs that ran in it.

    Returns:
      What each needs -> the command line.
    """
    verb, own = _find_verb(run, set(verbs))
    again = ["--run", f"{run.path}-again"]
    changed = [
        f"--config.{setting.name}={_format_literal(setting.value)}"
        for setting in list_settings(config)
        if setting.is_changed
    ]
    by_file = ["--config", str(run.config), *own]
    return {
        "With the settings of the run directory": _format_command(verb, by_file, again),
        "Without it": _format_command(verb, [*own, *changed], again),
    }


def _find_verb(run: RunDirectory, verbs: set[str]) -> tuple[str, list[str]]:
    """Returns the verb that repeats a run, and its arguments beside settings."""
    if "population" in verbs:
        return "population", _grid_arguments(run)
    started = read_warm_starts(run)
    if verbs >= _RUN and not started:
        return "run", []
    if "retrain" in verbs and "search" not in started:
        own = ["--genotype", str(run.path)]
        return "retrain", [*own, *_origin_arguments(started.get("retrain"))]
    return "search", _origin_arguments(started.get("search"))


def _origin_arguments(started: Mapping[str, Any] | None) -> list[str]:
    """Returns the arguments of a start from another run's parameters, if it was one."""
    return ["--from", str(started["run"])] if started and "run" in started else []


def _grid_arguments(run: RunDirectory) -> list[str]:
    members: list[Mapping[str, Any]] = json.loads(
        (run.path / "members.json").read_text()
    )
    values: dict[str, list[str]] = {}
    for member in members:
        for key, value in member.items():
            values.setdefault(key, []).append(_format_literal(value))
    grids = (f"{k}={','.join(dict.fromkeys(v))}" for k, v in values.items())
    return [word for grid in grids for word in ("--grid", grid)]


def _format_command(verb: str, *words: list[str]) -> str:
    """Formats a command with an option on each line."""
    line = f"darts-jax {verb}"
    for word in (word for some in words for word in some):
        line += f"{_CONTINUATION if word.startswith('--') else ' '}{shlex.quote(word)}"
    return line


def _format_literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
