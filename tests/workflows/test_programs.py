"""Programs of a grid: what workers are told, and what was finished before."""

import json

import numpy as np
import pytest

import darts_jax
from darts_jax.data.identity import identify
from darts_jax.errors import InputError
from darts_jax.settings.config import config_to_json, with_overrides
from darts_jax.training.directory import RunDirectory
from darts_jax.training.lock import SILENCE, RunHeldError
from darts_jax.workflows import programs
from darts_jax.workflows.population import describe_members
from darts_jax.workflows.programs import Program, Step, open_grid
from tests.support.grids import Worker
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")
GENOTYPE = {
    "space": "tiny",
    "cells": {
        "normal": {"inputs": 2, "edges": [["skip_connect", 0, 2]], "output": [2]}
    },
}


def write_finished(run, settings, data):
    """Writes what tells of a finished search, population and training."""
    directory = RunDirectory(run)
    directory.path.mkdir()
    directory.config.write_text(config_to_json(settings))
    directory.data.write_text(identify(data).to_json())
    directory.genotype.write_text(json.dumps(GENOTYPE))
    (run / "members.json").write_text(json.dumps(describe_members(settings, SEEDS)))
    for last in ("genotype.png", "summary.txt", "summary.json"):
        (run / last).touch()


SEEDS = {"seed": [0, 1]}


@pytest.mark.parametrize(
    ("verb", "arguments", "other"),
    [
        ("search", {}, None),
        ("population", {"grid": SEEDS}, {"grid": {"seed": [0, 2]}}),
        (
            "retrain",
            {"genotype": GENOTYPE},
            {"genotype": json.loads(json.dumps(GENOTYPE).replace("0, 2", "1, 2"))},
        ),
    ],
)
def test_what_is_finished_is_found_where_nothing_differs(
    verb, arguments, other, tmp_path
):
    settings, data, run = config(), images(), tmp_path / "run"

    def is_found(settings=settings, data=data, arguments=arguments, **more):
        step = Step(verb, run, settings, arguments, **more)
        with open_grid("grid", tmp_path, "local", settings, data) as grid:
            return grid.has_finished(Program("a", (step,)))

    assert not is_found()
    write_finished(run, settings, data)
    assert is_found()
    assert not is_found(with_overrides(settings, ["search.epochs=3"]))
    assert not is_found(data=images(count=24))
    assert not is_found(halves=True)
    if other is not None:
        assert not is_found(arguments=other)
    (run / "config.json").write_text("{")
    assert not is_found()


def tell(tmp_path, **changed):
    """The text of a search, as a worker is told of it."""
    told = []

    class Listens(Worker):
        setup = str(changed.pop("setup", ""))

        def run(self, work, tasks, report):
            told.extend(task.text for task in tasks)
            for task in tasks:
                work(json.dumps(json.loads(task.text) | changed))
            return {}

    step = Step("search", tmp_path / "run", config(), {})
    with open_grid("grid", tmp_path, Listens(), config(), images()) as grid:
        grid.run([Program("a", (step,))])
    return json.loads(told[0])


def test_a_worker_is_told_all_in_json(tmp_path, monkeypatch):
    ran = []
    verb = programs.Verb(lambda *given: ran.append(given), lambda run: run.genotype)
    monkeypatch.setitem(programs.VERBS, "search", verb)
    monkeypatch.setattr(programs, "load_data", lambda settings: settings.seed)
    monkeypatch.chdir(tmp_path)
    told = tell(tmp_path)
    assert told["directory"] == str(tmp_path)
    ((step, data),) = ran
    assert (step.run, step.verb, data) == (tmp_path / "run", "search", 0)
    assert step.config.to_dict() == config().to_dict()
    # The mark by which workers saw the place is gone again.
    assert not [*tmp_path.glob(".seen-*")]


def test_a_worker_elsewhere_or_of_another_version_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "load_data", pytest.fail)
    monkeypatch.setattr(programs, "_SEEN_AFTER", 0.01)
    with pytest.raises(InputError, match=r"begun by 0\.0\.1: want the same on all"):
        tell(tmp_path, version="0.0.1")
    there = {"path": str(tmp_path / "elsewhere" / ".seen-1"), "token": "1"}
    with pytest.raises(InputError, match="want a place that all workers share"):
        tell(tmp_path, mark=there)
    here = {"path": str(tmp_path / ".seen-1"), "token": "1"}
    with pytest.raises(InputError, match="want a place that all workers share"):
        tell(tmp_path, mark=here)


def test_a_worker_runs_the_users_file_first(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "load_data", lambda settings: None)
    file = tmp_path / "mine.py"
    file.write_text(
        "from darts_jax import SPACES\nSPACES['registered'] = SPACES['tiny']\n"
    )
    monkeypatch.setitem(
        programs.VERBS, "search", programs.Verb(print, lambda r: r.genotype)
    )
    tell(tmp_path, setup=file)
    assert darts_jax.SPACES.pop("registered") is darts_jax.SPACES["tiny"]
    file.write_text("1 / 0")
    with pytest.raises(InputError, match="ZeroDivisionError: division by zero"):
        tell(tmp_path, setup=file)


def test_a_dead_workers_lock_is_waited_for(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(programs.time, "monotonic", lambda: clock[0])

    def sleep(seconds):
        clock[0] += seconds

    monkeypatch.setattr(programs.time, "sleep", sleep)

    def held_until(end):
        def run():
            if clock[0] < end:
                raise RunHeldError("held by someone")

        return run

    programs._run_when_free(held_until(SILENCE + 5))
    assert capsys.readouterr().err.count("waiting: held by someone") > 5
    clock[0] = 0.0
    with pytest.raises(RunHeldError):
        programs._run_when_free(held_until(np.inf))


def test_failed_programs_are_told_once_all_have_ended(tmp_path):
    given = []
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").touch()
        given.append(Program(name, (Step("search", tmp_path / name, config()),)))
    data = images()
    with open_grid("grid", tmp_path, Worker(), config(), data, is_given=True) as grid:
        both = "2 of 2 programs failed, and the same call runs them again; b: directory"
        with pytest.raises(InputError, match=both):
            grid.run(given)
        with pytest.raises(InputError, match=r"^directory .* holds no run"):
            grid.run(given[:1])
