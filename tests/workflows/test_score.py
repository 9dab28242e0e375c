"""Accuracies of a supernet's paths, against those of the networks that they are."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as scipy_stats

import darts_jax
from darts_jax.analysis.ranking import ranking_quality
from darts_jax.bilevel.discretization import one_hot
from darts_jax.data.pipeline import split_train
from darts_jax.errors import InputError
from darts_jax.models.functional import initialize, network_apply
from darts_jax.models.network import Network
from darts_jax.spaces import get_space
from darts_jax.spaces.nasbench201 import MACRO, NASBENCH201
from darts_jax.training.evaluation import Evaluator
from darts_jax.training.restore import SavedSearch
from darts_jax.workflows.score import list_paths
from tests.support.supernets import graft
from tests.support.tiny import quick_jit

IMAGES, SIZE = 96, 32


@pytest.fixture(scope="module")
def small():
    """The space with one stage of one cell."""
    one_cell = dataclasses.replace(MACRO, layout=lambda cells: ("normal",) * cells)
    space = dataclasses.replace(NASBENCH201, macro=one_cell)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(darts_jax.SPACES, "nasbench201", space)
        yield space


@pytest.fixture(scope="module")
def found(small, tmp_path_factory):
    config = darts_jax.default_config()
    config.space = "nasbench201"
    config.supernet.update(cells=1, channels=4)
    config.search.update(epochs=12, batch_size=16)
    config.data.images = 2 * IMAGES
    return darts_jax.search(config, tmp_path_factory.mktemp("score") / "run")


def by_hand(saved, space, genotype, statistics):
    """The network of a genotype with the supernet's weights, over the same images."""
    dataset = darts_jax.load_dataset("digits").first(2 * IMAGES)
    _, state = saved.restore(dataset=dataset)
    levels = dataset.train_images / 255
    pixels = (levels - levels.mean((0, 1, 2))) / levels.std((0, 1, 2))
    train, valid = split_train(len(levels), 0.5)
    pixels, labels = pixels.astype(np.float32), dataset.train_labels
    network = Network(genotype, space.macro, dataset.classes, 1, 4)
    rate, key = jnp.zeros(()), jax.random.key(0)
    own, fresh = initialize(network, key, pixels[:2], rate)
    (cell,) = space.cells.values()
    operations = cell.edges[0].operations
    kept = [c.operation for c in genotype.cells["normal"].choices]
    own = graft(own, state.params, cell, [operations.index(name) for name in kept])
    apply = quick_jit(network_apply(network), static_argnames="train")
    if statistics == "recalibrated":
        # Many passes over the same images end at their moments.
        for _ in range(150):
            _, fresh = apply(own, fresh, pixels[train[:SIZE]], rate, key, train=True)
    correct = 0
    for start in range(0, IMAGES, SIZE):
        rows = valid[start : start + SIZE]
        train_mode = statistics == "batch"
        logits, _ = apply(own, fresh, pixels[rows], rate, key, train=train_mode)
        correct += int(np.sum(np.argmax(logits.main, -1) == labels[rows]))
    return correct / IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["recalibrated", "batch"])
def test_ten_paths_are_the_networks_of_their_genotypes(found, small, statistics):
    settings = [
        f"score.{setting}"
        for setting in (
            "paths=10",
            f"images={IMAGES}",
            f"batch_size={SIZE}",
            f"calibration={SIZE}",
            f"statistics={statistics}",
        )
    ]
    scored = darts_jax.score(found.run.path, overrides=settings)
    saved = SavedSearch(found.run.path)
    want = [by_hand(saved, small, g, statistics) for g in scored.genotypes]
    np.testing.assert_allclose(scored.accuracy, want, atol=1e-6)
    assert len(set(want)) > 3
    summary = json.loads((found.run.path / "scores.json").read_text())
    assert summary["paths"] == 10
    assert statistics in summary["protocol"]


def test_a_space_that_is_small_enough_is_enumerated():
    space = get_space("nasbench201")
    paths = list_paths(space, 0, seed=0)
    assert len(paths) == len(set(map(str, paths))) == 5**6
    assert len(list_paths(space, 7, seed=0)) == 7
    assert list_paths(space, 7, seed=0) == list_paths(space, 7, seed=0)
    large = list_paths(get_space("darts"), 0, seed=1)
    assert len(large) == 1000


