"""Engines: what they are given, and what becomes of errors, deaths and signals."""

import errno
import importlib.util
import signal

import pytest

from darts_jax.cli.main import main
from darts_jax.cluster import ENGINES, LocalEngine, Resources, Task, make_engine
from darts_jax.cluster.engine import (
    STOPPED,
    Attempts,
    Engine,
    attempt,
    list_saved,
    signals_end,
)
from darts_jax.errors import InputError
from darts_jax.training.loop import StoppedError
from tests.support.grids import Listener


def make_tasks(tmp_path, *names):
    return [Task(name, f"text of {name}", tmp_path / name) for name in names]


def test_a_task_that_fails_does_not_end_the_others(tmp_path):
    def work(text):
        if text.endswith("b"):
            raise InputError("b is wrong")
        if text.endswith("c"):
            raise OSError(errno.ENOSPC, "No space left on device")

    heard = Listener()
    tasks = make_tasks(tmp_path, "a", "b", "c", "d")
    outcomes = LocalEngine().run(work, tasks, heard)
    errors = {name: str(one.error) for name, one in outcomes.items() if one.error}
    assert errors == {"b": "b is wrong", "c": "no room on disk for the results"}
    assert heard.kinds("d") == ["start", "finish"]


def test_a_fault_of_ours_is_no_line_in_one_process(tmp_path):
    def work(text):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        LocalEngine().run(work, make_tasks(tmp_path, "a"), Listener())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("wrong"), "wrong"),
        (StoppedError(signal.SIGTERM, 3), STOPPED),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), "a: No such file"),
        (RuntimeError("out of memory\nmore"), "RuntimeError: out of memory"),
    ],
)
def test_a_worker_tells_one_line(error, told, capsys):
    def work(text):
        raise error

    assert attempt(work, "text") == told
    # The whole of a fault stands in the worker's log.
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, RuntimeError)
    assert attempt(lambda text: None, "text") == ""


def test_a_task_is_given_up_when_its_workers_die_without_a_new_checkpoint(tmp_path):
    (task,) = make_tasks(tmp_path, "a")
    attempts = Attempts(task, most=2)
    assert attempts.failure("lost") is None
    saved = task.directory / "checkpoints" / "search" / "5"
    saved.mkdir(parents=True)
    assert attempts.failure("lost") is None
    validation = task.directory / "validation" / "checkpoints" / "retrain" / "1"
    validation.mkdir(parents=True)
    assert len(list_saved(task.directory)) == 2
    assert attempts.failure("lost") is None
    told = attempts.failure("its node died")
    assert told == (
        "its worker died 2 times without a new checkpoint; the last time: its node died"
    )


def test_a_signal_ends_a_call_and_its_handler_is_put_back(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with signals_end() as end_if_told:
        end_if_told()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit, match="143"):
            end_if_told()
        with pytest.raises(SystemExit, match="130"):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "rey"}, "did you mean 'ray'"),
        ({"name": "local", "resources": Resources(2)}, "unexpected keyword"),
        ({"name": "ray", "partition": "gpu"}, "unexpected keyword"),
        ({"name": "ray", "address": "ray://a:10001"}, "ray job submit"),
        ({"name": "ray", "attempts": "no"}, "want a number from 1 on"),
        ({"name": "slurm", "executor": "pbs"}, "want one of slurm, local, debug"),
        ({"name": "slurm", "resources": Resources(others={"TPU": 4})}, "gres=TPU"),
        ({"name": "slurm", "resources": Resources(0.5)}, "whole cpus"),
        ({"name": "slurm"}, "srun"),
        ({"name": "slurm", "executor": "local", "tim": 3}, "Unknown argument 'tim'"),
    ],
)
def test_a_wrong_engine_or_option_gets_one_line(given, told, tmp_path, monkeypatch):
    pytest.importorskip(
        "submitit", reason="submitit, which hands programs to Slurm, is not installed"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=told) as refused:
        make_engine(**given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_what_is_not_installed_is_named_with_its_extra(
    engine, package, tmp_path, monkeypatch, capsys
):
    def find(name, usual=importlib.util.find_spec):
        return None if name == package else usual(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    run = str(tmp_path / "run")
    given = ["ablate", "--run", run, "--grid", "seed=0", "--engine", engine]
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"pip install 'darts-jax[{engine}]'")
    assert not (tmp_path / "run").exists()


def test_resources_are_not_negative():
    assert str(Resources(2, 0.5, {"TPU": 4})) == "2 CPU, 0.5 GPU, 4 TPU"
    with pytest.raises(InputError, match="gpus of a program is -1"):
        Resources(gpus=-1)


def test_an_engine_of_ones_own_is_one_entry(monkeypatch, tmp_path):
    class Backwards(LocalEngine):
        def run(self, work, tasks, report):
            return super().run(work, tasks[::-1], report)

    monkeypatch.setitem(ENGINES, "backwards", Backwards)
    engine = make_engine("backwards")
    assert isinstance(engine, Engine)
    heard = []
    engine.run(heard.append, make_tasks(tmp_path, "a", "b"), Listener())
    assert heard == ["text of b", "text of a"]
