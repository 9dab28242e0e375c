"""Accuracy of every path of a supernet, with shared weights.

A path is a one-hot mixture. Its batch statistics are not those of the mixture that the
supernet was trained with, so their source is a choice of its own.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from darts_jax.data.dataset import Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.documentation import implements
from darts_jax.engine.devices import Layout, to_host
from darts_jax.errors import InputError
from darts_jax.models.functional import supernet_apply
from darts_jax.models.operations.layers import BN_MOMENTUM
from darts_jax.tasks.image_data import normalize_images, split_search_data
from darts_jax.tasks.image_networks import make_supernet
from darts_jax.tasks.registry import get_score, require_classes
from darts_jax.training.population_job import member_execution
from darts_jax.types import Examples, Mixture, Params, Stats

Run = Callable[[Stats, Array, bool], tuple[Array, Stats]]
"""(statistics, images, train) -> (logits, statistics after), of one path."""

Predict = Callable[[Array], Float[Array, "batch class"]]


class PathStatistics(Protocol):
    """Prediction of one path, by the batch statistics of a rule.

    Args:
      run: forward pass of the path.
      stats: running statistics of the supernet.
      calibration: training images, normalised [image, height, width, channel].

    Returns:
      Logits of images.
    """

    def __call__(self, run: Run, stats: Stats, calibration: Array) -> Predict: ...


@implements(PathStatistics)
def running_statistics(run: Run, stats: Stats, calibration: Array) -> Predict:
    """Predicts with the running statistics of the supernet's mixtures."""
    del calibration
    return lambda images: run(stats, images, False)[0]


@implements(PathStatistics)
def batch_statistics(run: Run, stats: Stats, calibration: Array) -> Predict:
    """Predicts with the statistics of each batch, as in training."""
    del calibration
    return lambda images: run(stats, images, True)[0]


@implements(PathStatistics)
def recalibrated_statistics(run: Run, stats: Stats, calibration: Array) -> Predict:
    """Predicts with the path's own statistics (Guo et al., 2020, section 3.4)."""
    # One update moves statistics from 0 by the momentum's share of the batch's.
    _, moved = run(jax.tree.map(jnp.zeros_like, stats), calibration, True)
    own = jax.tree.map(lambda leaf: leaf / BN_MOMENTUM, moved)
    return lambda images: run(own, images, False)[0]


STATISTICS: dict[str, PathStatistics] = {
    "running": running_statistics,
    "batch": batch_statistics,
    "recalibrated": recalibrated_statistics,
}


def make_path_scores(
    config: ConfigDict, dataset: AnyDataset, layout: Layout
) -> Callable[[Params, Stats, Mixture], Float[Array, " path"]]:
    """Makes the function that scores paths; one program, whose paths devices share out.

    The score is the accuracy, or the one that ``data.metric`` names, on the first
    ``config.score.images`` of a search's validation images.

    Args:
      config: settings of a run.
      dataset: images in memory.
      layout: devices.

    Returns:
      (params, stats, mixtures [path, edge, op]) -> score of every path.

    Raises:
      InputError: another task, a stream, or fewer images than a batch.
    """
    require_classes(config, "the score of every path")
    settings = config.score
    # Nothing is differentiated, so that there is nothing to recompute.
    net = make_supernet(config, dataset).clone(
        sampled=True, corruptions=(), remat="none"
    )
    apply = supernet_apply(net, config.precision)
    rule = STATISTICS[settings.statistics]
    valid, calibration = _images(config, dataset)
    balanced = get_score(config).name == "balanced_accuracy"
    total = valid.labels.size
    classes = dataset.classes
    counts = np.bincount(np.asarray(valid.labels).ravel(), minlength=classes)
    sizes = counts.astype(np.float32)
    there = np.flatnonzero(sizes)
    shape = (classes,) if balanced else ()

    def counted(hits: Array, labels: Any) -> Array:
        """Counts right answers: all of them, or those of each class."""
        if not balanced:
            return jnp.sum(hits)
        each = hits[:, None] & (labels[:, None] == jnp.arange(classes))
        return jnp.sum(each, 0, dtype=jnp.int32)

    def score(mixture: Mixture, shared: Any) -> Float[Array, ""]:
        params, stats, valid, calibration = shared

        def run(stats: Stats, images: Array, train: bool) -> tuple[Array, Stats]:
            key = jax.random.key(0)  # consumed by nothing: no operation is random
            return apply(params, stats, mixture, images, key, train=train)

        predict = rule(run, stats, calibration)

        def count(correct: Array, batch: Examples) -> tuple[Array, None]:
            images = jnp.asarray(batch.images)
            hits = jnp.argmax(predict(images), -1) == batch.labels
            return correct + counted(hits, batch.labels), None

        correct, _ = lax.scan(count, jnp.zeros(shape, jnp.int32), valid)
        if not balanced:
            return correct / total
        return jnp.mean(correct[there].astype(jnp.float32) / sizes[there])

    over = jax.jit(layout.over_members(score, member_execution(config)))
    shared = layout.put(valid), layout.put(calibration)
    return lambda params, stats, mixtures: over(mixtures, (params, stats, *shared))


def score_chunks(
    score_paths: Callable[[Params, Stats, Mixture], Float[Array, " path"]],
    params: Params,
    stats: Stats,
    mixtures: Mixture,
    at_once: int,
) -> Iterator[Float[np.ndarray, " path"]]:
    """Yields scores of many paths, chunk by chunk, by a program of one size.

    Args:
      score_paths: of `make_path_scores`.
      params: weights of the supernet.
      stats: its running statistics.
      mixtures: of the paths [path, edge, op].
      at_once: paths of a chunk; the last is filled up with its last path.
    """
    total = len(jax.tree.leaves(mixtures)[0])
    for start in range(0, total, at_once):
        count = min(at_once, total - start)
        rows = start + np.minimum(np.arange(at_once), count - 1)
        some = jax.tree.map(lambda leaf, rows=rows: leaf[rows], mixtures)
        yield to_host(score_paths(params, stats, some))[:count]


def _images(config: ConfigDict, dataset: AnyDataset) -> tuple[Examples, Array]:
    """Returns validation batches [batch, image, ...] and calibration images."""
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"the paths of a supernet are scored on images in memory, and "
            f"{dataset.name!r} is a stream; want data.name without stream:"
        )
    settings = config.score
    dataset, train, valid = split_search_data(config, dataset)
    assert isinstance(dataset, Dataset)
    size = min(settings.batch_size, len(valid))
    count = min(settings.images or len(valid), len(valid)) // size
    if not count:
        raise InputError(
            f"setting score.images is {settings.images}; want at least "
            f"score.batch_size, {size}"
        )

    def seen(rows: Any) -> Array:
        stored = jnp.asarray(dataset.train_images[rows])
        return normalize_images(dataset, stored, Layout())

    rows = valid[: count * size]
    images = seen(rows).reshape(count, size, *dataset.image_shape)
    labels = jnp.asarray(dataset.train_labels[rows]).reshape(count, size)
    return Examples(images, labels), seen(train[: settings.calibration])
