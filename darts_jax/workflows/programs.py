"""Programs of a grid: what an engine's workers run, and what was run before.

A program is verbs on run directories, which are its only memory: the verb finds in its
directory what is done, does the rest and refuses what does not fit. So a program gives
the same bits wherever it runs, and however often it was begun. Workers are told of it
in JSON.
"""

import contextlib
import dataclasses
import functools
import json
import os
import runpy
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import darts_jax
from darts_jax.buckets import is_in_bucket
from darts_jax.cluster import make_engine
from darts_jax.cluster.engine import Engine, Outcome, Report, Task, host_name
from darts_jax.data.identity import Identity, identify, read_identity
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.files import make_folder, open_place, write_atomically
from darts_jax.settings.config import (
    config_difference,
    config_from_tree,
    config_to_json,
    validate_config,
)
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.reading import read_genotype_file
from darts_jax.tasks.image_data import search_halves
from darts_jax.tasks.registry import load_data
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory
from darts_jax.training.grid_table import show_grid
from darts_jax.training.lock import BEAT, SILENCE, RunHeldError
from darts_jax.training.processes import broadcast_from_process_zero, wait_for_all
from darts_jax.workflows.population import describe_members, population, read_members
from darts_jax.workflows.retrain import retrain
from darts_jax.workflows.search import search

_DATA_DIRECTORY = "DARTS_JAX_DATA_DIR"
_SEEN_AFTER = 60.0  # seconds, for which NFS may remember an old folder


