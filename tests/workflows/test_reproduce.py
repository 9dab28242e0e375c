"""Published experiments: run, stored, and told beside what was published."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.settings.config import validate_config
from darts_jax.settings.experiments import (
    EXPERIMENTS,
    PROTOCOLS,
    Experiment,
    Published,
    experiment_config,
    get_experiment,
)
from darts_jax.spaces.nasbench201 import MACRO, NASBENCH201, OPERATIONS
from darts_jax.workflows.ledger import ledger
from darts_jax.workflows.reproduce import reproduce, summary
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_valid_settings(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = experiment_config(EXPERIMENTS[name], 3)
    validate_config(config)
    assert config.seed == 3


def test_the_page_is_that_of_the_stored_results():
    assert (ROOT / "REPRODUCTION.md").read_text() == ledger(ROOT / "results")


def small(monkeypatch, name, **changed):
    """A protocol of a few steps, and its only experiment."""
    protocol = dataclasses.replace(PROTOCOLS[name], **changed)
    published = Published(54.3, None, "somebody")
    experiment = Experiment("small/darts", "darts", protocol, published)
    monkeypatch.setitem(PROTOCOLS, "small", protocol)
    monkeypatch.setitem(EXPERIMENTS, "small/darts", experiment)


SIZES = {
    "data.images": 48,
    "supernet.cells": 1,
    "supernet.channels": 2,
    "search.epochs": 1,
    "search.batch_size": 8,
}


def row_of(page):
    section = page.split("## small")[1]
    return next(line for line in section.splitlines() if line.startswith("| DARTS"))


@pytest.mark.slow
def test_a_search_is_looked_up_and_compared_with_all_cells(tmp_path, monkeypatch):
    one_cell = dataclasses.replace(MACRO, layout=lambda cells: ("normal",) * cells)
    space = dataclasses.replace(NASBENCH201, macro=one_cell)
    monkeypatch.setitem(darts_jax.SPACES, "nasbench201", space)
    settings = SIZES | {"space": "nasbench201"}
    small(monkeypatch, "nasbench201", settings=settings)
    monkeypatch.delenv("DARTS_JAX_DATA_DIR", raising=False)
    places = tmp_path / "runs", tmp_path / "results"
    with pytest.raises(InputError, match="needs its table"):
        reproduce("small/darts", (0, 1), *places)
    everything = np.array(list(itertools.product(range(5), repeat=6)), np.uint8)
    truth = np.random.default_rng(0).uniform(10, 95, 5**6).astype(np.float32)
    edges = ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")
    arrays = {"ops": OPERATIONS, "edges": edges, "arch": everything}
    np.savez(tmp_path / "nasbench201_table.npz", **arrays, cifar10_test_200=truth)
    monkeypatch.setenv("DARTS_JAX_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="says nothing of digits"):
        reproduce("small/darts", (0, 1), *places)
    settings["benchmark.dataset"] = "cifar10"
    stored = json.loads(reproduce("small/darts", (0, 1), *places).read_text())
    want = []
    for seed in (0, 1):
        alpha = places[0] / "small" / f"darts_{seed}" / "architecture/epoch_0001.npz"
        with np.load(alpha) as saved:
            code = saved["normal"].argmax(-1)
        want.append(truth[np.dot(code, 5 ** np.arange(5, -1, -1))])
    np.testing.assert_allclose([row["result"] for row in stored["rows"]], want)
    assert stored["mean"] == pytest.approx(np.mean(want), rel=1e-6)
    assert stored["random_mean"] == pytest.approx(truth.mean(), rel=1e-5)
    difference, low, high = stored["improvement"]
    assert difference == pytest.approx(np.mean(want) - truth.mean(), rel=1e-4)
    assert low <= difference <= high
    row = row_of(ledger(places[1]))
    assert f"| 2 | {np.mean(want):.2f} ± {np.std(want, ddof=1):.2f} |" in row
    assert "15,625" in row
    assert "54.30 (somebody)" in row


@pytest.mark.slow
def test_a_network_is_retrained_beside_random_ones(tmp_path, monkeypatch):
    retrain = {f"retrain.{n}": 1 for n in ("cells", "epochs")} | {
        "retrain.channels": 2,
        "retrain.batch_size": 8,
        "retrain.pad": 0,
        "retrain.cutout": 0,
        "retrain.auxiliary_weight": 0.0,
        "retrain.drop_path": 0.0,
        "baseline.random_genotypes": 2,
    }
    settings = SIZES | retrain | {"space": "tiny"}
    small(monkeypatch, "fashion_mnist_proxy", settings=settings)
    path = reproduce("small/darts", (0, 1), tmp_path / "runs", tmp_path)
    stored = json.loads(path.read_text())
    for seed, row in enumerate(stored["rows"]):
        run = tmp_path / "runs" / "small" / f"darts_{seed}" / "summary.json"
        networks = json.loads(run.read_text())["networks"]
        errors = [100 * (1 - network["test_accuracy"]) for network in networks]
        assert [row["result"], *row["random"]] == pytest.approx(errors)
    assert stored["random_count"] == 4
    # An error that is smaller than that of random genotypes is an improvement.
    rows = [{"result": 5.0, "random": [8.0, 9.0]}, {"result": 6.0, "random": [8.5]}]
    told = summary(EXPERIMENTS["small/darts"], rows, None)
    rows = [row | {"skips": 2} for row in rows]
    path.write_text(json.dumps(told | {"rows": rows, "note": ""}))
    found = re.search(
        r"\+3\.00 \(([+-][\d.]+) to ([+-][\d.]+)\)", row_of(ledger(tmp_path))
    )
    assert float(found[1]) < 3 < float(found[2])


def test_what_was_not_run_says_so_and_damage_is_told(tmp_path, capsys):
    page = ledger(tmp_path)
    assert page.count("| not run |") == len(EXPERIMENTS)
    out = tmp_path / "page.md"
    given = ["ledger", "--results", str(tmp_path), "--out", str(out)]
    assert main(given) == 0
    assert out.read_text() == page
    stored = tmp_path / "nasbench201" / "darts.json"
    stored.parent.mkdir()
    stored.write_text("{")
    assert main(given) == 2
    stored.write_text('{"experiment": "nasbench201/gdas"}')
    assert main(given) == 2
    told = capsys.readouterr().err
    assert "are damaged" in told
    assert "are not of nasbench201/darts" in told
    assert out.read_text() == page
    with pytest.raises(InputError, match="did you mean 'nasbench201/darts'"):
        get_experiment("nasbench201/dart")
    with pytest.raises(InputError, match="needs 2 seeds or more"):
        reproduce("nasbench201/darts", [0], tmp_path, tmp_path)
