"""Classes of unequal size: weights of the loss, balanced accuracy, results by class."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

import darts_jax
from darts_jax.analysis.class_metrics import (
    balanced_accuracy,
    class_results,
    worst_first,
)
from darts_jax.bilevel.discretization import random_genotype
from darts_jax.bilevel.losses import classification_criterion, cross_entropy
from darts_jax.bilevel.weight_training import auxiliary_criterion
from darts_jax.cli.main import main
from darts_jax.data.stream import PADDING, from_sources
from darts_jax.errors import InputError
from darts_jax.models.network import Logits
from darts_jax.plots.confusion import plot_confusion
from darts_jax.plots.style import svg_text
from darts_jax.settings.config_files import load_config
from darts_jax.tasks.classification.criterion import class_weights, training_counts
from darts_jax.tasks.classification.metric import count_by_class
from darts_jax.tasks.classification.task import CLASSIFICATION
from darts_jax.tasks.registry import get_score, make_search, make_training
from darts_jax.tasks.task import choose_score
from darts_jax.training.directory import RunDirectory
from darts_jax.training.evaluation import ByClass, read_evaluation
from darts_jax.training.metrics import read_metrics
from darts_jax.types import Examples
from tests.support.paths import ROOT
from tests.support.small_runs import config

pytestmark = pytest.mark.usefixtures("tiny")

SIZES = {"cells": 1, "channels": 2, "epochs": 1, "batch_size": 8, "cutout": 0}
QUIET = {"drop_path": 0.0, "auxiliary_weight": 0.0}
SMALL = {f"retrain.{k}": v for k, v in (SIZES | QUIET).items()}


def skewed(train=34, test=13):
    """Images of three classes, most of them of the first."""
    rng = np.random.default_rng(3)

    def part(count):
        labels = rng.choice(3, count, p=(0.7, 0.2, 0.1))
        labels[:3] = range(3)
        pixels = (
            rng.integers(0, 90, (count, 4, 4, 3)) + 80 * labels[:, None, None, None]
        )
        return pixels.astype(np.uint8), labels

    names = ["often", "seldom", "rare"]
    return darts_jax.from_arrays(*part(train), *part(test), class_names=names)


def confusion_of(labels, predicted, classes):
    return metrics.confusion_matrix(labels, predicted, labels=range(classes))


# Weights


def weights_of(text, dataset=None):
    made = load_config(None, [f"data.class_weights={text}"])
    return class_weights(made, dataset or skewed())


def test_weights_are_relative_and_average_to_one():
    data = skewed()
    counts = np.bincount(data.train_labels)
    assert weights_of("none") is None
    balanced = weights_of("balanced")
    np.testing.assert_allclose(balanced, len(data.train_labels) / (3 * counts), 1e-6)
    given = weights_of("1,2,0.5")
    np.testing.assert_allclose(given / given[0], [1, 2, 0.5], 1e-6)
    np.testing.assert_array_equal(weights_of("10,20,5"), given)
    for weights in (balanced, given):
        assert weights.dtype == np.float32
        assert weights[data.train_labels].mean() == pytest.approx(1, abs=1e-6)


def test_a_class_without_training_images_takes_no_part_in_the_balance():
    data = dataclasses.replace(skewed(), class_names=("often", "seldom", "rare", "no"))
    np.testing.assert_array_equal(
        weights_of("balanced", data)[:3], weights_of("balanced")
    )
    assert weights_of("balanced", data)[3] == 0


def test_labels_of_a_stream_are_counted_without_decoding():
    labels = [0, 2, 2, 1, 2]
    source = [(b"no image", label) for label in labels]
    data = from_sources(source, source, class_names="abc", image_shape=(4, 4, 3))
    np.testing.assert_array_equal(training_counts(data), [1, 1, 3])
    np.testing.assert_array_equal(training_counts(data.first(2)), [1, 0, 1])
    np.testing.assert_allclose(
        weights_of("balanced", data), [5 / 3, 5 / 3, 5 / 9], 1e-6
    )
    wrong = from_sources([(b"", 3)], source, class_names="abc")
    with pytest.raises(InputError, match="train image 0 has the label 3"):
        training_counts(wrong)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("often", "want none, balanced, or a number of 0 or more for each class"),
        ("1,-2,3", "want none, balanced"),
        ("0,0,0", "want none, balanced"),
        ("1,nan,1", "want none, balanced"),
        ("1,2", "has 2 numbers, and 'arrays' has 3 classes (often, seldom, rare)"),
    ],
)
def test_weights_that_do_not_fit_get_one_line(text, told):
    with pytest.raises(InputError) as caught:
        weights_of(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_weighted_loss_is_its_definition_and_parts_are_the_whole():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    weights = np.array([0.5, 1.0, 3.0])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for smoothing in (0.0, 0.1):
        each = -(1 - smoothing) * np.log(p[range(8), labels])
        each -= smoothing * np.log(p).mean(-1)
        want = (weights[labels] * each).mean()
        found = cross_entropy(jnp.asarray(logits), labels, smoothing, weights)
        np.testing.assert_allclose(found, want, 1e-5)
    parts = [
        cross_entropy(jnp.asarray(logits[half]), labels[half], weights=weights)
        for half in (slice(4), slice(4, 8))
    ]
    whole = cross_entropy(jnp.asarray(logits), labels, weights=weights)
    np.testing.assert_allclose(np.mean(parts), whole, 1e-6)


def test_weights_reach_search_auxiliary_head_and_rewards():
    logits = jnp.eye(3)[jnp.array([0, 1, 0])]
    labels = jnp.array([0, 1, 2])
    weights = np.array([1.0, 2.0, 4.0])
    batch = Examples(np.zeros((3, 1, 1, 1)), labels)
    rewards = classification_criterion(weights).rewards(logits, batch)
    np.testing.assert_array_equal(rewards, [1, 2, 0])
    scalars = {"label_smoothing": 0.0, "auxiliary_weight": 0.5}
    both = Logits(logits, 2 * logits)
    found = auxiliary_criterion(weights).loss(both, batch, scalars)
    main_, extra = (
        cross_entropy(x, labels, weights=weights) for x in (logits, 2 * logits)
    )
    np.testing.assert_allclose(found, main_ + 0.5 * extra, 1e-6)
    same = classification_criterion(np.ones(3)).loss(logits, batch, scalars)
    np.testing.assert_allclose(
        same, classification_criterion().loss(logits, batch, scalars), 1e-6
    )


# Counts


def count(labels, predicted, classes, size):
    """Runs an examination over batches, the last filled up with no image."""
    examination = count_by_class(lambda model, images: images[:, 0, 0], classes)
    lacking = -len(labels) % size
    labels = np.append(labels, np.full(lacking, PADDING)).astype(np.int32)
    predicted = np.append(predicted, np.zeros(lacking, int))
    images = 9 * jnp.eye(classes)[predicted][:, None, None]
    sums = examination.begin(None)
    step = jax.jit(examination.examine)
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        sums = step(None, sums, Examples(images[rows], labels[rows]), 0)
    return examination.sums(sums)


def test_counts_are_exact_whatever_fills_the_last_batch():
    rng = np.random.default_rng(1)
    labels, predicted = rng.integers(0, 5, (2, 23))
    sums = count(labels, predicted, 5, 8)
    want = confusion_of(labels, predicted, 5)
    np.testing.assert_array_equal(sums["confusion"], want)
    assert balanced_accuracy(np.asarray(sums["confusion"])) == pytest.approx(
        metrics.balanced_accuracy_score(labels, predicted), abs=1e-12
    )
    logits = 9 * np.eye(5)[predicted]
    loss = metrics.log_loss(
        labels, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    )
    np.testing.assert_allclose(sums["loss"] / 23, loss, 1e-5)


def test_the_right_class_is_looked_for_among_the_most_likely():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(16, 7)).astype(np.float32)
    labels = np.append(rng.integers(0, 7, 13), [PADDING] * 3).astype(np.int32)
    for top in (1, 3, 6):
        examination = count_by_class(lambda model, images: images, 7, top)
        batch = Examples(jnp.asarray(logits), jnp.asarray(labels))
        begun = examination.begin(None)
        sums = jax.device_get(examination.examine(None, begun, batch, 0))
        wanted = metrics.top_k_accuracy_score(
            labels[:13], logits[:13], k=top, labels=range(7), normalize=False
        )
        assert sums["top"] == wanted
        score = choose_score(config(**{"data.top": top}), CLASSIFICATION.scores)
        name = f"top_{top}_accuracy"
        assert score.measures[name](sums, 13) == pytest.approx(wanted / 13)
    with pytest.raises(InputError, match="there are 7 classes; want fewer"):
        count_by_class(lambda model, images: images, 7, 7)
    with pytest.raises(InputError, match="does not rank classes: want 0"):
        get_score(config(task="language", **{"data.top": 5}))


ON_DEVICES = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sklearn.metrics import confusion_matrix
from darts_jax.tasks.classification.metric import count_by_class
from darts_jax.types import Examples
from darts_jax.engine.devices import Layout
layout = Layout(Mesh(np.array(jax.devices()), ("device",)))
examination = count_by_class(lambda model, x: layout.spread(x)[:, 0, 0], 5)
rng = np.random.default_rng(2)
labels, predicted = rng.integers(0, 5, (2, 16)).astype(np.int32)
labels[13:] = -1
shared = NamedSharding(layout.mesh, PartitionSpec("device"))
batch = jax.device_put(Examples(np.eye(5)[predicted][:, None, None], labels), shared)
begun = examination.begin(None)
sums = examination.sums(jax.jit(examination.examine)(None, begun, batch, 0))
want = confusion_matrix(labels[:13], predicted[:13], labels=range(5))
np.testing.assert_array_equal(sums["confusion"], want)
print(len(jax.devices()))
"""


