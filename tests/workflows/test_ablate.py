"""Ablations: every combination is searched, and effects are paired."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_rel

import darts_jax
from darts_jax.analysis.intervals import SHARE, mean_interval
from darts_jax.engine import program
from darts_jax.errors import InputError
from darts_jax.workflows import ablate as ablations
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")

GRID = {
    "search.hypergradient": ["first_order", "exact"],
    "search.architecture.learning_rate": [0.1, 0.01],
}


@contextlib.contextmanager
def counted_compilations():
    """A list of the epoch programs that are compiled meanwhile."""
    compiled, original = [], program.compile_lowered

    def counted(*arguments):
        compiled.append(arguments)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "compile_lowered", counted)
        yield compiled


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    place = tmp_path_factory.mktemp("ablation")
    with counted_compilations() as compiled:
        found = darts_jax.ablate(config(), GRID, range(3), place / "a", images())
    # Two hypergradients; rates and seeds are members.
    assert len(compiled) == 2
    return place, found


def test_an_interval_is_students():
    values = [3.0, 4.0, 8.0, 5.5]
    mean, low, high = mean_interval(values)
    half = t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    np.testing.assert_allclose((mean, low, high), (5.125, 5.125 - half, 5.125 + half))
    assert np.isnan(mean_interval([1.0])[1])


def test_the_frame_of_an_ablation_has_a_row_for_each_search(ablation):
    _, found = ablation
    assert len(found.frame) == 2 * 2 * 3
    assert len(found.history) == 2 * len(found.frame)
    assert (found.frame["epoch"] == 2).all()
    for key, values in GRID.items():
        assert set(found.frame[key]) == set(values)


def test_the_table_is_the_mean_over_seeds(ablation):
    _, found = ablation
    assert len(found.table) == 4
    for _, row in found.table.iterrows():
        own = found.frame
        for key in GRID:
            own = own[own[key] == row[key]]
        assert len(own) == row["seeds"] == 3
        accuracy = own["held_out_accuracy"].to_numpy()
        np.testing.assert_allclose(row["held_out_accuracy"], accuracy.mean())
        interval = row[["held_out_accuracy_low", "held_out_accuracy_high"]].tolist()
        assert interval == [*mean_interval(accuracy.tolist(), SHARE)[1:]]
        assert 0 <= interval[0] <= accuracy.mean() <= interval[1] <= 1
    assert found.to_markdown().count("\n") == 6
    assert "exact" in found._repr_html_()


def test_an_effect_is_a_mean_over_pairs_that_share_all_else(ablation):
    _, found = ablation
    effects = found.effects("entropy")
    row = effects.set_index("setting").loc["search.hypergradient"]
    frame = found.frame.set_index(["search.architecture.learning_rate", "seed"])
    exact = frame["search.hypergradient"] == "exact"
    sides = frame[exact]["entropy"], frame[~exact]["entropy"]
    assert len(sides[0].index.intersection(sides[1].index)) == row["pairs"] == 6
    told = ttest_rel(sides[0], sides[1].loc[sides[0].index])
    np.testing.assert_allclose(row["difference"], sides[0].mean() - sides[1].mean())
    np.testing.assert_allclose(row["p"], told.pvalue, rtol=1e-2)
    assert (effects["comparisons"] == 2).all()
    with pytest.raises(InputError, match="was not measured"):
        found.effects("beauty")


def test_an_ablation_goes_on_where_it_was_stopped(ablation):
    """Nothing that is finished runs; what was lost runs again, to the same end."""
    place, found = ablation
    with counted_compilations() as compiled:
        again = darts_jax.ablate(config(), GRID, range(3), place / "a", images())
        pd.testing.assert_frame_equal(again.frame, found.frame)
        assert not compiled
        shutil.rmtree(place / "a" / "hypergradient=exact")
        again = darts_jax.ablate(config(), GRID, range(3), place / "a", images())
        assert len(compiled) == 1
    pd.testing.assert_frame_equal(*(timeless(one.frame) for one in (again, found)))


def timeless(frame):
    return frame.drop(columns=["compile_seconds", "images_per_second"], errors="ignore")


KILLED = """
import sys
sys.path[:0] = {path!r}
import darts_jax
from tests.support.small_runs import competing, config, images
darts_jax.SPACES["tiny"] = competing()
darts_jax.ablate(config(), {grid!r}, range(3), sys.argv[1], images())
"""


@pytest.mark.slow
def test_a_killed_ablation_ends_as_one_that_was_not(ablation, tmp_path):
    """Killed with an epoch of its first population done; the same call goes on."""
    _, whole = ablation
    program = tmp_path / "program.py"
    program.write_text(KILLED.format(path=sys.path, grid=GRID))
    command = [sys.executable, str(program), str(tmp_path / "a")]
    first = tmp_path / "a" / "hypergradient=first_order" / "architecture"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not (first / "epoch_0001.npz").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "a" / "ablation.md").exists()
    found = darts_jax.ablate(config(), GRID, range(3), tmp_path / "a", images())
    pd.testing.assert_frame_equal(*(timeless(one.frame) for one in (found, whole)))


def test_members_of_an_ablation_are_the_searches_alone(ablation, tmp_path):
    _, found = ablation
    settings = config(
        **{
            "search.hypergradient": "exact",
            "search.architecture.learning_rate": 0.01,
            "seed": 2,
        }
    )
    alone = darts_jax.search(settings, tmp_path / "run", images())
    assert found.genotypes["exact, learning_rate 0.01", 2] == (alone.genotype)


@pytest.mark.slow
def test_what_cannot_go_in_step_runs_by_itself(tmp_path):
    grid = {"method": ["darts", "darts_plus"]}
    found = darts_jax.ablate(config(), grid, range(2), tmp_path, images())
    assert found.frame["method"].tolist() == ["darts", "darts", *["darts_plus"] * 2]
    assert (tmp_path / "method=darts_plus" / "seed=1" / "genotype.json").exists()
    assert (tmp_path / "method=darts" / "members.json").exists()


@pytest.mark.parametrize("grid", [{}, {"seed": [1]}, {"search.regime": []}])
def test_a_grid_without_values_gets_one_line(tmp_path, grid):
    with pytest.raises(InputError, match="an ablation wants values"):
        darts_jax.ablate(config(), grid, run=tmp_path, dataset=images())


def test_a_wrong_choice_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "open_grid", pytest.fail)
    grid = {"search.relaxation": ["softmax", "softmux"]}
    with pytest.raises(InputError, match="softmax"):
        darts_jax.ablate(config(), grid, range(2), tmp_path, images())
