"""Errors of predicted numbers are those of scikit-learn, and less of them is better."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import darts_jax
from darts_jax.engine.devices import Layout
from darts_jax.engine.program import evaluation_program
from darts_jax.engine.resident_feed import Resident
from darts_jax.errors import InputError
from darts_jax.plots.curves import plot_curves
from darts_jax.reports import verdict
from darts_jax.reports.answers import told_by
from darts_jax.tasks.registry import get_score, make_search
from darts_jax.tasks.regression.criterion import squared_error_criterion
from darts_jax.tasks.regression.metric import MAE, R2, RMSE, sum_errors
from darts_jax.types import Examples

RNG = np.random.default_rng(0)


def numbered(count=70):
    rows = RNG.normal(size=(count, 3))
    values = 1000 + 40 * rows[:, 0]
    return darts_jax.from_arrays(
        rows[:50], values[:50], rows[50:], values[50:], kind="tables", target="price"
    )


def config_for(space="mlp_3"):
    config = darts_jax.default_config()
    config.task = "regression"
    config.space = space
    config.supernet.update(cells=1, channels=8)
    config.search.update(epochs=1, batch_size=16)
    config.retrain.update(
        cells=1,
        channels=8,
        epochs=1,
        batch_size=16,
        pad=0,
        flip=False,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    return config


def test_the_loss_is_the_squared_error_in_units_of_the_deviation():
    outputs = jnp.array(RNG.normal(size=(6, 1)), jnp.float32)
    labels = jnp.array(RNG.normal(100, 9, 6), jnp.float32)
    criterion = squared_error_criterion(100.0, 9.0)
    batch = Examples(jnp.zeros((6, 1, 1, 2)), labels)
    wanted = np.mean((np.float64(outputs)[:, 0] - (np.float64(labels) - 100) / 9) ** 2)
    loss = criterion.loss(outputs, batch, {})
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    sums = criterion.metrics(loss, outputs, batch)
    np.testing.assert_allclose(sums["loss"] / sums["count"], wanted, rtol=1e-5)
    rewards = criterion.rewards(outputs, batch)
    np.testing.assert_allclose(-rewards.mean(), wanted, rtol=1e-5)


def test_the_test_has_scikit_learns_errors_and_leaves_out_what_fills_a_batch_up():
    dataset = numbered()
    mean, deviation = dataset.target_scale
    guess = jnp.array(RNG.normal(0, 0.3, (20, 1)), jnp.float32)
    feed = Resident(dataset).test(8)  # 20 rows in 3 batches

    def predict(model, images):
        del model
        # Rows are told apart by their first column.
        stored = jnp.asarray(dataset.test_images)[:, 0, 0, 0]
        return guess[jnp.argmin(jnp.abs(images[:, 0, 0, :1] - stored), -1)]

    test = sum_errors(predict, mean, deviation)
    ((steps, placed),) = feed.open(Layout())(0, 0)
    assert steps == 3
    evaluate = evaluation_program(test, feed.batches)
    sums = jax.device_get(evaluate(None, placed, jnp.int32(0), jnp.int32(steps)))
    true = np.float64(dataset.test_labels)
    told = np.float64(guess)[:, 0] * deviation + mean
    count = len(true)
    wanted = metrics.root_mean_squared_error(true, told)
    np.testing.assert_allclose(RMSE.compute(sums, count), wanted, rtol=1e-5)
    wanted = metrics.mean_absolute_error(true, told)
    np.testing.assert_allclose(MAE.compute(sums, count), wanted, rtol=1e-5)
    np.testing.assert_allclose(
        R2.compute(sums, count), metrics.r2_score(true, told), rtol=1e-5
    )


def test_tasks_refuse_each_others_labels_in_one_line():
    config = config_for()
    dataset = numbered()
    rows = RNG.normal(size=(40, 3))
    classes = np.arange(40) % 2
    labelled = darts_jax.from_arrays(rows, classes, rows, classes, kind="tables")
    with pytest.raises(InputError, match="are classes, and no numbers to be predicted"):
        make_search(config, labelled)
    config.task = "classification"
    with pytest.raises(InputError, match="are numbers to be predicted"):
        make_search(config, dataset)
    config = config_for()
    config.retrain.label_smoothing = 0.1
    with pytest.raises(
        InputError, match=r"label_smoothing is 0\.1; regression wants 0"
    ):
        make_search(config, dataset)
    config = config_for()
    config.data.metric = "accuracy"
    with pytest.raises(InputError, match="is measured by rmse, mae, r2"):
        get_score(config)


def test_an_output_is_one_number_and_a_guess_has_a_loss_of_1():
    config = config_for()
    job = make_search(config, numbered())
    assert job.chance == 1
    state = jax.eval_shape(job.init, job.start)
    ends = {leaf.shape[-1] for leaf in jax.tree.leaves(state.params["head"])}
    assert ends == {1}


def test_less_of_an_error_is_better():
    config = config_for()
    told = told_by(config)
    assert told.within.low == 0
    config.data.metric = "r2"
    explained = told_by(config)
    answer = verdict.judge_against_random([50.0], [60.0] * 19, told)
    assert answer.tone == verdict.GOOD
    assert "50 test rmse, of which less is better, -10 from" in answer.evidence
    assert "number 1 of 20" in answer.evidence
    worse = verdict.judge_against_random([60.0, 61.0], [50.0, 51.0, 52.0], told)
    assert worse.tone == verdict.BAD
    better = verdict.judge_against_random([50.0, 51.0], [60.0, 61.0, 62.0], told)
    assert better.tone == verdict.GOOD
    assert (
        verdict.judge_against_random([0.9], [0.1] * 19, explained).tone == verdict.GOOD
    )
    gap = verdict.judge_gap(50.0, 80.0, "no truth", "", told)
    assert gap.tone == verdict.UNKNOWN
    assert "has 50 rmse on held-out rows, and 80 with" in gap.evidence


def test_scores_of_several_units_have_a_panel_each_and_the_gap_has_no_points():
    history = pd.DataFrame(
        {
            "epoch": [1, 2],
            "held_out_rmse": [60.0, 50.0],
            "held_out_r2": [0.1, 0.3],
            "discretized_rmse": [70.0, 61.0],
            "discretization_gap": [10.0, 11.0],
        }
    )
    titles = [axes.get_title("left") for axes in plot_curves("scores", history).axes]
    assert titles == ["RMSE", "Held-out R²"]
    label = plot_curves("gap", history).get_label()
    assert "from 10 to 11 over" in label
