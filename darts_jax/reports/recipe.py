"""How a run can be had again: its settings and its command lines."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from darts_jax.reports.sections import Setting
from darts_jax.settings.config import default_config, flatten
from darts_jax.training.directory import RunDirectory
from darts_jax.training.warm_start import read_warm_starts

_RUN = {"search", "retrain"}
_NEXT = " \\\n  "  # where a shell goes on in the next line


def settings_of(config: ConfigDict) -> list[Setting]:
    """Every setting beside its default."""
    defaults = dict(flatten(default_config().to_dict()))
    given = sorted(flatten(config.to_dict()))
    return [Setting(key, value, defaults.get(key)) for key, value in given]


def commands(
    run: RunDirectory, config: ConfigDict, verbs: Iterable[str]
) -> dict[str, str]:
    """Command lines that do the same in a new directory: what each needs -> itself."""
    verb, own = _verb(run, set(verbs))
    again = ["--run", f"{run.path}-again"]
    changed = [
        f"--config.{setting.name}={_literal(setting.value)}"
        for setting in settings_of(config)
        if setting.differs
    ]
    by_file = ["--config", str(run.config), *own]
    return {
        "With the settings of the run directory": _line(verb, by_file, again),
        "Without it": _line(verb, [*own, *changed], again),
    }


def _verb(run: RunDirectory, verbs: set[str]) -> tuple[str, list[str]]:
    """The verb that does what was done, and what it takes beside settings."""
    if "population" in verbs:
        return "population", _grid(run)
    started = read_warm_starts(run)
    if verbs >= _RUN and not started:
        return "run", []
    if "retrain" in verbs and "search" not in started:
        own = ["--genotype", str(run.path)]
        return "retrain", [*own, *_origin(started.get("retrain"))]
    return "search", _origin(started.get("search"))


def _origin(started: Mapping[str, Any] | None) -> list[str]:
    """What makes a run start from another's parameters, if it did."""
    return ["--from", str(started["run"])] if started and "run" in started else []


def _grid(run: RunDirectory) -> list[str]:
    members: list[Mapping[str, Any]] = json.loads(
        (run.path / "members.json").read_text()
    )
    values: dict[str, list[str]] = {}
    for member in members:
        for key, value in member.items():
            values.setdefault(key, []).append(_literal(value))
    grids = (f"{k}={','.join(dict.fromkeys(v))}" for k, v in values.items())
    return [word for grid in grids for word in ("--grid", grid)]


def _line(verb: str, *words: list[str]) -> str:
    """A command, an option a line."""
    line = f"darts-jax {verb}"
    for word in (word for some in words for word in some):
        line += f"{_NEXT if word.startswith('--') else ' '}{shlex.quote(word)}"
    return line


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
