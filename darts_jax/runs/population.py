"""`population`: searches that differ in scalars, as one compiled program."""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from darts_jax.bilevel.regularization import TERMS
from darts_jax.build import dataset_of, make_discretization, make_population
from darts_jax.config import get_setting, with_overrides
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.runs.budget import keep_costs, within_budget
from darts_jax.runs.compilation import use_compilation_cache
from darts_jax.runs.console import table
from darts_jax.runs.directory import (
    RunDirectory,
    atomic_write,
    load_architecture,
    open_run,
)
from darts_jax.runs.loop import run_epochs
from darts_jax.runs.metrics import read_metrics
from darts_jax.runs.processes import wait_for_all
from darts_jax.runs.stages import Stage
from darts_jax.runs.watch import Watch
from darts_jax.schedules import SCHEDULED
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype

# What the members of a population may differ in: it is an array in the program.
SCALARS = (
    "seed",
    "search.weights.learning_rate",
    "search.weights.final_learning_rate",
    "search.weights.momentum",
    "search.weights.decay",
    "search.weights.clip",
    "search.architecture.learning_rate",
    "search.architecture.beta1",
    "search.architecture.beta2",
    "search.architecture.decay",
    "search.architecture.init_scale",
    "search.architecture.momentum",
    "search.architecture.entropy",
    "search.architecture.baseline_decay",
    "search.budget.target",
    "search.budget.rate",
    *(f"search.{setting}" for setting in SCHEDULED.values()),
    *(f"search.terms.{name}" for name in TERMS),
)


@dataclasses.dataclass(frozen=True)
class Member:
    """One search of a population.

    Attributes:
      settings: what sets it apart.
      genotype: read off its last parameters; None if its loss became NaN.
      alpha: kind -> architecture parameters [epoch, edge, op].
      curves: name of a metric -> its values by epoch.
    """

    settings: dict[str, Any]
    genotype: Genotype | None
    alpha: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class PopulationResult:
    """What the searches of a population found.

    Attributes:
      agreement: share of their choices that two genotypes have in common; NaN for a
        member without one.
    """

    members: tuple[Member, ...]
    agreement: Float[np.ndarray, "member member"]
    run: RunDirectory

    def __str__(self) -> str:
        alone = np.eye(len(self.members), dtype=bool)
        shared = np.ma.masked_invalid(np.where(alone, np.nan, self.agreement))
        rows = [
            member.settings
            | {
                "loss": float(member.curves["loss"][-1]),
                "held out %": 100 * float(member.curves["held_out_accuracy"][-1]),
                "agreement": float(shared[i].mean()) if shared[i].count() else np.nan,
            }
            for i, member in enumerate(self.members)
        ]
        return table(rows, list(rows[0]))


def population(
    config: ConfigDict,
    grid: Mapping[str, Sequence[Any]],
    run: str | Path,
    dataset: AnyDataset | None = None,
) -> PopulationResult:
    """Runs a search for every combination of settings, side by side.

    Each result is that of the search run alone. One whose loss becomes NaN does not
    stop the others.

    Args:
      config: what the members share.
      grid: setting -> its values, such as ``{"seed": range(8)}``.

    Raises:
      InputError: a mistake in the settings or the data, or a setting that shapes the
        program and so cannot differ within one.
    """
    use_compilation_cache(config.compilation_cache)
    members = _members(config, grid)
    if config.search.stages or config.search.stop != "none":
        raise InputError(
            "members of a population go in step: want no search.stages and "
            "search.stop=none"
        )
    settings = [{key: get_setting(m, key) for key in grid} for m in members]
    dataset = dataset or dataset_of(config)
    job = make_population(members, dataset)
    directory = open_run(run, config, "population")
    _claim(directory, settings)
    keep_costs(config, dataset, directory)

    watch = Watch(Stage(members[0], "population"), directory, members=len(members))
    run_epochs(job, directory, "population", config.checkpoint, watch)
    wait_for_all("population")
    result = _read(config, settings, directory, job.epochs)
    _write(result)
    return result


def _members(config: ConfigDict, grid: Mapping[str, Sequence[Any]]) -> list[ConfigDict]:
    for key in grid:
        if key not in SCALARS:
            raise InputError(
                f"setting {key} cannot differ within a population; want one of "
                f"{', '.join(SCALARS)}"
            )
    if not grid or not all(grid.values()):
        raise InputError("a population needs values, as --grid seed=0,1,2")
    return [
        with_overrides(config, [f"{k}={v}" for k, v in zip(grid, values, strict=True)])
        for values in itertools.product(*grid.values())
    ]


def _claim(directory: RunDirectory, settings: list[dict[str, Any]]) -> None:
    """A run directory holds one population; another is refused."""
    path = directory.path / "members.json"
    text = json.dumps(settings, indent=1) + "\n"
    if path.exists() and path.read_text() != text:
        raise InputError(
            f"run directory {directory.path} holds another population; choose another "
            "--run"
        )
    atomic_write(path, text)


def _read(
    config: ConfigDict,
    settings: list[dict[str, Any]],
    directory: RunDirectory,
    epochs: int,
) -> PopulationResult:
    space = get_space(config.space)
    discretize = make_discretization(config)
    saved = [load_architecture(directory.architecture_at(e + 1)) for e in range(epochs)]
    alpha = {kind: np.stack([e[kind] for e in saved]) for kind in space.cells}
    records = [r for r in read_metrics(directory.metrics) if r["verb"] == "population"]
    # Of a number that a member lacks there is None in the record.
    curves = {
        name: np.array([record[name] for record in records], float)
        for name, value in records[0].items()
        if isinstance(value, list)
    }
    members = []
    for i, chosen in enumerate(settings):
        own = {kind: values[:, i] for kind, values in alpha.items()}
        last = {kind: values[-1] for kind, values in own.items()}
        sound = not any(np.isnan(values).any() for values in last.values())
        own_config = with_overrides(config, [f"{k}={v}" for k, v in chosen.items()])
        members.append(
            Member(
                chosen,
                within_budget(own_config, directory, discretize(space, last), last)
                if sound
                else None,
                own,
                {name: values[:, i] for name, values in curves.items()},
            )
        )
    genotypes = [member.genotype for member in members]
    return PopulationResult(tuple(members), agreement(genotypes), directory)


def agreement(
    genotypes: Sequence[Genotype | None],
) -> Float[np.ndarray, "member member"]:
    """Share of the choices of each that another made too; NaN where one is missing."""
    choices = [_choices(genotype) for genotype in genotypes]
    return np.array(
        [[len(a & b) / len(a) if a and b else np.nan for b in choices] for a in choices]
    )


def _choices(genotype: Genotype | None) -> set[Any]:
    if genotype is None:
        return set()
    return {
        (k, choice) for k, cell in genotype.cells.items() for choice in cell.choices
    }


def _write(result: PopulationResult) -> None:
    for i, member in enumerate(result.members):
        if member.genotype is not None:
            path = result.run.path / f"genotype_{i}.json"
            atomic_write(path, member.genotype.to_json())
    atomic_write(result.run.summary_text, str(result))
