"""Fronts: searches for several costs beside random networks of equal cost."""

import json

import numpy as np
import pytest

import darts_jax
from darts_jax.errors import InputError
from darts_jax.tasks.registry import TASKS
from darts_jax.workflows.front import Front, front
from tests.support.budgets import images, settings, small
from tests.support.grids import Worker


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(darts_jax.SPACES, "small", small())
    return darts_jax.SPACES["small"]


@pytest.mark.slow
def test_a_front_has_random_networks_of_equal_cost_beside_it(registered, tmp_path):
    config = settings()
    config.search.budget.update(rule="augmented")
    config.baseline.random_genotypes = 1
    found = front(config, [0.045, 0.09], tmp_path / "front", images())
    assert [row["group"] for row in found.rows] == ["searched", "random"] * 2
    for searched, other in zip(found.rows[::2], found.rows[1::2], strict=True):
        assert searched["cost"] <= searched["target"]
        assert 0.95 * searched["cost"] <= other["cost"] <= searched["cost"]
        assert 0 <= searched["accuracy"] <= 100
    again = front(config, [0.045, 0.09], tmp_path / "front", images())
    assert again.rows == found.rows
    by_workers = front(
        config, [0.045, 0.09], tmp_path / "workers", images(), engine=Worker()
    )
    assert by_workers.rows == found.rows
    rows = json.loads((tmp_path / "front" / "front.json").read_text())
    assert rows == list(found.rows)
    assert (tmp_path / "front" / "front.png").stat().st_size > 5000


def test_a_front_is_drawn_and_shown(tmp_path):
    values = (
        (1.0, 0.9, 88.5, "searched", "searched_0"),
        (1.0, 0.88, 87.0, "random", "random_0_0"),
        (2.0, 1.9, 90.5, "searched", "searched_1"),
    )
    columns = "target", "cost", "accuracy", "group", "name"
    rows = tuple(dict(zip(columns, row, strict=True)) for row in values)
    measure = TASKS["classification"].scores[0]
    found = Front(rows, "million parameters", tmp_path, measure)
    assert found.columns == columns
    (axes,) = found.plot().axes
    assert axes.get_xlabel() == "cost, million parameters"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.88, 0.9, 1.9])
    assert "3 networks" in found.plot().get_label()
    assert "random_0_0" in found._repr_html_()
    assert "million parameters" in str(found)


def test_the_front_of_a_text_is_refused(tmp_path):
    config = darts_jax.default_config()
    config.task = "language"
    config.search.budget.rule = "augmented"
    with pytest.raises(InputError, match="has perplexity"):
        front(config, [1.0], tmp_path / "front")


def test_a_front_needs_a_budget(tmp_path):
    with pytest.raises(InputError, match=r"budget\.rule"):
        front(settings(), [1.0], tmp_path / "front", images())