@dataclasses.dataclass(frozen=True)
class Step:
    """A verb on a run directory.

    Attributes:
      verb: of `VERBS`.
      run: the directory.
      config: its settings.
      arguments: further ones of the verb, as JSON has them.
      halves: whether it learns from what trains a search, and is tested on what
        validates it.
    """

    verb: str
    run: Path
    config: ConfigDict
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    halves: bool = False

    def to_tree(self) -> dict[str, Any]:
        """Returns the step as JSON has it, with a path that any process understands."""
        return {
            "verb": self.verb,
            "run": absolute_place(self.run),
            "config": self.config.to_dict(),
            "arguments": dict(self.arguments),
            "halves": self.halves,
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Step":
        """Returns the step of what `to_tree` returned.

        Args:
          tree: as JSON has it.

        Raises:
          InputError: this process does not know a setting or its value.
        """
        config = config_from_tree(tree["config"])
        validate_config(config)
        run = open_place(tree["run"])
        return cls(tree["verb"], run, config, tree["arguments"], tree["halves"])


@dataclasses.dataclass(frozen=True)
class Program:
    """Steps that one process runs in order.

    Attributes:
      name: in words; each program of a grid has its own.
      steps: at least one.
    """

    name: str
    steps: tuple[Step, ...]

    def to_tree(self) -> dict[str, Any]:
        """Returns the steps as JSON has them."""
        return {"steps": [step.to_tree() for step in self.steps]}


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb that programs are made of.

    Attributes:
      run: runs a step on data.
      last_file: that it writes in its directory.
      is_of: whether a finished directory of the same settings and data is that of a
        step's arguments.
    """

    run: Callable[[Step, AnyDataset], object]
    last_file: Callable[[RunDirectory], Path]
    is_of: Callable[[Step, RunDirectory], bool] = lambda step, directory: True


def _run_search(step: Step, dataset: AnyDataset) -> object:
    return search(step.config, step.run, dataset)


def _run_population(step: Step, dataset: AnyDataset) -> object:
    return population(step.config, step.arguments["grid"], step.run, dataset)


def _run_retrain(step: Step, dataset: AnyDataset) -> object:
    return retrain(step.config, step.run, _genotype(step), dataset)


def _genotype(step: Step) -> Genotype:
    """Returns a genotype that is an argument, or lies in the run that it names."""
    if "genotype" in step.arguments:
        return Genotype.from_json(json.dumps(step.arguments["genotype"]))
    found_by = RunDirectory(open_place(step.arguments["found_by"]))
    return read_genotype_file(found_by.genotype)


VERBS: dict[str, Verb] = {
    "search": Verb(
        _run_search, lambda directory: directory.genotype.with_suffix(".png")
    ),
    "population": Verb(
        _run_population,
        lambda directory: directory.summary_text,
        lambda step, directory: (
            read_members(directory)
            == describe_members(step.config, step.arguments["grid"])
        ),
    ),
    "retrain": Verb(
        _run_retrain,
        lambda directory: directory.summary_json,
        lambda step, directory: (
            read_genotype_file(directory.genotype) == _genotype(step)
        ),
    ),
}
"""Name -> verb of a `Step`."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Place where the programs of one grid are run, and who runs them.

    Attributes:
      place: directory that all programs lie in.
      engine: entered.
      table: hears of every start and end.
      data: settings that name the data.
      dataset: these data, in this process.
      is_given: whether workers get the data from this process, as no setting names
        them.
    """

    place: Path
    engine: Engine
    table: Report
    data: ConfigDict
    dataset: AnyDataset
    is_given: bool

    def run(self, programs: Sequence[Program]) -> dict[str, Outcome]:
        """Runs programs side by side, those that an earlier call has not finished.

        Args:
          programs: each with a name of its own.

        Returns:
          The outcomes of the programs that were run, by their names.

        Raises:
          InputError: a program has failed; the others have ended first.
        """
        waiting = []
        for program in programs:
            if self.has_finished(program):
                self.table.start(program.name)
                self.table.finish(program.name, was_found=True)
            else:
                waiting.append(program)
        if not waiting:
            return {}
        run = self._run_here if self.engine.is_here else self._run_on_workers
        outcomes = run(waiting)
        _raise_failures(outcomes, len(programs))
        return outcomes

    def has_finished(self, program: Program) -> bool:
        """Returns whether all steps of a program have ended, by strict comparison.

        What differs in a setting or in data is left to the verb, which refuses it or
        goes on. Of several processes the first decides.

        Args:
          program: of this grid.
        """
        found = all(self._is_finished(step) for step in program.steps)
        return bool(broadcast_from_process_zero(int(found)))

    def _is_finished(self, step: Step) -> bool:
        directory = RunDirectory(step.run)
        verb = VERBS[step.verb]
        if not verb.last_file(directory).exists():
            return False
        try:
            if config_difference(load_config(directory.config), step.config):
                return False
            known = read_identity(directory.data)
            here = self._identify(_split(step))
            if known is None or here is None or known.differences(here):
                return False
            return verb.is_of(step, directory)
        except InputError:  # damaged: the verb tells
            return False

    @functools.cached_property
    def _identify(self) -> Callable[[ConfigDict | None], Identity | None]:
        known: dict[str, Identity | None] = {}

        def identify_once(split: ConfigDict | None) -> Identity | None:
            key = "" if split is None else config_to_json(split)
            if key not in known:
                known[key] = identify(_select_data(split, self.dataset))
            return known[key]

        return identify_once

    def _run_here(self, programs: Sequence[Program]) -> dict[str, Outcome]:
        by_name = {program.name: program for program in programs}

        def work(name: str) -> None:
            for step in by_name[name].steps:
                _run_step(step, self.dataset)
            wait_for_all(f"{name} has ended")

        tasks = [Task(p.name, p.name, p.steps[0].run) for p in programs]
        return self.engine.run(work, tasks, self.table)

    def _run_on_workers(self, programs: Sequence[Program]) -> dict[str, Outcome]:
        if jax.process_count() > 1:
            raise InputError(
                "an engine is told of programs by one process, and this is one of "
                f"{jax.process_count()}: want engine=local, or one process"
            )
        given = self.dataset if self.is_given else None
        with _seen_by_workers(self.place) as mark:
            told = {**_describe_here(self.engine), "mark": mark}
            told["data"] = self.data.to_dict()
            tasks = [
                Task(p.name, json.dumps(told | p.to_tree()), p.steps[0].run)
                for p in programs
            ]
            work = functools.partial(run_program, dataset=given)
            return self.engine.run(work, tasks, self.table)


@contextlib.contextmanager
def open_grid(
    title: str,
    place: str | Path,
    engine: Engine | str,
    data: ConfigDict,
    dataset: AnyDataset,
    *,
    is_given: bool = False,
    names: Sequence[str] = (),
    total: int = 0,
) -> Iterator[Grid]:
    """Opens an engine for a grid, whose programs a table shows.

    Args:
      title: of the grid.
      place: directory that all its programs lie in.
      engine: runs them; or its name.
      data: settings that name the data.
      dataset: these data.
      is_given: whether the user has given them in place of those that ``data`` names.
      names: of programs, in order; others are added when they start.
      total: number of programs, where more than the named ones are expected.

    Yields:
      The grid, to run programs in.

    Raises:
      InputError: there is no such engine, or it cannot be reached.
    """
    opened = make_engine(engine) if isinstance(engine, str) else engine
    with opened, show_grid(title, names, total) as table:
        yield Grid(open_place(place), opened, table, data, dataset, is_given)


def run_program(text: str, dataset: AnyDataset | None = None) -> None:
    """Runs a program on a worker.

    Args:
      text: JSON that `Grid.run` has made.
      dataset: in place of the one that the settings name.

    Raises:
      InputError: what a verb refuses, the worker does not see the run directories, or
        has another version of this package.
    """
    told = json.loads(text)
    here = darts_jax.__version__
    if told["version"] != here:
        raise InputError(
            f"{host_name()} has darts_jax {here}, and the grid was begun by "
            f"{told['version']}: want the same on all machines"
        )
    with contextlib.suppress(OSError):  # relative paths are those of the first process
        os.chdir(told["directory"])
    for name, value in told["environment"].items():
        os.environ.setdefault(name, value)
    _require_sight(told["mark"])
    if told["setup"]:
        _run_setup(told["setup"])
    steps = [Step.from_tree(tree) for tree in told["steps"]]
    if dataset is None:
        dataset = load_data(config_from_tree(told["data"]))
    for step in steps:
        _run_when_free(functools.partial(_run_step, step, dataset))


def _run_step(step: Step, dataset: AnyDataset) -> None:
    VERBS[step.verb].run(step, _select_data(_split(step), dataset))


def _split(step: Step) -> ConfigDict | None:
    """Returns the settings that halve the data of a step; None if it has all."""
    return step.config if step.halves else None


def _select_data(split: ConfigDict | None, dataset: AnyDataset) -> AnyDataset:
    return dataset if split is None else search_halves(split, dataset)


def _run_when_free(run: Callable[[], None]) -> None:
    """Runs a step; waits where a dead worker seems to live still in its directory.

    A worker on another machine counts as dead `SILENCE` seconds after it was heard of.
    """
    end = time.monotonic() + SILENCE + 2 * BEAT
    while True:
        try:
            run()
        except RunHeldError as held:
            if time.monotonic() > end:
                raise
            print_status(f"waiting: {held}")
            time.sleep(BEAT)
        else:
            return


def _describe_here(engine: Engine) -> dict[str, Any]:
    """Returns what workers are told of this process."""
    given = {
        name: os.environ[name] for name in (_DATA_DIRECTORY,) if name in os.environ
    }
    return {
        "version": darts_jax.__version__,
        "directory": str(Path.cwd()),
        "environment": {name: str(Path(v).absolute()) for name, v in given.items()},
        "setup": absolute_place(Path(engine.setup)) if engine.setup else "",
    }


@contextlib.contextmanager
def _seen_by_workers(place: Path) -> Iterator[dict[str, str]]:
    """Leaves a mark in a directory while workers are to see it."""
    token = secrets.token_hex(8)
    make_folder(place)
    path = place / f".seen-{token}"
    write_atomically(path, token.encode())
    try:
        yield {"path": absolute_place(path), "token": token}
    finally:
        path.unlink(missing_ok=True)


def _require_sight(mark: Mapping[str, str]) -> None:
    """Looks for the mark; a disk in a network may show it after a while only."""
    path = open_place(mark["path"])
    end = time.monotonic() + _SEEN_AFTER
    while not _holds(path, mark["token"]):
        if not path.parent.exists() or time.monotonic() > end:
            raise InputError(
                f"{host_name()} does not see {path.parent} as it was where the grid "
                "was begun: want a place that all workers share, on a disk or in a "
                "bucket"
            )
        time.sleep(_SEEN_AFTER / 60)


def _holds(path: Path, token: str) -> bool:
    try:
        return path.read_text() == token
    except OSError:
        return False


def _run_setup(path: str) -> None:
    """Runs the user's file that registers spaces, data and the like."""
    try:
        runpy.run_path(path)
    except InputError:
        raise
    # The file is the user's program: whatever it raises is theirs to mend.
    except Exception as error:
        message = str(error).split("\n")[0]
        raise InputError(
            f"{path} failed on {host_name()}: {type(error).__name__}: {message}"
        ) from error


def absolute_place(path: Path) -> str:
    """Returns a path as any process of a cluster understands it.

    Args:
      path: of this process.
    """
    return str(path if is_in_bucket(path) else path.absolute())


def _raise_failures(outcomes: Mapping[str, Outcome], programs: int) -> None:
    """Raises the error of the first program that failed, and counts the others."""
    failed = {name: one.error for name, one in outcomes.items() if one.error}
    for name, error in failed.items():
        if programs == 1:
            raise error
        raise InputError(
            f"{len(failed)} of {programs} programs failed, and the same call runs them "
            f"again; {name}: {error}"
        )
