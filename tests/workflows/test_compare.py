"""Comparisons of runs by name, and of groups of searches by seed."""

import numpy as np
import pytest

import darts_jax
from darts_jax.errors import InputError
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")


def test_runs_are_compared_by_name(tmp_path):
    for name, rate in (("slow", 0.001), ("fast", 0.1)):
        settings = config(1, **{"search.architecture.learning_rate": rate})
        darts_jax.search(settings, tmp_path / name, images())
    found = darts_jax.compare([tmp_path / "slow", tmp_path / "fast"])
    assert found.table["run"].tolist() == ["slow", "fast"]
    assert found.history["run"].tolist() == ["slow", "fast"]
    with pytest.raises(InputError, match="nothing to compare"):
        darts_jax.compare([])
    with pytest.raises(InputError, match="no run in"):
        darts_jax.load_run(tmp_path)


def test_groups_of_searches_are_compared_by_seed(tmp_path):
    runs = {}
    for seed in range(3):
        for name, rate in (("slow", 0.001), ("fast", 0.1)):
            own = {"search.architecture.learning_rate": rate, "seed": seed}
            runs[f"{name}{seed}"] = tmp_path / f"{name}{seed}"
            darts_jax.search(config(1, **own), runs[f"{name}{seed}"], images())
    # One search twice is one search.
    found = darts_jax.compare(runs | {"again": runs["slow0"]})
    (row,) = found.effects("entropy").to_dict("records")
    assert row["value"] == "fast0, fast1, fast2"
    assert row["against"] == "slow0, slow1, slow2, again"
    last = {name: one.records[-1]["entropy"] for name, one in found.searches.items()}
    sides = ([last[f"{name}{s}"] for s in range(3)] for name in ("fast", "slow"))
    differences = np.subtract(*sides)
    assert row["difference"] == pytest.approx(differences.mean())
    assert (row["pairs"], row["comparisons"]) == (3, 1)
    page = darts_jax.report([*runs.values()], tmp_path / "page.html", images())
    assert "Paired by seed" in page.read_text()
    with pytest.raises(InputError, match="no more than the seed"):
        darts_jax.compare([runs["slow0"], runs["slow1"]]).effects()
    with pytest.raises(InputError, match="was not measured; want one of"):
        found.effects("beauty")
