"""`reproduce`: a published experiment with some seeds, and its stored results."""

import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from darts_jax.analysis.comparison import (
    Improvement,
    improvement_by_run,
    improvement_over_mean,
)
from darts_jax.analysis.intervals import PERCENT, MeasureRange
from darts_jax.cluster.engine import Engine
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.files import make_folder, open_place
from darts_jax.nasbench import require_table
from darts_jax.settings.config import config_to_json, with_overrides
from darts_jax.settings.experiments import Experiment, experiment_config, get_experiment
from darts_jax.settings.recipe import BestOf
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.moves import sample_genotype
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.registry import load_data
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory, atomic_write, read_versions
from darts_jax.training.progress import read_progress
from darts_jax.training.restore import SavedSearch
from darts_jax.training.run_loggers import in_group
from darts_jax.training.search_result import SearchResult
from darts_jax.workflows.compare import load_search
from darts_jax.workflows.programs import (
    Grid,
    Program,
    Step,
    absolute_place,
    open_grid,
)
from darts_jax.workflows.retrain import check_retraining
from darts_jax.workflows.retrain_result import RetrainResult, read_retrained

RANDOM_CELLS = 1000
"""Random genotypes whose operations are counted."""


def reproduce(
    name: str,
    seeds: Sequence[int],
    runs: str | Path,
    results: str | Path,
    *,
    only_read: bool = False,
    engine: Engine | str = "local",
) -> Path:
    """Runs an experiment for each seed and stores what came out.

    What is finished in ``runs`` is read, not repeated, and what was stopped goes on. A
    call that is stopped stores how far it is.

    Args:
      name: ``protocol/method``, of `experiments.EXPERIMENTS`.
      seeds: one search each.
      runs: directory of run directories, ``protocol/method_seed``.
      results: directory of the stored results, ``protocol/method.json``, from which
        `ledger.ledger` is made.
      only_read: True to run nothing: what is not finished is stored as it is.
      engine: runs the programs: here, or on a cluster; or its name in `ENGINES`.

    Returns:
      The file of results.

    Raises:
      InputError: no such experiment, its data or its table are missing, its table
        says nothing of the data, no seeds, or a program has failed, after the others
        have ended.
      SystemExit: a signal or a time limit has stopped it.
    """
    experiment = get_experiment(name)
    seeds = list(dict.fromkeys(seeds))
    if not seeds:
        raise InputError(f"{name} needs a seed, and 2 or more for an interval")
    configs = [
        in_group(experiment_config(experiment, seed), name.replace("/", "_"))
        for seed in seeds
    ]
    dataset = load_data(configs[0])
    if experiment.protocol.retrains:
        check_retraining(configs[0], dataset)
    random = _list_random_results(experiment, configs[0])
    is_best_of = experiment.recipe.best_of is not None
    make_series = _BestSeries if is_best_of else _Series
    series = make_series(experiment, configs, dataset, open_place(runs), random)
    path = open_place(results) / f"{name}.json"
    programs = {config.seed: series.program(config) for config in configs}
    with open_grid(
        name,
        runs,
        engine,
        configs[0],
        dataset,
        names=[program.name for program in programs.values()],
    ) as grid:
        wanted = [c for c in configs if not only_read or series.is_finished(c)]
        try:
            grid.run([programs[config.seed] for config in wanted])
            series.read(wanted)
            if not only_read or series.is_concluded():
                series.conclude(grid)
        except SystemExit:
            ended = [c for c in configs if grid.has_finished(programs[c.seed])]
            series.read(ended)
            series.store(path)
            raise
    series.store(path)
    return path


