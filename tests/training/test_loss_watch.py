"""A loss that is finite and yet beyond reason is warned of, once, where it is read."""

import math

import numpy as np
import pytest

import darts_jax
from darts_jax.training.loss_watch import TIMES_CHANCE, TIMES_FIRST, LossWatch
from darts_jax.training.metrics import read_metrics
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")

GUESS = math.log(10)


def noticed(losses, chance=GUESS, kind="loss"):
    """The epochs that a watch says something of."""
    watch = LossWatch("search.weights.learning_rate", chance, [])
    return [
        epoch
        for epoch, loss in enumerate(losses, start=1)
        if kind in watch.check(epoch, {kind: loss})
    ]


@pytest.mark.parametrize("kind", ["loss", "valid_loss"])
def test_bounds_are_those_that_the_page_tells(kind):
    at_most = TIMES_CHANCE * GUESS
    assert noticed([1e16], kind=kind) == [1]
    assert noticed([at_most, at_most * 1.001], kind=kind) == [2]
    # A network that knows much already may lose a hundred times more, up to a guess.
    assert noticed([0.01, 1.01, 2.3], kind=kind) == []
    assert noticed([0.01, 2.4], kind=kind) == [2]
    assert noticed([float("nan"), float("inf"), 1.0], kind=kind) == [2]


def test_without_a_guess_the_first_epoch_is_the_measure():
    assert noticed([1e16, 1e16], chance=None) == []
    assert noticed([2.0, 2.0 * TIMES_FIRST, 2.1 * TIMES_FIRST], chance=None) == [3]


def test_a_warning_names_losses_bounds_and_what_helps_once():
    watch = LossWatch("retrain.weights.learning_rate", GUESS, [{"loss": 2.0}])
    lines = watch.check(2, {"loss": np.array(2e16), "valid_loss": np.array(1.0)})
    assert lines == {
        "loss": "the training loss in epoch 2 is 2e+16, 8.69e+15 times what a guess "
        "loses and 1e+16 times the first epoch's: a smaller "
        "retrain.weights.learning_rate may help"
    }
    assert watch.select_new(lines) == list(lines.values())
    again = watch.check(3, {"loss": 3e16, "valid_loss": 500.0})
    assert watch.select_new(again) == [again["valid_loss"]]


def test_the_worst_member_is_named():
    watch = LossWatch("search.weights.learning_rate", GUESS, [])
    line = watch.check(1, {"loss": np.array([2.0, np.nan, 1e9, 1e8])})["loss"]
    assert line.startswith("the training loss of member 2 in epoch 1 is 1e+09, ")


def test_a_loss_beyond_reason_is_told_on_console_and_page(tmp_path, capsys):
    wild = {"search.weights.learning_rate": 1e4, "search.weights.decay": 0.0}
    made = config(2, **wild)
    darts_jax.search(made, tmp_path / "run", images())
    told = capsys.readouterr().err
    assert told.count("search: warning: the training loss in epoch") == 1
    assert "times what a guess loses" in told
    assert "a smaller search.weights.learning_rate may help" in told
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert all(np.isfinite(record["loss"]) for record in records)
    assert "training loss" in records[-1]["warning"]
    page = darts_jax.report(tmp_path / "run", dataset=images()).read_text()
    assert "Did the losses stay within reason?" in page
    assert "search (2 epochs in all): the " in page


def test_a_sound_run_has_no_word_of_it(tmp_path, capsys):
    darts_jax.search(config(1), tmp_path / "run", images())
    assert "times what a guess" not in capsys.readouterr().err
    (record,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert "warning" not in record
    page = darts_jax.report(tmp_path / "run", dataset=images()).read_text()
    assert "within reason" not in page
