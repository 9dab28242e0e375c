"""Many devices, processes and members compute what one does."""

import shutil
import signal
import time

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from darts_jax import from_arrays, load_config, population, search
from darts_jax.cli.main import main
from darts_jax.engine.devices import make_layout
from darts_jax.errors import InputError
from darts_jax.training.directory import load_architecture
from darts_jax.workflows.population import agreement
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
        (("float64", "first_order"), ((1, 8), (2, 4))),
        (("float64", "exact"), ((1, 8),)),
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


@pytest.fixture(scope="module")
def digits():
    digits = load_digits()
    images = (digits.images * 15.9).astype(np.uint8)
    return from_arrays(
        images[:256], digits.target[:256], images[:64], digits.target[:64]
    )


@pytest.fixture(scope="module")
def config():
    overrides = [option.removeprefix("--config.") for option in TINY]
    return load_config(None, [*overrides, "search.epochs=2"])


GRID = {"seed": [3, 4], "search.weights.learning_rate": [0.025, 0.5]}


@pytest.mark.parametrize("execution", ["map", "vmap"])
def test_members_of_a_population_equal_the_runs_alone(
    tmp_path, config, digits, execution
):
    changed = config.copy_and_resolve_references()
    changed.population.execution = execution
    found = population(changed, GRID, tmp_path / "all", digits)
    assert len(found.members) == 4
    for i in (0, 3):
        alone = config.copy_and_resolve_references()
        alone.seed = found.members[i].settings["seed"]
        rate = found.members[i].settings["search.weights.learning_rate"]
        alone.search.weights.learning_rate = rate
        lone = search(alone, tmp_path / f"alone_{i}", digits)
        for kind, alpha in lone.alpha.items():
            np.testing.assert_allclose(
                found.members[i].alpha[kind], alpha, rtol=0, atol=1e-5
            )
        assert found.members[i].genotype == lone.genotype
        curve = [record["loss"] for record in lone.records]
        np.testing.assert_allclose(found.members[i].curves["loss"], curve, rtol=1e-3)
    assert "agreement" in str(found)


def test_a_member_that_turns_nan_does_not_stop_the_others(tmp_path, config, digits):
    grid = {"search.weights.learning_rate": [0.025, 1e38]}
    found = population(config, grid, tmp_path / "run", digits)
    sound, lost = found.members
    assert sound.genotype is not None
    assert np.isfinite(sound.curves["loss"]).all()
    assert lost.genotype is None
    assert not np.isfinite(lost.curves["loss"]).all()
    assert np.isnan(found.agreement[0, 1])


def test_agreement_counts_choices_in_common(tmp_path, config, digits):
    from darts_jax import get_genotype

    one, other = get_genotype("DARTS_V1"), get_genotype("DARTS_V2")
    matrix = agreement([one, other, None])
    shared = {
        (kind, choice) for kind, cell in one.cells.items() for choice in cell.choices
    } & {(kind, c) for kind, cell in other.cells.items() for c in cell.choices}
    assert matrix[0, 0] == 1
    assert matrix[0, 1] == len(shared) / 16
    assert np.isnan(matrix[2]).all()


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ("supernet.cells=1,2", "cannot differ within a population"),
        ("seed=", "needs values"),
        ("seed=a", "want an integer"),
    ],
)
def test_bad_grids_get_one_line(tmp_path, capsys, grid, told):
    arguments = ["population", "--run", str(tmp_path / "r"), *TINY, "--grid", grid]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_devices_that_are_not_there_or_do_not_divide_get_one_line():
    with pytest.raises(InputError, match="there are 1: want 1 to 1"):
        make_layout(2, 32, "search.batch_size")
    assert make_layout(0, 32, "search.batch_size").mesh is None
    assert len(jax.devices()) == 1