def test_counts_are_the_same_on_several_devices():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    environment = os.environ | flags | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ON_DEVICES]
    told = subprocess.check_output(command, env=environment, text=True)
    assert told == "4\n"


def test_classes_have_recall_precision_and_what_they_are_taken_for():
    labels, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 2, 0, 0, 2]
    confusion = confusion_of(labels, predicted, 4)
    *first, absent = class_results(confusion, ["a", "b", "c", "d"])
    by = {"labels": [0, 1, 2], "average": None, "zero_division": np.nan}
    recall = metrics.recall_score(labels, predicted, **by)
    precision = metrics.precision_score(labels, predicted, **by)
    np.testing.assert_array_equal([one.recall for one in first], recall)
    found = [np.nan if one.precision is None else one.precision for one in first]
    np.testing.assert_array_equal(found, precision)
    assert (absent.images, absent.recall, absent.taken_for) == (0, None, None)
    assert (first[1].taken_for, first[1].taken) == ("a", 2)
    assert [one.name for one in worst_first([*first, absent])] == ["b", "a", "c"]


# Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Searched and retrained with the default score, and by balanced accuracy."""
    place = tmp_path_factory.mktemp("imbalance")
    settings = {"plain": {}, "balanced": {"data.metric": "balanced_accuracy"}}
    for name, own in settings.items():
        made = config(1, **SMALL, **own)
        darts_jax.search(made, place / name, skewed())
        darts_jax.retrain(made, place / name, dataset=skewed())
    return place


