"""A failure to write ends in one line, and nothing is printed after it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Many arrays, as writes of several are under way when the first one fails.
WRITER = """
import asyncio
import logging, resource, sys
from pathlib import Path
import numpy as np
from darts_jax.errors import InputError
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.directory import RunDirectory
from darts_jax.training.metrics import MetricsLog

# A busy machine makes it say that a step took long.
logging.getLogger("asyncio").setLevel(logging.ERROR)
state = {str(i): np.random.default_rng(i).normal(size=(40, 40)) for i in range(10)}

def write(folder):
    log = MetricsLog(RunDirectory(folder), "search")
    store = Checkpoints(folder / "checkpoints", 2)
    for step in range(1, 5):
        log.write(step, {"loss": 1.0})
        store.save(step, state)

async def write_in_a_loop(folder):
    write(folder)

for place in sys.argv[2:]:
    if sys.argv[1] == "limit":
        most = int(Path(place).name)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        asyncio.run(write_in_a_loop(Path(place))) if "loop" in place else write(
            Path(place)
        )
    except InputError as error:
        print(error, file=sys.stderr)
"""


def write_until_it_fails(how: str, places: list[Path]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", WRITER, how]
        + [str(place) for place in places],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.stderr.splitlines()


def test_files_that_grow_too_large_end_in_one_line_each(tmp_path: Path) -> None:
    places = [tmp_path / str(most) for most in (10, 60, 3000, 11000, 13500)]
    lines = write_until_it_fails("limit", places)
    assert len(lines) == len(places), lines
    assert all(
        line.startswith("cannot write ") and line.endswith(": File too large")
        for line in lines
    )
    assert {"metrics.jsonl" in line for line in lines} == {True, False}
    assert any("events.out" in line for line in lines)
    assert any("checkpoint 1 in" in line for line in lines)


@pytest.fixture
def full_disks(tmp_path: Path) -> list[Path]:
    """File systems of a few sizes, in kilobytes; the last is used in an event loop."""
    places = []
    for name in ("4", "12", "40", "130", "200", "300", "loop130"):
        place = tmp_path / name
        place.mkdir()
        size = f"size={name.removeprefix('loop')}k"
        command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)]
        try:
            mounted = subprocess.run(command, capture_output=True).returncode == 0
        except FileNotFoundError:
            mounted = False
        if not mounted:
            pytest.skip("this user can mount nothing")
        places.append(place)
    yield places
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disks_end_in_one_line_each(full_disks: list[Path]) -> None:
    lines = write_until_it_fails("disk", full_disks)
    assert len(lines) == len(full_disks), lines
    assert all(line.startswith("no room on disk for ") for line in lines)


def test_output_that_cannot_be_printed_ends_in_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "darts_jax", "methods"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 2
    assert done.stderr == "darts-jax: no room on disk for the output\n"
