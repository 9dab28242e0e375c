"""Baselines on a table, on a supernet's paths and by training, from one command."""

import json

import numpy as np
import pytest

import darts_jax
from darts_jax.baselines import Budget
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.nasbench import load_table
from darts_jax.settings.config import with_overrides
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.workflows.baseline import baseline
from darts_jax.workflows.oracles import (
    make_path_oracle,
    make_table_oracle,
    make_training_oracle,
)
from darts_jax.workflows.programs import open_grid
from darts_jax.workflows.score import list_paths
from tests.support.grids import Worker
from tests.support.small_runs import images
from tests.support.tables import small_table, text_of

pytestmark = pytest.mark.usefixtures("tiny")


def test_a_table_tells_validation_accuracy_for_its_seconds(tmp_path):
    columns = {
        "cifar10_valid_12": np.array([30, 60], np.float32),
        "train_seconds_200_cifar10": np.array([2000, 4000], np.float32),
    }
    table = load_table(small_table(tmp_path / "table.npz", **columns))
    told = make_table_oracle(table)(
        Genotype.from_nasbench201(text_of([1, 0, 0, 0, 3, 0]))
    )
    assert told.score == 60
    assert told.cost == pytest.approx(20 * (12 + 0.353))
    columns["cifar10_valid_200"] = np.array([70, 80], np.float32)
    table = load_table(small_table(tmp_path / "both.npz", **columns))
    oracle = make_table_oracle(table)
    cell = table.genotype(1)
    assert oracle.lengths == (12, 200)
    (long,) = oracle.evaluate_all([cell], 200)
    assert (oracle(cell).score, long.score) == (60, 80)
    assert long.cost == pytest.approx(20 * (200 + 0.353))
    assert make_table_oracle(table, epochs=200)(cell) == long
    bare = load_table(small_table(tmp_path / "bare.npz", cifar10_valid_12=np.ones(2)))
    with pytest.raises(InputError, match="lacks train_seconds_200_cifar10"):
        make_table_oracle(bare)


def config_of(**settings):
    config = darts_jax.default_config()
    config.space = "tiny"
    config.supernet.update(cells=1, channels=2)
    config.search.update(epochs=1, batch_size=8)
    config.retrain.update(cells=1, channels=2, epochs=1, batch_size=8)
    config.retrain.update(pad=0, cutout=0, auxiliary_weight=0.0, drop_path=0.0)
    return with_overrides(config, [f"{k}={v}" for k, v in settings.items()])


def test_paths_and_scores_agree(tmp_path):
    darts_jax.search(config_of(), tmp_path / "run", images())
    settings = ["score.images=16", "score.batch_size=8", "score.calibration=8"]
    scored = darts_jax.score(tmp_path / "run", 0, images(), settings)
    assert list(scored.genotypes) == list_paths(get_space("tiny"), 0, seed=0)
    evaluate = make_path_oracle(tmp_path / "run", 0, images(), settings)
    for genotype, accuracy in zip(scored.genotypes[:4], scored.accuracy, strict=False):
        told = evaluate(genotype)
        assert told.score == pytest.approx(100 * accuracy)
        assert told.cost > 0


@pytest.mark.slow
def test_training_sees_no_test_image_and_no_network_is_trained_twice(tmp_path):
    data, config = images(), config_of()
    half = len(data.train_labels) // 2
    first, second = list_paths(get_space("tiny"), 0, seed=0)[4:6]
    with open_grid("training", tmp_path, "local", config, data) as grid:
        evaluate = make_training_oracle(config, grid)
        told = [evaluate(genotype).score for genotype in (first, second, first)]
    assert told[2] == told[0]
    assert sorted(p.name for p in tmp_path.glob("network_*")) == [
        "network_0",
        "network_1",
    ]
    place = tmp_path / "workers"
    with open_grid("training", place, Worker(), config, data, is_given=True) as grid:
        together = make_training_oracle(config, grid)
        again = [*together.evaluate_all((first, second, first), 0)]
    assert [one.score for one in again] == told
    assert [one.cost for one in again[:2]] == [1.5, 1.5]
    own = darts_jax.from_arrays(
        data.train_images[:half],
        data.train_labels[:half],
        data.train_images[half:],
        data.train_labels[half:],
    )
    alone = darts_jax.retrain(config, tmp_path / "alone", second, own)
    assert told[1] == pytest.approx(100 * alone.accuracy)


@pytest.mark.slow
def test_halving_trains_longer_what_did_best_and_goes_on(tmp_path, monkeypatch):
    config = config_of(**{"retrain.epochs": 3})
    monkeypatch.setitem(darts_jax.SOURCES, "made", lambda directory: images())
    config.data.name = "made"
    once = baseline(
        "successive_halving", config, tmp_path / "a", "training", Budget(evaluations=4)
    )
    asked = once.trace.asked
    assert [one.epochs for one in asked] == [1, 1, 1, 3]
    best = max(asked[:3], key=lambda one: one.score)
    assert asked[3].genotype == best.genotype == once.trace.best.genotype
    half = Budget(evaluations=2)
    baseline("successive_halving", config, tmp_path / "b", "training", half)
    trained = sorted(path.name for path in (tmp_path / "b" / "networks").iterdir())
    assert "network_0_epochs_1" in trained
    known = (tmp_path / "b/networks/network_0_epochs_1/summary.json").stat()
    again = baseline(
        "successive_halving", config, tmp_path / "b", "training", Budget(evaluations=4)
    )
    assert [one.score for one in again.trace.asked] == [one.score for one in asked]
    after = (tmp_path / "b/networks/network_0_epochs_1/summary.json").stat()
    assert after.st_mtime_ns == known.st_mtime_ns
    with pytest.raises(InputError, match="trainings of 2 lengths or more"):
        baseline("hyperband", config_of(), tmp_path / "c", "training", half)


def test_a_baseline_from_the_command_line(tmp_path, capsys):
    space = get_space("nasbench201")
    everything = list_paths(space, 0, seed=0)
    operations = space.cells["normal"].edges[0].operations
    codes = np.array(
        [
            [operations.index(c.operation) for c in genotype.cells["normal"].choices]
            for genotype in everything
        ]
    )
    # Paths have their edges by (target, source), which is the table's order.
    truth = codes.sum(1).astype(np.float32)
    table = small_table(
        tmp_path / "table.npz",
        arch=codes,
        cifar10_valid_12=truth,
        cifar10_test_200=2 * truth,
        train_seconds_200_cifar10=np.full(len(codes), 200, np.float32),
    )
    run = tmp_path / "run"
    given = ["baseline", "--by", "local_search", "--on", "table", "--run", str(run)]
    given += ["--config.space=nasbench201", f"--config.benchmark.table={table}"]
    assert main([*given, "--evaluations=300"]) == 0
    told = capsys.readouterr().out
    trace = json.loads((run / "trace.json").read_text())
    best = Genotype.from_json((run / "genotype.json").read_text())
    # Every edge can be improved by itself, so that a local search ends at the best.
    assert load_table(table).accuracy(best, split="valid", epochs=12) == truth.max()
    assert len(trace["asked"]) == 300
    assert f"{2 * truth.max():.4g}" in told
    assert main([*given[:4], "nothing", *given[5:], "--evaluations=3"]) == 2
    assert main([*given[:4], "paths", *given[5:], "--evaluations=3"]) == 2
    assert main(given) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "unknown oracle 'nothing'" in errors[0]
    assert "want --supernet RUN" in errors[1]
    assert "a budget without an end" in errors[2]