def records(run):
    return {record["verb"]: record for record in read_metrics(run / "metrics.jsonl")}


def test_a_score_by_balanced_accuracy_changes_no_other_number(runs):
    plain = records(runs / "plain")
    balanced = records(runs / "balanced")
    assert plain.keys() == balanced.keys()
    for verb, record in plain.items():
        for name in ("loss", "accuracy", "held_out_accuracy", "valid_loss"):
            assert balanced[verb][name] == record[name], (verb, name)
        assert 0 <= balanced[verb]["held_out_balanced_accuracy"] <= 1
    search = balanced["search"]
    gap = search["held_out_balanced_accuracy"]
    gap -= search["discretized_balanced_accuracy"]
    assert search["discretization_gap"] == pytest.approx(gap)


def test_retraining_and_evaluation_agree_on_every_class(runs):
    plain = json.loads((runs / "plain" / "summary.json").read_text())["networks"]
    balanced = json.loads((runs / "balanced" / "summary.json").read_text())["networks"]
    for one, other in zip(plain, balanced, strict=True):
        assert other["test_accuracy"] == one["test_accuracy"]
        assert 0 <= other["test_balanced_accuracy"] <= 1
    stored = json.loads((runs / "balanced" / "evaluation.json").read_text())
    assert stored["images"] == 13
    assert stored["accuracy"] == balanced[0]["test_accuracy"]
    assert stored["balanced_accuracy"] == balanced[0]["test_balanced_accuracy"]
    by_class = read_evaluation(RunDirectory(runs / "balanced"))
    counts = np.bincount(skewed().test_labels).tolist()
    assert [one.images for one in by_class.results] == counts
    assert (runs / "plain" / "evaluation.json").read_bytes() == (
        runs / "balanced" / "evaluation.json"
    ).read_bytes()
    made = load_config(runs / "balanced" / "config.json")
    (runs / "balanced" / "evaluation.json").unlink()
    score = darts_jax.evaluate(made, runs / "balanced", skewed())
    assert score == balanced[0]["test_balanced_accuracy"]
    assert read_evaluation(RunDirectory(runs / "balanced")).names == by_class.names
    told = str(darts_jax.load_run(runs / "balanced"))
    assert "balanced accuracy %" in told


