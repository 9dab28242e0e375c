"""Baselines on the table: the benchmark's protocol, stored and told in the ledger."""

import itertools
import json

import numpy as np
import pytest

from darts_jax.cli.main import main
from darts_jax.spaces.nasbench201 import OPERATIONS
from darts_jax.workflows.ledger import ledger
from tests.support.paths import ROOT

SECONDS = 12_000
EPOCH = 10.0  # seconds of each cell of the table made here


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Accuracies of all cells, as one random order for validation and test."""
    rng = np.random.default_rng(0)
    told, valid, test = rng.uniform(10, 95, (3, 5**6)).astype(np.float32)
    np.savez(
        tmp_path / "nasbench201_table.npz",
        ops=OPERATIONS,
        edges=("0->1", "0->2", "1->2", "0->3", "1->3", "2->3"),
        arch=np.array(list(itertools.product(range(5), repeat=6)), np.uint8),
        cifar10_valid_12=told,
        cifar10_valid_200=valid,
        cifar10_test_200=test,
        train_seconds_200_cifar10=np.full(5**6, 200 * EPOCH, np.float32),
    )
    monkeypatch.setenv("DARTS_JAX_DATA_DIR", str(tmp_path))
    return told, valid, test


def test_a_row_has_the_best_cell_of_each_search(table, tmp_path, capsys):
    told, valid, test = table
    for name in ("random_search", "evolution"):
        given = ["reproduce", f"nasbench201_table/{name}", "--seeds", "3"]
        assert main([*given, "--results", str(tmp_path)]) == 0
    path = tmp_path / "nasbench201_table" / "evolution.json"
    stored = json.loads(path.read_text())
    # 12 epochs and a validation of 0.353 epochs for each cell.
    assert stored["asked"] == [int(SECONDS / (12.353 * EPOCH))] * 3
    cells = stored["cells"]
    assert min(told[cells]) > np.quantile(told, 0.95)
    np.testing.assert_allclose(stored["valid"], valid[cells], atol=1e-3)
    np.testing.assert_allclose(stored["test"], test[cells], atol=1e-3)
    row = next(
        line
        for line in ledger(tmp_path).splitlines()
        if "| evolution (REA) | 3" in line
    )
    mean = np.mean(test[cells])
    deviation = np.std(test[cells], ddof=1)
    assert f"| {mean:.2f} ± {deviation:.2f} | 93.92 ± 0.30 |" in row
    random = json.loads(path.with_name("random_search.json").read_text())["test"]
    assert f"| {mean - np.mean(random):+.2f} (" in row
    assert main([*given[:2], "--seeds", "1"]) == 2
    assert "needs 2 searches or more, not 1" in capsys.readouterr().err


def test_the_stored_searches_are_500_and_reach_published_figures():
    """REINFORCE's rate is not published, and its rows are not expected to agree."""
    for name, published in (("random_search", 93.70), ("evolution", 93.92)):
        path = ROOT / "results" / "nasbench201_table" / f"{name}.json"
        test = json.loads(path.read_text())["test"]
        assert len(test) == 500
        error = np.hypot(np.std(test, ddof=1), 0.36) / np.sqrt(500)
        # The table tells means over trainings: a little better than the benchmark.
        assert -3 * error < np.mean(test) - published < 5 * error
