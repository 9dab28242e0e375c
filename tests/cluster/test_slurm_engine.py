"""SLURM's engine: the script that it submits, and arrays that run on this machine."""

import os
import signal
import sys
import threading
import time

import pytest

from darts_jax.cluster import Resources, SlurmEngine, Task
from tests.support.grids import Listener
from tests.support.paths import ROOT
from tests.support.workers import obey, save_on_interrupt

pytest.importorskip("submitit", reason="the extra slurm is not installed")

SBATCH = """#!/bin/sh
cp "$1" "$COPY"
echo "Submitted batch job 17"
"""


@pytest.fixture
def workers_find_tests(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path[:1]]))


def test_the_script_asks_for_what_a_program_needs(tmp_path, monkeypatch):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": "", "sacct": ""}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COPY", str(tmp_path / "script"))
    engine = SlurmEngine(
        Resources(4, 1),
        folder=tmp_path / "jobs",
        partition="gpu",
        time="90",
        array_parallelism="2",
    )
    tasks = [Task(name, name, tmp_path / name) for name in "abc"]
    jobs = engine.submit(print, tasks)
    assert [job.job_id for job in jobs] == ["17_0", "17_1", "17_2"]
    script = (tmp_path / "script").read_text().splitlines()
    for line in (
        "#SBATCH --array=0-2%2",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=darts-jax",
        "#SBATCH --partition=gpu",
        "#SBATCH --time=90",
        "#SBATCH --signal=USR2@90",
    ):
        assert line in script
    (command,) = (line for line in script if line.startswith("srun "))
    assert f"{sys.executable} -u -m submitit.core._submit" in command


@pytest.mark.slow
@pytest.mark.usefixtures("workers_find_tests")
def test_jobs_run_fail_and_are_submitted_again(tmp_path):
    names = ("good", "wrong", "dies once")
    tasks = [Task(n, f"{tmp_path / n}={n}", tmp_path / f"run_{n}") for n in names]
    engine = SlurmEngine(folder=tmp_path / "jobs", executor="local", time=5)
    heard = Listener()
    outcomes = engine.run(obey, tasks, heard)
    assert (tmp_path / "good").read_text() == "good"
    assert (tmp_path / "dies once").read_text() == "dies once"
    assert str(outcomes["wrong"].error) == "ValueError: no such word"
    assert outcomes["good"].error is outcomes["dies once"].error is None
    assert heard.kinds("dies once") == [
        "start",
        "note",
        "note",
        "start",
        "note",
        "finish",
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("workers_find_tests")
def test_a_signal_to_the_first_process_ends_its_jobs(tmp_path):
    path = tmp_path / "word"
    engine = SlurmEngine(folder=tmp_path / "jobs", executor="local", time=5)

    def interrupt():
        while not path.exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(SystemExit, match="130"):
        engine.run(save_on_interrupt, [Task("a", str(path), tmp_path)], Listener())
    end = time.monotonic() + 30
    while path.read_text() != "saved" and time.monotonic() < end:
        time.sleep(0.1)
    assert path.read_text() == "saved"