def test_scores_stand_beside_the_truth(found, tmp_path):
    everything = list_paths(get_space("nasbench201"), 0, seed=0)
    names = everything[0].cells["normal"].choices
    edges = [f"{choice.source}->{choice.target}" for choice in names]
    operations = NASBENCH201.cells["normal"].edges[0].operations
    codes = [
        [operations.index(c.operation) for c in genotype.cells["normal"].choices]
        for genotype in everything
    ]
    rng = np.random.default_rng(0)
    truth = rng.uniform(10, 95, len(codes)).astype(np.float32)
    table = tmp_path / "table.npz"
    np.savez(table, ops=operations, edges=edges, arch=codes, cifar10_test_200=truth)
    settings = ["score.paths=200", "score.images=32", "score.batch_size=32"]
    scored = darts_jax.score(
        found.run.path, overrides=[*settings, f"benchmark.table={table}"]
    )
    rows = [everything.index(genotype) for genotype in scored.genotypes]
    np.testing.assert_array_equal(scored.truth, truth[rows])
    assert "cifar10 test after 200 epochs" in scored.title
    for suffix in ("svg", "png"):
        assert (found.run.path / f"scores.{suffix}").stat().st_size > 5000
    with np.load(found.run.path / "scores.npz") as stored:
        assert stored["mixture_normal"].shape == (200, 6, 5)
        np.testing.assert_array_equal(stored["accuracy"], scored.accuracy)


@pytest.mark.parametrize("metric", ["auto", "balanced_accuracy"])
def test_paths_are_scored_as_the_supernet_is_tested(found, metric):
    settings = [f"score.images={IMAGES}", "score.paths=3", "score.statistics=running"]
    settings += [f"score.batch_size={SIZE}", f"data.metric={metric}"]
    scored = darts_jax.score(found.run.path, overrides=settings)
    saved = SavedSearch(found.run.path, settings)
    job, state = saved.restore()
    model = jax.jit(job.model)(state, job.scalars(0))
    held_out = Evaluator(job)
    want = [
        held_out.score(model.replace(mixture=one_hot(saved.space, genotype)))
        for genotype in scored.genotypes
    ]
    np.testing.assert_allclose(scored.accuracy, want, atol=1e-6)
    words = {"auto": "accuracy with", "balanced_accuracy": "balanced accuracy with"}
    assert scored.protocol.startswith(words[metric])


def test_ranks_against_their_definitions():
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 8, 40), rng.normal(size=40)
    found = ranking_quality(scores, truth, (1, 5))
    pairs = [
        (np.sign(scores[i] - scores[j]), np.sign(truth[i] - truth[j]))
        for i in range(40)
        for j in range(i)
    ]
    agree = sum(a * b for a, b in pairs)
    norm = np.sqrt(sum(a**2 for a, _ in pairs) * sum(b**2 for _, b in pairs))
    assert found.kendall == pytest.approx(agree / norm)
    ranks = scipy_stats.rankdata(scores), scipy_stats.rankdata(truth)
    assert found.spearman == pytest.approx(np.corrcoef(*ranks)[0, 1])
    first = np.flatnonzero(scores == scores.max())
    same = ranking_quality(np.ones(40), truth)
    assert np.isnan([same.kendall, same.spearman]).all()
    assert found.regret[1] == pytest.approx(truth.max() - truth[first[0]])
    assert 0 <= found.regret[5] <= found.regret[1]


def test_what_cannot_be_scored_is_refused(found):
    with pytest.raises(InputError, match=r"want at least score.batch_size, 32"):
        darts_jax.score(
            found.run.path, overrides=["score.images=8", "score.batch_size=32"]
        )
    with pytest.raises(InputError, match="no run in"):
        darts_jax.score(found.run.path / "absent")


@pytest.mark.slow
def test_devices_share_the_paths(tmp_path):
    """The command line gives equal scores on 1 device and on 4."""
    settings = {
        "space": "nasbench201",
        "data.images": 64,
        "supernet.cells": 1,
        "supernet.channels": 2,
        "search.epochs": 1,
        "search.batch_size": 16,
        "devices": 1,
    }
    given = [f"--config.{key}={value}" for key, value in settings.items()]
    # A process of its own: the space of this one is the small fixture's.
    search = [sys.executable, "-m", "darts_jax", "search", "--run"]
    subprocess.run([*search, str(tmp_path / "run"), *given], check=True)
    found = []
    for devices in (1, 4):
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        command = [sys.executable, "-m", "darts_jax", "score", str(tmp_path / "run")]
        command += ["--config.score.paths=150", "--config.score.images=32"]
        command += ["--config.score.batch_size=32", f"--config.devices={devices}"]
        done = subprocess.run(command, env=os.environ | flags, check=False)
        assert done.returncode == 0
        with np.load(tmp_path / "run" / "scores.npz") as stored:
            found.append(stored["accuracy"])
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0])) > 3