@dataclasses.dataclass
class _Series:
    """Searches of an experiment, a seed each, and what they have come to.

    Attributes:
      experiment: the experiment.
      configs: settings of each search.
      dataset: of all.
      runs: directory of run directories.
      random: results of all genotypes of the space, where these are known.
      rows: of the searches that have ended.
    """

    experiment: Experiment
    configs: Sequence[ConfigDict]
    dataset: AnyDataset
    runs: Path
    random: list[float] | None
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def is_finished(self, config: ConfigDict) -> bool:
        """Returns whether a search, and what follows it, has ended.

        Args:
          config: of the search.
        """
        directory = self.directory(config.seed)
        if not directory.genotype.with_suffix(".png").exists():
            return False
        return not self.experiment.protocol.retrains or self.is_trained(directory)

    def is_trained(self, directory: RunDirectory) -> bool:
        """Returns whether the training that follows a search has ended.

        Args:
          directory: of the search.
        """
        return directory.summary_json.exists()

    def program(self, config: ConfigDict) -> Program:
        """Returns a search, and the training that follows it where the protocol does.

        Args:
          config: of the search.
        """
        directory = self.directory(config.seed)
        steps = [Step("search", directory.path, config)]
        if self.experiment.protocol.retrains:
            steps.append(self.training(config, directory))
        return Program(f"seed {config.seed}", tuple(steps))

    def training(self, config: ConfigDict, directory: RunDirectory) -> Step:
        """Returns the training from scratch of the genotype that a search has found.

        Args:
          config: of the search.
          directory: of the search.
        """
        found_by = absolute_place(directory.path)
        return Step("retrain", directory.path, config, {"found_by": found_by})

    def read(self, configs: Sequence[ConfigDict]) -> None:
        """Reads the rows of searches that have ended.

        Args:
          configs: of these.
        """
        self.rows = [self._read_row(config) for config in configs]

    def _read_row(self, config: ConfigDict) -> dict[str, Any]:
        directory = self.directory(config.seed)
        row = self.describe(load_search(directory.path)) | {"seed": config.seed}
        if self.experiment.protocol.retrains:
            row |= self.read_training(directory)
        value = row["result"] if "result" in row else row["validation"]
        print_status(f"{self.experiment.name}: seed {config.seed}: {value:.2f}")
        return row

    def read_training(self, directory: RunDirectory) -> dict[str, Any]:
        """Reads a row's part of the training that has followed a search.

        Args:
          directory: of the search.
        """
        return _describe_training(_read_trained(directory))

    def is_concluded(self) -> bool:
        """Returns whether nothing follows the searches, or that has ended, too."""
        return True

    def conclude(self, grid: Grid) -> None:
        """Runs what follows all searches.

        Args:
          grid: of the searches.
        """
        del grid

    def results(self) -> dict[str, Any]:
        """Returns what is stored of the searches and their results."""
        return summarize(self.experiment, self.rows, self.random)

    def store(self, path: Path) -> None:
        """Writes the file of results.

        Args:
          path: of the file.
        """
        make_folder(path.parent)
        ended = {row["seed"] for row in self.rows}
        stored = self.results() | {
            "running": [
                self.describe_running(config)
                for config in self.configs
                if config.seed not in ended
                and self.directory(config.seed).config.exists()
            ],
            "data": self.dataset.name,
            "note": self.dataset.note,
            "backend": self.read_backend(),
            "settings": json.loads(config_to_json(self.configs[0])),
        }
        atomic_write(path, json.dumps(stored, indent=1) + "\n")

    def read_backend(self) -> str:
        """Returns the platform that has run the first search."""
        known = read_versions(self.directory(self.configs[0].seed))
        return str(known.get("search", {}).get("backend") or jax.default_backend())

    def describe_running(self, config: ConfigDict) -> dict[str, Any]:
        """Returns how far a search is, and what it has found so far.

        Args:
          config: of the search.
        """
        directory = self.directory(config.seed)
        progress = read_progress(config, directory, self.dataset)
        row = {"seed": config.seed, "progress": str(progress)}
        if not SavedSearch(directory.path).epochs:
            return row
        return row | self.describe(load_search(directory.path))

    def describe(self, found: SearchResult) -> dict[str, Any]:
        """Returns a row's part of a search, with its result where that is a count.

        Args:
          found: by the search.
        """
        counted = self.experiment.protocol.counts
        result = {"result": _count(found.genotype, counted)} if counted else {}
        return _describe_search(found) | result

    def directory(self, what: object) -> RunDirectory:
        """Returns the directory of a run.

        Args:
          what: seed of a search, or the name of what follows all.
        """
        return RunDirectory(self.runs / f"{self.experiment.name}_{what}")


