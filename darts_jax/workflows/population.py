"""`population`: searches that differ in scalars, as one compiled program."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import kinds_with_invalid_alpha
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.engine.job import Score
from darts_jax.errors import InputError
from darts_jax.plots.history_plots import HistoryPlots
from darts_jax.settings.config import get_setting, with_overrides
from darts_jax.settings.config_files import load_config
from darts_jax.settings.schema import population_settings
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.registry import get_score, load_data
from darts_jax.tasks.search_job import make_discretization
from darts_jax.training.console import is_part_of_grid, short_name
from darts_jax.training.directory import RunDirectory, atomic_write, load_architecture
from darts_jax.training.grid_table import show_grid
from darts_jax.training.live import Live
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.loop import run_epochs
from darts_jax.training.metrics import finish_logs, read_metrics
from darts_jax.training.opening import open_run
from darts_jax.training.population_job import make_population
from darts_jax.training.processes import wait_for_all
from darts_jax.training.run_budget import (
    fit_to_budget,
    print_budget,
    read_limit,
    write_costs,
)
from darts_jax.training.search_observer import SearchObserver
from darts_jax.training.stages import Stage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
from darts_jax.workflows.shown_table import ShownTable


@dataclasses.dataclass(frozen=True)
class Member:
    """A search of a population.

    Attributes:
      settings: the settings in which it differs from the others, with their values.
      genotype: read off its last parameters; None if its loss became NaN.
      alpha: kind -> architecture parameters [epoch, edge, op].
      curves: name of a metric -> its values by epoch.
    """

    settings: dict[str, Any]
    genotype: Genotype | None
    alpha: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]

    @property
    def history(self) -> pd.DataFrame:
        """Table with a row for each epoch."""
        import pandas as pd

        epochs = len(next(iter(self.curves.values())))
        return pd.DataFrame({"epoch": range(1, epochs + 1), **self.curves})

    @property
    def name(self) -> str:
        """Name by the settings in which it differs, other than its seed."""
        others = {k: v for k, v in self.settings.items() if k != "seed"}
        return _describe_settings(others) or "all"


@dataclasses.dataclass(frozen=True, repr=False)
class PopulationResult(ShownTable, HistoryPlots):
    """Result of a population. A notebook shows it as a table.

    Attributes:
      members: its searches.
      agreement: share of their choices that two genotypes have in common; NaN for a
        member without one.
      run: the directory.
      score: by which the task measures them.
    """

    members: tuple[Member, ...]
    agreement: Float[np.ndarray, "member member"]
    run: RunDirectory
    score: Score

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """Table with a row for each epoch of each member; see `HistoryPlots.history`.

        ``run`` has the member's name.
        """
        import pandas as pd

        frames = [
            member.history.assign(**member.settings, run=member.name)
            for member in self.members
        ]
        return pd.concat(frames, ignore_index=True)

    def plot_agreement(self) -> Figure:
        """Plots which members made the same choices."""
        from darts_jax.plots.agreement import plot_agreement

        names = [
            ", ".join(map(str, member.settings.values())) for member in self.members
        ]
        return plot_agreement(self.agreement, names)

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row for each member: its settings and its last epoch."""
        alone = np.eye(len(self.members), dtype=bool)
        shared = np.ma.masked_invalid(np.where(alone, np.nan, self.agreement))
        score = self.score
        measured = f"held_out_{score.name}"
        return [
            member.settings
            | {
                "loss": float(member.curves["loss"][-1]),
                _score_column(score): score.scaled(float(member.curves[measured][-1])),
                "agreement": float(shared[i].mean()) if shared[i].count() else np.nan,
            }
            for i, member in enumerate(self.members)
        ]

    def __repr__(self) -> str:
        return f"PopulationResult({str(self.run.path)!r}, members={len(self.members)})"