def test_weights_reach_the_problems_of_search_and_retraining():
    logits, labels = jnp.eye(3), jnp.arange(3)
    batch = Examples(np.zeros((3, 1, 1, 1)), labels)
    weights, data = weights_of("balanced"), skewed()
    made = config(1, **SMALL, **{"data.class_weights": "balanced"})
    want = cross_entropy(logits, labels, weights=weights)
    criterion = make_search(made, data).method.criterion
    np.testing.assert_array_equal(criterion.loss(logits, batch, {}), want)
    chosen = random_genotype(darts_jax.get_space("tiny"), np.random.default_rng(0))
    criterion = make_training(made, data, chosen).method.criterion
    found = criterion.loss(Logits(logits, None), batch, {"label_smoothing": 0.0})
    np.testing.assert_array_equal(found, want)


def test_a_score_that_a_task_has_not_gets_one_line(tmp_path, capsys):
    given = ["--config.task=language", "--config.space=recurrent"]
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be that is the question " * 90)
    given += [f"--config.data.name=chars:{text}", "--config.search.batch_size=4"]
    metric = "--config.data.metric=balanced_accuracy"
    for setting, told in (
        (metric, "task=language is measured by perplexity: want auto"),
        ("--config.data.class_weights=balanced", "text wants none"),
    ):
        run = ["search", "--run", str(tmp_path / "run"), *given, setting]
        assert main(run) == 2
        assert told in capsys.readouterr().err
    assert main(["settings", "--config.data.metric=recall"]) == 2
    assert "known: auto, accuracy, balanced_accuracy" in capsys.readouterr().err


@pytest.mark.parametrize("count", [3, 30, 801])
def test_a_confusion_matrix_is_drawn_whatever_its_size_and_names(count):
    confusion = np.diag(np.arange(count))
    confusion[7 % count, 1] = 40
    names = [rf"$\wrong{i}$_{{" for i in range(count)]
    figure = plot_confusion(confusion, names)
    told = figure.get_label()
    assert f"of {count} classes" in told
    assert f"{names[7 % count]}, " in told
    assert len(svg_text(figure)) < 100_000
    mesh = figure.axes[0].collections or figure.axes[0].images
    assert np.nanmax(mesh[0].get_array()) == 1


@pytest.mark.parametrize("damage", ["{", "[]", '{"data": 1}', None])
def test_damaged_results_by_class_get_one_line(tmp_path, damage):
    run = RunDirectory(tmp_path)
    whole = {"data": "a", "classes": [{"name": "a"}] * 2, "confusion": [[1, 0]]}
    run.evaluation.write_text(damage or json.dumps(whole))
    with pytest.raises(InputError, match=r"evaluation.json is damaged; darts-jax eval"):
        read_evaluation(run)


def test_many_classes_are_told_by_the_worst():
    names = tuple(f"class {i}" for i in range(30))
    confusion = np.diag(np.arange(1, 31))
    confusion[7, 3] = 40
    told = str(ByClass("many", names, confusion))
    assert "the 10 of 30 classes of least recall" in told
    assert told.splitlines()[6].startswith("class 7 ")
    assert "class 3 (83%)" in told
    few = str(ByClass("few", names[:3], confusion[:3, :3]))
    assert "images by true class (row)" in few