@dataclasses.dataclass
class _BestSeries(_Series):
    """Searches of which the best one's cell is trained several times.

    The best is the one whose cell, trained from scratch for a short time on what
    trained its search, does best on what validated it (Liu et al., 2019, section 3.2).
    """

    trainings: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def best_of(self) -> BestOf:
        assert self.experiment.recipe.best_of is not None
        return self.experiment.recipe.best_of

    def is_trained(self, directory: RunDirectory) -> bool:
        return self.validation(directory).summary_json.exists()

    def training(self, config: ConfigDict, directory: RunDirectory) -> Step:
        short = {
            "retrain.epochs": self.best_of.epochs,
            "baseline.random_genotypes": 0,
            "baseline.repeats": 0,
        }
        return Step(
            "retrain",
            self.validation(directory).path,
            with_overrides(config, [f"{key}={value}" for key, value in short.items()]),
            {"found_by": absolute_place(directory.path)},
            halves=True,
        )

    def read_training(self, directory: RunDirectory) -> dict[str, Any]:
        trained = _read_trained(self.validation(directory))
        return {"validation": 100 * (1 - trained.accuracy)}

    def is_concluded(self) -> bool:
        is_trained = self.directory("best").summary_json.exists()
        return is_trained and len(self.rows) == len(self.configs)

    def conclude(self, grid: Grid) -> None:
        best = min(range(len(self.rows)), key=lambda i: self.rows[i]["validation"])
        more = {
            "baseline.random_genotypes": 0,
            "baseline.repeats": self.best_of.trainings - 1,
        }
        step = Step(
            "retrain",
            self.directory("best").path,
            with_overrides(
                self.configs[best], [f"{key}={value}" for key, value in more.items()]
            ),
            {"genotype": self.rows[best]["genotype"]},
        )
        grid.run([Program("best", (step,))])
        trained = _read_trained(self.directory("best"))
        skips = self.rows[best]["skips"]
        self.trainings = [
            {"result": 100 * (1 - score), "random": [], "skips": skips}
            for score in trained.scores
        ]

    def results(self) -> dict[str, Any]:
        told = summarize(self.experiment, self.trainings, None)
        return told | {"searches": self.rows}

    def validation(self, directory: RunDirectory) -> RunDirectory:
        """Returns the directory of the training that tells how good a search is.

        Args:
          directory: of the search.
        """
        return RunDirectory(directory.path / "validation")


def _read_trained(directory: RunDirectory) -> RetrainResult:
    trained = read_retrained(directory.path)
    assert trained is not None
    return trained


def summarize(
    experiment: Experiment, rows: list[dict[str, Any]], random: list[float] | None
) -> dict[str, Any]:
    """Summarizes an experiment for the ledger.

    One seed has no deviation and no interval: they are None. So is what no seed and no
    random genotype has told yet.

    Args:
      experiment: the experiment.
      rows: of each seed, with its ``result`` and, if retrained, ``random`` ones.
      random: results of all genotypes of the space, in place of those of the rows.
    """
    results = [row["result"] for row in rows]
    known = None if random is None else statistics.mean(random)
    if random is None:
        random = [result for row in rows for result in row["random"]]
    told = {
        "experiment": experiment.name,
        "rows": rows,
        "mean": statistics.mean(results) if results else None,
        "deviation": statistics.stdev(results) if len(results) > 1 else None,
        "random_mean": statistics.mean(random) if random else None,
        "random_count": len(random),
    }
    if not results or not random:
        return told | {"improvement": None, "pairs": 0}
    gained = improvement_over_random(rows, known, experiment.protocol.result_range)
    # In the unit of the results, of which less may be better.
    ends = (None if math.isnan(end) else end for end in (gained.low, gained.high))
    return told | {"improvement": [gained.difference, *ends], "pairs": gained.pairs}