@holds_run_lock
def population(
    config: ConfigDict,
    grid: Mapping[str, Sequence[object]],
    run: str | Path,
    dataset: AnyDataset | None = None,
) -> PopulationResult:
    """Runs a search for every combination of settings, side by side.

    Each result is that of the search run alone. One whose loss becomes NaN does not
    stop the others.

    Args:
      config: what the members share.
      grid: setting -> its values, such as ``{"seed": range(8)}``.
      run: a new directory, or that of the same population, which then goes on.
      dataset: in place of the one that the config names.

    Returns:
      All members.

    Raises:
      InputError: a mistake in the settings or the data, a setting that shapes the
        program and so cannot differ within one, or the run began on other data.
    """
    use_compilation_cache(config.compilation_cache)
    members = _make_members(config, grid)
    if config.search.stages or config.search.stop != "none":
        raise InputError(
            "members of a population go in step: want no search.stages and "
            "search.stop=none"
        )
    settings = _list_settings(members, grid)
    dataset = dataset or load_data(config)
    job = make_population(members, dataset)
    directory = open_run(run, config, "population", dataset)
    _claim(directory, settings)
    write_costs(config, dataset, directory)
    # What a population writes last: a finished one is read.
    if directory.summary_text.exists():
        result = read_population(directory)
        _log(result)
        return result
    with _show_members(settings) as live:
        watch = SearchObserver(
            Stage(members[0], "population"), directory, members=len(members), live=live
        )
        run_epochs(job, directory, "population", config.checkpoint, watch)
    wait_for_all("population")
    result = read_population(directory)
    for own, member in zip(members, result.members, strict=True):
        if member.genotype is not None:
            print_budget(read_limit(own, directory), member.genotype)
    _write(result)
    _log(result)
    return result


@contextlib.contextmanager
def _show_members(settings: Sequence[Mapping[str, Any]]) -> Iterator[Live | None]:
    """Shows the members in a table, where they are not a program of one already."""
    if is_part_of_grid():
        yield None
        return
    names = [_describe_settings(own) for own in settings]
    with show_grid("population", names) as table, table.run(*names):

        def fail_members(record: Mapping[str, Any]) -> None:
            for name, loss in zip(names, record["loss"], strict=True):
                if not math.isfinite(loss) and not table.has_failed(name):
                    table.fail(name, f"its loss became NaN in epoch {record['epoch']}")

        yield fail_members


def read_population(directory: RunDirectory) -> PopulationResult:
    """Reads the result of a population whose epochs are on disk.

    Args:
      directory: of its run.

    Raises:
      InputError: there is none, or it is damaged.
    """
    config = load_config(directory.config)
    settings = read_members(directory)
    space = get_space(config.space)
    epochs = config.search.epochs
    discretize = make_discretization(config)
    saved = [load_architecture(directory.architecture_at(e + 1)) for e in range(epochs)]
    alpha = {kind: np.stack([e[kind] for e in saved]) for kind in space.cells}
    records = [r for r in read_metrics(directory.metrics) if r["verb"] == "population"]
    # The record has None for a number that a member lacks.
    curves = {
        name: np.array([record[name] for record in records], float)
        for name, value in records[0].items()
        if isinstance(value, list)
    }
    members = []
    for i, chosen in enumerate(settings):
        own = {kind: values[:, i] for kind, values in alpha.items()}
        last = {kind: values[-1] for kind, values in own.items()}
        genotype = None
        if not kinds_with_invalid_alpha(space, last):
            own_config = apply_choice(config, chosen)
            limit = read_limit(own_config, directory)
            genotype = fit_to_budget(limit, discretize(space, last), last)
        own_curves = {name: values[:, i] for name, values in curves.items()}
        members.append(Member(chosen, genotype, own, own_curves))
    genotypes = [member.genotype for member in members]
    return PopulationResult(
        tuple(members), agreement(genotypes), directory, get_score(config)
    )


