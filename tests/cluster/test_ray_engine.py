"""The sixteen searches of README on a Ray cluster of two nodes, one worker killed."""

import contextlib
import json
import os
import signal
import sys
import threading
import time

import pandas as pd
import pytest

import darts_jax
from darts_jax.cluster import RayEngine, Resources, Task
from darts_jax.errors import InputError
from tests.support.grids import GRID, Listener, small_config, timeless
from tests.support.paths import ROOT
from tests.support.workers import obey, save_on_interrupt

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster()
        try:
            add_node(made, num_cpus=1, include_dashboard=False)
            add_node(made, num_cpus=1)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def add_node(cluster, **settings):
    """Adds a node, which may start later than the 30 s for which Ray waits."""
    for _ in range(5):
        try:
            return cluster.add_node(**settings)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return pytest.skip("no node of Ray starts within 30 s")


def worker_of(run):
    """The number of the process that writes a run directory; 0 without one."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((run / ".lock").read_text())["pid"]
    return 0


def kill_a_worker(place, killed):
    """Kills the first worker that has an epoch of a search on disk."""
    while not killed:
        for first in place.glob("*/architecture/epoch_0001.npz"):
            pid = worker_of(first.parents[1])
            if pid not in (0, os.getpid()):
                os.kill(pid, signal.SIGKILL)
                killed.append(first.parents[1].name)
                return
        time.sleep(0.02)


def test_a_cluster_gives_the_table_of_one_process(cluster, tmp_path, capsys):
    config = small_config()
    whole = darts_jax.ablate(config, GRID, range(4), tmp_path / "one")
    killed = []
    place = tmp_path / "many"
    killer = threading.Thread(target=kill_a_worker, args=(place, killed), daemon=True)
    killer.start()
    capsys.readouterr()
    engine = RayEngine(address=cluster.address)
    found = darts_jax.ablate(config, GRID, range(4), place, engine=engine)
    killer.join(5)
    assert len(killed) == 1
    lines = capsys.readouterr().err.splitlines()
    assert sum(": begun" in line for line in lines) == 5
    assert sum(": done" in line for line in lines) == 4
    pd.testing.assert_frame_equal(
        timeless(found.history), timeless(whole.history), check_exact=True
    )
    assert found.to_markdown() == whole.to_markdown()
    assert found.genotypes == whole.genotypes
    # Nothing is done again: each is found, and no worker is asked.
    again = darts_jax.ablate(config, GRID, range(4), place, engine=engine)
    lines = capsys.readouterr().err.splitlines()
    assert sum(": found" in line for line in lines) == 4
    pd.testing.assert_frame_equal(again.history, found.history, check_exact=True)
    # What does not fit is refused by the verb, on the worker, in its one line.
    config.search.epochs = 1
    with pytest.raises(InputError, match=r"4 of 4 programs failed.*another config"):
        darts_jax.ablate(config, GRID, range(4), place, engine=engine)


def test_a_worker_tells_its_end_and_deaths_in_vain_are_counted(cluster, tmp_path):
    names = ("dies", "refused", "stopped", "dies once")
    tasks = [Task(n, f"{tmp_path / n}={n}", tmp_path / f"run_{n}") for n in names]
    heard = Listener()
    with RayEngine(address=cluster.address, attempts=2) as engine:
        outcomes = engine.run(obey, tasks, heard)
    told = {name: str(one.error) for name, one in outcomes.items()}
    assert told["dies once"] == "None"
    assert told["refused"] == f"refused on {sys.platform}"
    given_up = "its worker died 2 times without a new checkpoint; the last time: "
    assert told["dies"] == f"{given_up}its process died"
    assert told["stopped"] == f"{given_up}it was stopped by a signal"
    assert heard.kinds("dies").count("start") == 2


def test_an_interrupt_has_workers_save(cluster, tmp_path):
    path = tmp_path / "word"

    def interrupt():
        while not path.exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with (
        RayEngine(address=cluster.address) as engine,
        pytest.raises(SystemExit, match="130"),
    ):
        engine.run(save_on_interrupt, [Task("a", str(path), tmp_path)], Listener())
    assert path.read_text() == "saved"


def test_a_node_that_joins_is_used(cluster, tmp_path, capsys):
    """A program that fits no node waits for one that it fits."""
    outcomes = {}

    def run():
        task = Task("a", f"{tmp_path / 'a'}=done", tmp_path / "run")
        with RayEngine(Resources(others={"TPU": 4}), cluster.address) as engine:
            outcomes.update(engine.run(obey, [task], Listener()))

    waits = threading.Thread(target=run)
    waits.start()
    said = ""
    while "has 1 CPU, 0 GPU, 4 TPU for a program: waiting" not in said:
        assert waits.is_alive()
        time.sleep(0.1)
        said += capsys.readouterr().err
    node = add_node(cluster, num_cpus=1, resources={"TPU": 4})
    waits.join()
    cluster.remove_node(node)
    assert outcomes["a"].error is None
