"""Supernets that are trained path by path: whole searches, under a limit."""

import numpy as np
import pytest

import darts_jax
from darts_jax.errors import InputError
from darts_jax.settings.methods import METHODS, apply_method
from darts_jax.spaces.mobile import BlockStage, block_names, mobile_space
from darts_jax.tasks.registry import make_pricing
from darts_jax.training.checkpoint import read_newest
from tests.support.small_runs import images

NAMES = ("spos", "fairnas", "bignas", "once_for_all")
QUICK = [
    *("search.epochs=3", "search.batch_size=8", "search.train_fraction=0.5"),
    *("supernet.cells=1", "supernet.channels=8", "score.calibration=8"),
    *("search.selection.population=4", "search.selection.generations=2"),
    *("search.selection.parents=2", "retrain.cells=1", "retrain.channels=8"),
]


@pytest.fixture(autouse=True)
def elastic(monkeypatch):
    """Registers a stage of elastic blocks, of which the last may be left out."""
    stages = [
        BlockStage(8, 1, 1, ("mb1_3x3",)),
        BlockStage(16, 2, 2, block_names((3, 6), (3, 5))),
    ]
    made = mobile_space("elastic", stages, stem=8, features=16, stem_stride=1)
    monkeypatch.setitem(darts_jax.SPACES, "elastic", made)
    return made


def settings(name, *more):
    phases = ["kernel=1", "depth=1", "expansion=2"] if name == "once_for_all" else []
    elastic = [f"search.elastic.{phase}" for phase in phases]
    overrides = ["space=elastic", *QUICK, *elastic, *more]
    return apply_method(darts_jax.default_config(), name, overrides)


def last_arrays(run):
    found = read_newest(run / "checkpoints" / "search", print)
    assert found is not None
    return found[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_three_epochs_and_a_run_that_goes_on_end_alike(name, tmp_path):
    config = settings(name)
    whole = darts_jax.search(config, tmp_path / "whole", images())
    assert [record["epoch"] for record in whole.records] == [1, 2, 3]
    assert all(np.isfinite(record["loss"]) for record in whole.records)
    # The architecture rests, and the genotype is what evolution found.
    first, *others = whole.alpha["stage_2"]
    assert all(np.array_equal(first, other) for other in others)

    killed = tmp_path / "killed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("darts_jax.workflows.search.select_on_supernet", interrupt)
        with pytest.raises(KeyboardInterrupt):
            darts_jax.search(config, killed, images())
    for newest in (killed / "checkpoints" / "search").glob("[0-9]*"):
        if int(newest.name) > 2 * whole.records[0]["step"]:
            newest.rename(killed / "lost")
    again = darts_jax.search(config, killed, images())
    assert again.genotype == whole.genotype
    one, other = last_arrays(tmp_path / "whole"), last_arrays(killed)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def interrupt(*arguments):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_evolution_keeps_to_the_budget(tmp_path):
    budget = ["search.budget.rule=augmented", "search.costs=macs"]
    config = settings("spos", *budget, "search.budget.target=0.05")
    pricing = make_pricing(config, images(), "macs")
    found = darts_jax.search(config, tmp_path / "run", images())
    assert pricing.cost(found.genotype) <= 0.05
    impossible = settings("spos", *budget, "search.budget.target=0.001")
    with pytest.raises(InputError, match="the cheapest costs"):
        darts_jax.search(impossible, tmp_path / "other", images())


def test_every_sampling_method_is_one_of_the_table():
    assert set(NAMES) <= METHODS.keys()