def describe_members(
    config: ConfigDict, grid: Mapping[str, Sequence[object]]
) -> list[dict[str, Any]]:
    """Returns the settings in which each member of a population differs.

    Args:
      config: what the members share.
      grid: setting -> its values.

    Raises:
      InputError: a mistake in the settings.
    """
    return _list_settings(_make_members(config, grid), grid)


def read_members(directory: RunDirectory) -> list[dict[str, Any]]:
    """Reads what `describe_members` returned when a population began.

    Args:
      directory: of its run.

    Raises:
      InputError: there is none.
    """
    try:
        settings: list[dict[str, Any]] = json.loads(directory.members.read_text())
    except (OSError, ValueError):
        raise InputError(f"no population in {directory.path}") from None
    return settings


def _list_settings(
    members: Sequence[ConfigDict], grid: Mapping[str, Sequence[object]]
) -> list[dict[str, Any]]:
    return [{key: get_setting(member, key) for key in grid} for member in members]


def _score_column(score: Score) -> str:
    return f"held out {score.unit or score.name}"


def _make_members(
    config: ConfigDict, grid: Mapping[str, Sequence[object]]
) -> list[ConfigDict]:
    known = population_settings()
    for key in grid:
        if key not in known:
            raise InputError(
                f"setting {key} cannot differ within a population; want one of "
                f"{', '.join(known)}"
            )
    if not grid or not all(grid.values()):
        raise InputError("a population needs values, as --grid seed=0,1,2")
    return [apply_choice(config, choice) for choice in list_combinations(grid)]


def list_combinations(grid: Mapping[str, Sequence[object]]) -> list[dict[str, Any]]:
    """Lists all combinations of values; the last setting varies fastest.

    Args:
      grid: setting -> its values.
    """
    return [
        dict(zip(grid, values, strict=True))
        for values in itertools.product(*grid.values())
    ]


def apply_choice(config: ConfigDict, choice: Mapping[str, object]) -> ConfigDict:
    """Returns settings with some of them changed.

    Args:
      config: the settings.
      choice: setting -> value.
    """
    return with_overrides(config, [f"{key}={value}" for key, value in choice.items()])


def _describe_settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{short_name(key)} {value}" for key, value in settings.items())


def _claim(directory: RunDirectory, settings: list[dict[str, Any]]) -> None:
    """Makes a run directory that of one population; another is refused."""
    path = directory.members
    text = json.dumps(settings, indent=1) + "\n"
    if path.exists() and path.read_text() != text:
        raise InputError(
            f"run directory {directory.path} holds another population; choose another "
            "--run"
        )
    atomic_write(path, text)


def agreement(
    genotypes: Sequence[Genotype | None],
) -> Float[np.ndarray, "member member"]:
    """Computes the share of each genotype's choices that each other made too.

    Args:
      genotypes: None where one is missing.

    Returns:
      Shares in [0, 1]; NaN where a genotype is missing.
    """
    choices = [_list_choices(genotype) for genotype in genotypes]
    return np.array(
        [[len(a & b) / len(a) if a and b else np.nan for b in choices] for a in choices]
    )


def _list_choices(genotype: Genotype | None) -> set[Any]:
    if genotype is None:
        return set()
    return {
        (k, choice) for k, cell in genotype.cells.items() for choice in cell.choices
    }


def _write(result: PopulationResult) -> None:
    for i, member in enumerate(result.members):
        if member.genotype is not None:
            atomic_write(_genotype_file(result, i), member.genotype.to_json())
    atomic_write(result.run.summary_text, str(result))


def _log(result: PopulationResult) -> None:
    """Gives the loggers every member's genotype."""
    files = [
        [] if member.genotype is None else [_genotype_file(result, i)]
        for i, member in enumerate(result.members)
    ]
    finish_logs(result.run, ["population"], files)


def _genotype_file(result: PopulationResult, member: int) -> Path:
    return result.run.path / f"genotype_{member}.json"