def improvement_over_random(
    rows: list[dict[str, Any]], known: float | None, within: MeasureRange = PERCENT
) -> Improvement:
    """Computes by how much results are above those of random genotypes.

    One row has no interval: its ends are NaN.

    Args:
      rows: of each seed, with its ``result`` and, if retrained, ``random`` ones.
      known: the mean over all genotypes of the space, where that is known.
      within: range of a result.
    """
    results = [row["result"] for row in rows]
    if len(rows) == 1:
        random = statistics.mean(rows[0]["random"]) if known is None else known
        return Improvement(results[0] - random, math.nan, math.nan)
    if known is not None:
        return improvement_over_mean(results, known, within)
    return improvement_by_run(results, [row["random"] for row in rows], within)


def _list_random_results(
    experiment: Experiment, config: ConfigDict
) -> list[float] | None:
    """Returns results of genotypes that no search chose; None if they are trained."""
    protocol = experiment.protocol
    if protocol.retrains:
        return None
    if not protocol.counts:
        return _list_known_results(config)
    space = get_space(config.space)
    rng = np.random.default_rng(0)
    drawn = (sample_genotype(space, rng) for _ in range(RANDOM_CELLS))
    return [_count(genotype, protocol.counts) for genotype in drawn]


def _count(genotype: Genotype, operation: str) -> float:
    """Returns how often the normal cell has an operation."""
    choices = genotype.cells["normal"].choices
    return float(sum(choice.operation == operation for choice in choices))


def _describe_training(trained: RetrainResult) -> dict[str, Any]:
    """Returns the error in percent, or the score of a task without an accuracy."""
    scores = [trained.score, *(network.score for network in trained.baselines)]
    if trained.measure.more_is_better:
        scores = [100 * (1 - share) for share in [trained.accuracy, *scores[1:]]]
    return {"result": scores[0], "random": scores[1:]}


def _list_known_results(config: ConfigDict) -> list[float]:
    require_table(config.benchmark.table, config.data.directory)
    known = known_accuracies(config)
    if known is None:
        raise InputError(
            f"NAS-Bench-201 says nothing of {config.data.name}: set benchmark.dataset "
            "to the one whose accuracies are meant"
        )
    cells: list[float] = known.cells.tolist()
    return cells


def _describe_search(found: SearchResult) -> dict[str, Any]:
    last = found.records[-1]
    measured = [r["eigenvalue"] for r in found.records if r.get("eigenvalue")]
    row = {
        "genotype": json.loads(found.genotype.to_json()),
        "skips": sum(cell.skips for cell in found.genotype.cells.values()),
        "supernet_accuracy": last["held_out_accuracy"],
        "discretization_gap": last["discretization_gap"],
        "eigenvalue": measured[-1] if measured else None,
        "epochs": len(found.records),
        "history": _describe_history(found),
    }
    if found.known is not None:
        row["result"] = found.known
    return row


_BY_EPOCH = ("benchmark_accuracy", "held_out_accuracy", "entropy", "skips")


def _describe_history(found: SearchResult) -> dict[str, Any]:
    """Returns measures and mean weights of the operations of all edges, by epoch."""
    history = found.history
    told: dict[str, Any] = {
        name: [None if math.isnan(v) else round(float(v), 4) for v in history[name]]
        for name in _BY_EPOCH
        if name in history
    }
    told["weights"] = {
        kind: {name: values.round(4).tolist() for name, values in means.items()}
        for kind, means in found.mean_weights().items()
    }
    return told
