"""A search's result has a row for every epoch, and a plot that grows with them."""

import numpy as np
import pandas as pd
import pytest

import darts_jax
from darts_jax.training.live import LivePlot
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")


def test_a_search_has_a_tidy_history(tmp_path):
    settings = config(2, **{"search.stages": "search.epochs=1; search.operations=2"})
    found = darts_jax.search(settings, tmp_path / "run", images())
    assert found.history["epoch"].tolist() == [1, 2, 3]
    assert found.history["stage"].tolist() == ["search_1", "search_2", "search_2"]
    assert found.history["loss"].tolist() == [r["loss"] for r in found.records]
    weights = found.weights["normal"]
    np.testing.assert_allclose(np.where(weights < 0, 0, weights).sum(-1), 1)
    again = darts_jax.load_run(tmp_path / "run")
    pd.testing.assert_frame_equal(again.history, found.history)
    assert again.genotype == found.genotype
    assert "epochs: 3" in str(again)


def test_a_live_plot_is_shown_what_there_is_so_far(tmp_path):
    shown = []
    plot = LivePlot(shown.append)
    darts_jax.search(config(3), tmp_path / "run", images(), live=plot)
    assert [record["epoch"] for record in plot.records] == [1, 2, 3]
    assert 1 <= len(shown) <= 3
    again = LivePlot(shown.append)
    darts_jax.search(config(3), tmp_path / "run", images(), live=again)
    assert not again.records
