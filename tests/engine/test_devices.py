"""Many devices, processes and members compute what one does."""

import json
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from darts_jax.engine.devices import make_layout
from darts_jax.errors import InputError
from darts_jax.training.directory import load_architecture
from tests.support.paths import ROOT
from tests.support.processes import finish, free_port, launch

pytestmark = pytest.mark.slow

SEARCHER = ROOT / "tests" / "support" / "searcher.py"
TOLERANCE = 1e-9


def searched(out, processes, per_process, *how):
    """Architecture parameters after 20 steps on so many devices."""
    script = SEARCHER
    total = processes * per_process
    if processes == 1:
        finish(launch(per_process, script, out, total, *how))
    else:
        address = f"localhost:{free_port()}"
        cluster = [
            launch(per_process, script, out, total, *how, address, processes, index)
            for index in range(processes)
        ]
        finish(*cluster)
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("how", "clusters"),
    [
        (("float64", "first_order", "parts"), ((1, 8), (2, 4))),
        (("float64", "first_order", "compiler"), ((1, 8),)),
        (("float64", "exact", "parts"), ((1, 8),)),
    ],
)
def test_devices_and_processes_give_the_architecture_of_one_device(
    tmp_path, how, clusters
):
    alone = searched(tmp_path / "one.npz", 1, 1, *how)
    moved = max(np.abs(values).max() for values in alone.values())
    assert moved > 0.003  # 20 steps of Adam at 0.0003 from zero
    for processes, devices in clusters:
        many = searched(tmp_path / f"{processes}.npz", processes, devices, *how)
        for kind, values in alone.items():
            np.testing.assert_allclose(many[kind], values, rtol=0, atol=TOLERANCE)


def test_batch_norm_by_device_is_the_mean_of_the_parts_alone():
    process = launch(4, ROOT / "tests" / "support" / "parts.py", 4)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert output.splitlines()[-1] == "equal"


@pytest.mark.parametrize(("batch_norm", "most"), [("global", 60), ("device", 3)])
def test_devices_send_few_messages(batch_norm, most):
    program = ROOT / "tests" / "support" / "collectives.py"
    process = launch(4, program, 4, batch_norm)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    counted = json.loads(output.splitlines()[-1])
    # Sums alone. A compiler that divides a batch gathers it again at convolutions.
    assert counted.keys() == {"all-reduce"}
    assert counted["all-reduce"] <= most


TINY = [
    "--config.space=s2",
    "--config.supernet.cells=1",
    "--config.supernet.channels=2",
    "--config.search.epochs=4",
    "--config.search.batch_size=32",
]


def test_killed_on_8_devices_and_resumed_on_2(tmp_path):
    def command(run):
        return ["-m", "darts_jax", "search", "--run", tmp_path / run, *TINY]

    process = launch(8, *command("run"))
    last_but_one = tmp_path / "run" / "architecture" / "epoch_0003.npz"
    while not last_but_one.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for devices, run in ((2, "run"), (1, "copy")):
        process = launch(devices, *command(run))
        output = process.communicate()[0]
        assert process.returncode == 0, output
        assert "going on from step" in output
    on_two, on_one = (
        load_architecture(tmp_path / run / "architecture" / "epoch_0004.npz")
        for run in ("run", "copy")
    )
    before = load_architecture(last_but_one)
    for kind, alpha in on_one.items():
        moved = np.abs(alpha - before[kind]).max()
        np.testing.assert_allclose(on_two[kind], alpha, rtol=0, atol=0.02 * moved)


def test_devices_that_are_not_there_or_do_not_divide_get_one_line():
    with pytest.raises(InputError, match="there are 1: want 1 to 1"):
        make_layout(2, 32, "search.batch_size")
    assert make_layout(0, 32, "search.batch_size").mesh is None
    assert len(jax.devices()) == 1
