"""`search`: from data to a genotype."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
from ml_collections import ConfigDict

from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.engine.job import Job
from darts_jax.files import open_place
from darts_jax.settings.config import validate_config, with_overrides
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.reading import read_genotype_file
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.module.problem import Module, ProblemParts, make_problem
from darts_jax.tasks.registry import load_data, make_search
from darts_jax.tasks.search_job import full_mask, make_discretization, search_start
from darts_jax.tasks.task import TaskData
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.live import Live, make_live_plot
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.loop import completed_steps, initial_tree, run_epochs
from darts_jax.training.metrics import finish_logs
from darts_jax.training.opening import open_run
from darts_jax.training.processes import is_writer, wait_for_all
from darts_jax.training.run_budget import (
    fit_to_budget,
    print_budget,
    read_limit,
    write_costs,
)
from darts_jax.training.search_observer import SearchObserver
from darts_jax.training.search_result import SearchResult, read_search_result
from darts_jax.training.stages import Stage, make_stages, pruned_mask
from darts_jax.training.warm_start import SourceRun, make_search_warm_start
from darts_jax.workflows.select import select_on_supernet

LARGEST_DECAY = 0.03
"""Bound of the weights' decay when a search begins anew (R-DARTS's released code)."""


@overload
def search(
    config: ConfigDict,
    run: str | Path,
    dataset: TaskData | None = None,
    live: Live | None = None,
    start_from: str | Path | None = None,
) -> SearchResult: ...


@overload
def search(
    config: Module,
    run: str | Path,
    dataset: None = None,
    live: Live | None = None,
    start_from: str | Path | None = None,
    settings: ConfigDict | Sequence[str] = (),
    **problem: Unpack[ProblemParts],
) -> SearchResult: ...


def search(
    config: ConfigDict | Module,
    run: str | Path,
    dataset: TaskData | None = None,
    live: Live | None = None,
    start_from: str | Path | None = None,
    settings: ConfigDict | Sequence[str] = (),
    **problem: object,
) -> SearchResult:
    """Searches an architecture, or goes on where an earlier call was stopped.

    The architecture is a space's, as the settings name it, or that of a network of
    one's own with choices in it: ``search(module, run, data=..., loss=...)``.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (32, 4, 4, 3), np.uint8)
      >>> labels = np.arange(32) % 3
      >>> data = darts_jax.from_arrays(images, labels, images, labels)
      >>> config = darts_jax.default_config()
      >>> config.space = "one_edge"  # the example of `Space`
      >>> config.supernet.update(cells=1, channels=2)
      >>> config.search.update(epochs=1, batch_size=8)
      >>> darts_jax.search(config, "runs/one", data).genotype.space
      'one_edge'

    Args:
      config: see `config.default_config`; or a network of one's own.
      run: a new directory, or that of a run with the same settings.
      dataset: in place of the one that the config names.
      live: is shown every epoch's record; by default, in a notebook, a plot.
      start_from: a run whose search's last weights, statistics and architecture are
        the first of this one, in place of random ones.
      settings: for a network of one's own, ``["search.epochs=3"]`` or a whole config.
      problem: for a network of one's own, what `make_problem` takes besides.

    Returns:
      The genotype and the records of all epochs.

    Raises:
      InputError: a mistake in the settings or the data, or the run began on other
        data; one line says which.
    """
    if isinstance(config, ConfigDict):
        return _search(config, run, dataset, live, start_from)
    parts: Any = problem
    own = make_problem(config, **parts)
    if isinstance(settings, ConfigDict):
        chosen = own.config(base=settings)
    else:
        chosen = own.config(*settings)
    return _search(chosen, run, own, live, start_from)


@holds_run_lock
def _search(
    config: ConfigDict,
    run: str | Path,
    dataset: TaskData | None,
    live: Live | None,
    start_from: str | Path | None,
) -> SearchResult:
    """Searches by settings; see `search`."""
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or load_data(config)
    stages = make_stages(config)
    known = known_accuracies(config)
    # Whatever a later stage asks is refused before the first one runs.
    jobs = [make_search(stage.config, dataset) for stage in stages]
    source = None if start_from is None else SourceRun(open_place(start_from))
    new = RunDirectory(open_place(run))
    warm_start = make_search_warm_start(source, config, new, jobs[0])
    directory = open_run(run, config, "search", dataset)
    if warm_start is not None:
        warm_start.write(directory)
    write_costs(config, dataset, directory)
    drawing = directory.path / "genotype"
    # What a search writes last: a finished one is read.
    finished = drawing.with_suffix(".png").exists()
    if finished:
        genotype = read_genotype_file(directory.genotype)
    else:
        live = live or make_live_plot()
        last = _run_stages(stages, jobs, dataset, directory, live)
        genotype = _derive_genotype(last, dataset, directory)
        atomic_write(directory.genotype, genotype.to_json())
    found = read_search_result(directory, genotype, stages)
    if known is not None:
        print_status(f"search: {found.known:.2f} % by {known.title}")
    if is_writer() and not finished:
        # Matplotlib takes a second to import: only where something is drawn.
        from darts_jax.plots.cells import save_drawing

        save_drawing(genotype, drawing)
    verbs = dict.fromkeys(record["verb"] for record in found.records)
    files = [directory.genotype, drawing.with_suffix(".png")]
    finish_logs(directory, [*verbs], [files])
    wait_for_all("the search is written")
    return found


@dataclasses.dataclass(frozen=True)
class _FinishedStage:
    """A stage at its end.

    Attributes:
      stage: with the settings that it ended with.
      job: of its last attempt.
      state: of its last epoch.
      epoch: the last, or that which its stop returned to.
      alpha: the architecture of that epoch.
    """

    stage: Stage
    job: Job
    state: Any
    epoch: int
    alpha: Mapping[str, np.ndarray]

    @property
    def epochs(self) -> int:
        """Epochs that it ran."""
        return completed_steps(self.state) // self.job.steps_per_epoch

    def restore_state(self, directory: RunDirectory) -> Any:
        """Returns the state that the architecture is of."""
        if self.epoch == self.epochs:
            return self.state
        step = self.epoch * self.job.steps_per_epoch
        verb, step = _find_checkpoint(self.stage, directory, step)
        checkpoints = Checkpoints(directory.checkpoints / verb)
        return checkpoints.restore(step, initial_tree(self.job))["state"]


def _run_stages(
    stages: list[Stage],
    jobs: list[Job],
    dataset: AnyDataset,
    directory: RunDirectory,
    live: Live | None,
) -> _FinishedStage:
    """Runs stages, each with the operations that the one before kept; returns the last.

    Every stage goes on from where it is.
    """
    mask = full_mask(get_space(stages[0].config.space))
    last = None
    offset = 0
    for stage, job in zip(stages, jobs, strict=True):
        if last is not None:
            mask = pruned_mask(stage.config, mask, last.alpha)
        job = dataclasses.replace(job, start=search_start(stage.config, mask))
        last = _run_stage(stage, job, dataset, directory, live, offset)
        offset += last.epochs
    assert last is not None
    return last


def _run_stage(
    stage: Stage,
    job: Job,
    dataset: AnyDataset,
    directory: RunDirectory,
    live: Live | None,
    offset: int,
) -> _FinishedStage:
    """Runs a stage, and again from where its stop returned to, as often as asked.

    Args:
      offset: epochs of the stages before.
    """
    restarts = stage.config.search.stopping.restarts
    origin = None
    for attempt in range(restarts + 1):
        if attempt:
            stage = _strengthen_decay(stage)
            job = dataclasses.replace(
                make_search(stage.config, dataset), start=job.start
            )
        observer = SearchObserver(stage, directory, offset, live=live)
        settings = stage.config.checkpoint
        state = run_epochs(job, directory, stage.verb, settings, observer, origin)
        if observer.stop is None:
            epoch = completed_steps(state) // job.steps_per_epoch
            break
        epoch = observer.stop.epoch
        origin = _find_checkpoint(stage, directory, epoch * job.steps_per_epoch)
    return _FinishedStage(stage, job, state, epoch, observer.load_alpha(epoch))


def _derive_genotype(
    last: _FinishedStage, dataset: AnyDataset, directory: RunDirectory
) -> Genotype:
    """Reads the genotype off the last stage, and fits it to the budget if any."""
    config = last.stage.config
    limit = read_limit(config, directory)
    if config.search.discretization in SELECTIONS:
        state = last.restore_state(directory)
        genotype = select_on_supernet(config, last.job, state, dataset, limit)
    else:
        space = get_space(config.space)
        genotype = make_discretization(config)(space, last.alpha)
    fitted = fit_to_budget(limit, genotype, last.alpha)
    print_budget(limit, fitted, before=genotype)
    return fitted


def _find_checkpoint(
    stage: Stage, directory: RunDirectory, step: int
) -> tuple[str, int]:
    """Returns the verb of the latest attempt that saved a step, and the step."""
    attempts = [
        dataclasses.replace(stage, attempt=n) for n in range(stage.attempt, -1, -1)
    ]
    for attempt in attempts:
        if (directory.checkpoints / attempt.verb / str(step)).exists():
            return attempt.verb, step
    return stage.verb, step


def _strengthen_decay(stage: Stage) -> Stage:
    """Returns the next attempt of a stage, with stronger decay of the weights.

    Zela et al. (2020), DARTS-ADA.
    """
    settings = stage.config.search
    decay = min(settings.weights.decay * settings.stopping.stronger, LARGEST_DECAY)
    config = with_overrides(stage.config, [f"search.weights.decay={decay}"])
    return Stage(config, stage.name, stage.attempt + 1)
