"""The lock of a run directory names its holder, and a dead process holds none."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.training import lock
from darts_jax.training.lock import require_held, run_lock, write_locked
from darts_jax.training.lock_file import NAME
from tests.support.paths import ROOT

HOLD = """
import sys
from darts_jax.training.lock import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
GROUP = """
import sys
from darts_jax.errors import InputError
from darts_jax.training.lock import run_lock
from darts_jax.training.processes import join_processes, wait_for_all
address, index, free, held = sys.argv[1:]
join_processes(address, 2, int(index))
with run_lock(free), run_lock(free):
    wait_for_all("both are in")
    print("in")
wait_for_all("both are out")
try:
    with run_lock(held):
        print("in")
except InputError as error:
    print(error)
"""


def start(script: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )


@contextlib.contextmanager
def holding(run: Path) -> Iterator["subprocess.Popen[str]"]:
    holder = start(HOLD, run)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def lock_of(run: Path, age: float = 0, **other: object) -> Path:
    """Writes the lock of this process, with some things other than they are."""
    run.mkdir(exist_ok=True)
    file = run / NAME
    holder = lock.dataclasses.asdict(lock.Holder.here())
    file.write_text(json.dumps(holder | other))
    then = time.time() - age
    os.utime(file, (then, then))
    return file


def test_every_verb_that_writes_names_the_holder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with holding(run) as holder:
        told = f"run directory {run} is being written by process {holder.pid} on "
        for verb in (
            ["search"],
            ["run"],
            ["retrain"],
            ["population", "--grid=seed=0,1"],
            ["front", "--targets=1"],
            ["baseline", "--by=random", "--on=table", "--evaluations=2"],
        ):
            assert main([*verb, "--run", str(run)]) == 2
            line = capsys.readouterr().err
            assert told in line
            assert line.count("\n") == 1
        assert main(["score", str(run)]) == 2
        assert told in capsys.readouterr().err
        with pytest.raises(InputError, match=told):
            darts_jax.ablate(darts_jax.default_config(), {}, run=run, seeds=range(2))
        (run / "config.json").touch()
        with pytest.raises(InputError, match=told):
            write_locked(run / "genotype.json", "")
        assert {p.name for p in run.iterdir()} == {NAME, "config.json"}
        os.kill(holder.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while lock.process_start_time(holder.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        with run_lock(run):  # the dead holder's file is there, and its process a zombie
            write_locked(run / "genotype.json", "")
    assert {p.name for p in run.iterdir()} == {"genotype.json", "config.json"}


def test_a_number_that_another_process_has_now_holds_nothing(tmp_path: Path) -> None:
    lock_of(tmp_path / "ours")
    with pytest.raises(InputError, match=f"process {os.getpid()} on"):
        lock._Lock(tmp_path / "ours")
    for age in (0, 10):
        lock_of(tmp_path / "run", age, started="long ago")
        with run_lock(tmp_path / "run"):
            pass


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"machine": "a container"}])
def test_a_holder_elsewhere_is_judged_by_its_last_sign_of_life(
    tmp_path: Path, other: dict[str, str]
) -> None:
    fresh, silent = lock.SILENCE - 30, lock.SILENCE + 30
    file = lock_of(tmp_path, fresh, pid=1, command="darts-jax search", **other)
    before = file.read_text()
    told = r"process 1 on .* \(darts-jax search\) .* last seen 15\d s ago"
    with pytest.raises(InputError, match=told):
        lock._Lock(tmp_path)
    assert file.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == [NAME]
    lock_of(tmp_path, silent, **other)
    with run_lock(tmp_path):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    file.write_text("torn")
    with pytest.raises(InputError, match="someone, last seen 0 s ago"):
        lock._Lock(tmp_path)


def test_a_holder_gives_signs_of_life_and_notices_a_theft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with run_lock(tmp_path):
        file = tmp_path / NAME
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 10
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - file.stat().st_mtime < 60
        require_held(tmp_path)
        lock_of(tmp_path, host="elsewhere", command="thief")
        with pytest.raises(InputError, match=r"taken over by .* elsewhere \(thief\)"):
            require_held(tmp_path)
    assert "elsewhere" in file.read_text()  # another's lock is not ours to remove


def test_of_many_at_once_one_takes_over(tmp_path: Path) -> None:
    for _ in range(5):
        lock_of(tmp_path, started="long ago")
        barrier = threading.Barrier(8)

        def take(_: int, barrier: threading.Barrier = barrier) -> lock._Lock | None:
            barrier.wait()
            try:
                return lock._Lock(tmp_path)
            except InputError:
                return None

        with ThreadPoolExecutor(8) as pool:
            taken = [held for held in pool.map(take, range(8)) if held]
        assert len(taken) == 1
        taken[0].require()
        taken[0].release()
        assert not list(tmp_path.iterdir())


def test_what_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path / "a" / "b"):
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"cannot write run directory .*file"),
        run_lock(tmp_path / "file"),
    ):
        pass


def test_processes_of_one_program_have_one_lock(tmp_path: Path) -> None:
    held = tmp_path / "held"
    lock_of(held, host="elsewhere")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [start(GROUP, address, i, tmp_path / "run", held) for i in range(2)]
    outputs = [
        re.sub(r"\[Gloo\].*\n", "", process.communicate(timeout=120)[0])
        for process in both
    ]
    assert outputs[0].startswith(f"in\nrun directory {held} is being written by ")
    assert outputs[1] == f"in\nprocess 0 refused, and says why: to write in {held}\n"
    assert [process.returncode for process in both] == [0, 0]
    assert not (tmp_path / "run").exists()
