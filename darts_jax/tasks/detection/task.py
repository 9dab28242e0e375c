"""The task of finding objects: a searched backbone under a head without anchors."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel.losses import Criterion, focal_loss
from darts_jax.bilevel.weight_training import Training, make_sgd
from darts_jax.cost.expected import ExpectedCost
from darts_jax.data.pipeline import mirror, split_train
from darts_jax.data.scene_sources import load_scenes
from darts_jax.data.scenes import SceneSet
from darts_jax.data.sources import data_place
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, whole_batches
from darts_jax.engine.program import Examination
from darts_jax.engine.resident_feed import once, rows_of, shuffled
from darts_jax.engine.task import Problem, Score, Supermodel, Task, require_settings
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.models.network import Network
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.dataset import make_reading
from darts_jax.tasks.detection import boxes
from darts_jax.tasks.detection.average_precision import (
    THRESHOLDS,
    Found,
    Truth,
    average_precision,
)
from darts_jax.tasks.detection.head import (
    DetectionHead,
    Detections,
    Located,
    Reading,
    detect,
    grid_of,
)
from darts_jax.tasks.image_feeds import normalize_images
from darts_jax.tasks.image_networks import make_network, make_supernet, require_family
from darts_jax.tasks.sizes import expected_image_cost
from darts_jax.tasks.slots import make_method
from darts_jax.types import Metrics, Scalars, Scenes, Stats, TrainState, step_key

METRICS = ("loss", "count")


def _load(config: ConfigDict) -> SceneSet:
    require_settings(config, _NOT_IN_LOADING, "detection")
    settings = config.detection
    return load_scenes(
        config.data.name,
        data_place(config.data.directory),
        side=settings.side,
        most=settings.boxes,
        images=config.data.images,
        counts=(settings.scenes, settings.test_scenes),
        seed=settings.seed,
        reading=make_reading(config.data),
    )


def _search(config: ConfigDict, dataset: SceneSet, layout: Layout) -> Problem:
    """Of the training images, one part to train and one to validate on."""
    require_settings(config, _NOT_IN_SEARCH, "detection")
    build = require_family(get_space(config.space), {"cells": make_supernet})
    net = build(config, dataset).clone(top=_head(config, dataset))
    size, image = config.search.batch_size, dataset.image_shape[:2]
    search = make_method(config, net, image, criterion=_criterion(config))
    fraction = config.search.train_fraction
    train, valid = (
        rows_of(dataset.train, rows)
        for rows in split_train(dataset.train_size, fraction)
    )
    whole_batches(size, len(train.images), "the training half")
    whole_batches(size, len(valid.images), "the validation half")

    def init(key: PRNGKeyArray) -> Initialized:
        return functional.initialize_supernet(net, key, dataset.image_shape)

    def locate(model: Supermodel, images: Array) -> Located:
        clean = normalize_images(dataset, images, layout)
        key = jax.random.wrap_key_data(model.key)
        said, _ = search.apply(
            model.params, model.stats, model.mixture, clean, key, train=False
        )
        return said

    return Problem(
        search,
        init,
        feed=shuffled([train, valid], size),
        prepare=_preparation(dataset, config.data, layout),
        held_out=once(valid, size, _as_it_is),
        examination=_examination(config, locate, valid, size),
        per_step=2 * size,
        metrics=METRICS,
    )


def _training(
    config: ConfigDict, dataset: SceneSet, genotype: Genotype, layout: Layout
) -> Problem:
    """On all training images; tested on the rest."""
    require_settings(config, _NOT_IN_TRAINING, "detection")
    settings = config.retrain
    net = _detector(config, dataset, genotype)
    size = settings.batch_size
    whole_batches(size, dataset.train_size, "the training set")

    def init(key: PRNGKeyArray) -> Initialized:
        example = jnp.zeros((2, *dataset.image_shape)), jnp.zeros(())
        return functional.initialize(net, key, *example)

    locate = _locating(net, dataset, layout)
    criterion = _criterion(config)
    optimizer = functools.partial(make_sgd, nesterov=settings.weights.nesterov)
    return Problem(
        Training(_main_apply(net), settings.microbatches, criterion, optimizer),
        init,
        feed=shuffled([dataset.train], size),
        prepare=_preparation(dataset, settings, layout),
        held_out=once(dataset.test, size, _as_it_is),
        examination=_examination(config, locate, dataset.test, size),
        per_step=size,
        metrics=METRICS,
    )


def make_detector(
    config: ConfigDict, dataset: SceneSet, genotype: Genotype
) -> Callable[[TrainState, Array], Detections]:
    """``(state, stored images) -> boxes``, as the network is tested, on one device.

    Raises:
      InputError: an unknown operation, or an image too small.
    """
    locate = _locating(_detector(config, dataset, genotype), dataset, Layout())
    reading, image = _reading(config), dataset.image_shape[:2]
    return lambda state, images: detect(locate(state, images), image, reading)


def _detector(config: ConfigDict, dataset: SceneSet, genotype: Genotype) -> Network:
    build = require_family(get_space(genotype.space), {"cells": make_network})
    net: Network = build(config, dataset, genotype)
    return net.clone(top=_head(config, dataset))


def _main_apply(net: Network) -> Callable[..., tuple[Located, Stats]]:
    """The forward pass of a network that has no auxiliary head."""
    apply = functional.network_apply(net)

    def main(*arguments: Any, train: bool) -> tuple[Located, Stats]:
        logits, stats = apply(*arguments, train=train)
        return logits.main, stats

    return main


def _locating(
    net: Network, dataset: SceneSet, layout: Layout
) -> Callable[[TrainState, Array], Located]:
    apply = _main_apply(net)

    def locate(state: TrainState, images: Array) -> Located:
        clean = normalize_images(dataset, images, layout)
        key, rate = step_key(state.key, state.step), jnp.zeros(())
        said, _ = apply(state.params, state.stats, clean, rate, key, train=False)
        return said

    return locate


def _expected(config: ConfigDict, dataset: SceneSet, costs: str) -> ExpectedCost:
    """What a backbone and its head cost."""
    return expected_image_cost(config, dataset, costs, _head(config, dataset))


def _head(config: ConfigDict, dataset: SceneSet) -> DetectionHead:
    return DetectionHead(dataset.classes, config.detection.channels)


def _reading(config: ConfigDict) -> Reading:
    settings = config.detection
    return Reading(settings.candidates, settings.least, settings.overlap)


def _as_it_is(batch: Scenes, real: Array) -> Scenes:
    """What fills a batch up is cut off on the host, where its number is known."""
    del real
    return batch


def _preparation(
    dataset: SceneSet, settings: ConfigDict, layout: Layout
) -> Callable[[Array, Batches], Batches]:
    """(key of the step, stored scenes) -> the same as the network sees them."""

    def prepare_part(key: Array, part: int, stored: Scenes) -> Scenes:
        scenes = layout.spread(stored)
        if settings.flip:
            scenes = mirror(jax.random.fold_in(key, seeds.AUGMENT + part), scenes)
        return scenes.replace(images=normalize_images(dataset, scenes.images, layout))

    def prepare(key: Array, stored: Batches) -> Batches:
        return tuple(prepare_part(key, part, b) for part, b in enumerate(stored))

    return prepare


def _criterion(config: ConfigDict) -> Criterion:
    """Focal loss of the classes, 1 - GIoU of the boxes and the centreness's entropy.

    Each is a sum over the locations of a batch, over how many of them belong to a box.
    Rewards are an image's mean, over these, of the probability of their class times
    the overlap with their box.
    """
    settings = config.detection

    def targets(said: Located, scenes: Scenes) -> tuple[boxes.Grid, boxes.Targets]:
        grid = grid_of(said, _size(scenes))
        assign = functools.partial(boxes.assign, grid, radius=settings.radius)
        return grid, jax.vmap(assign)(*_marks(scenes))

    def loss(said: Located, scenes: Scenes, scalars: Scalars) -> Float[Array, ""]:
        del scalars
        grid, wanted = targets(said, scenes)
        classes, sides, centreness = (_flat(x) for x in said)
        asked = _one_hot(wanted, classes)
        focal = jnp.where(wanted.counted[..., None], focal_loss(classes, asked), 0)
        found = boxes.decode(grid, sides)
        apart = 1 - boxes.generalized_overlaps(found, wanted.boxes)
        entropy = _entropy(centreness[..., 0], wanted.centreness)
        of_box = settings.box_weight * apart + entropy
        of_box = jnp.where(wanted.positive, of_box, 0)
        count = jnp.sum(wanted.positive, dtype=focal.dtype)
        return (focal.sum() + of_box.sum()) / jnp.maximum(count, 1)

    def rewards(said: Located, scenes: Scenes) -> Float[Array, " batch"]:
        grid, wanted = targets(said, scenes)
        classes, sides, _ = (_flat(x) for x in said)
        sure = (jax.nn.sigmoid(classes) * _one_hot(wanted, classes)).sum(-1)
        close = boxes.overlaps(boxes.decode(grid, sides), wanted.boxes)
        count = jnp.sum(wanted.positive, -1, dtype=sure.dtype)
        return jnp.sum(sure * close, -1) / jnp.maximum(count, 1)

    return Criterion(lambda scenes: scenes.images, loss, _metrics, rewards)


def _size(scenes: Scenes) -> tuple[int, int]:
    height, width = scenes.images.shape[1:3]
    return height, width


def _marks(scenes: Scenes) -> tuple[Array, Array, Array, Array]:
    """All but the images."""
    marks = scenes.boxes, scenes.labels, scenes.present, scenes.crowd
    boxes_, labels, present, crowd = (jnp.asarray(mark) for mark in marks)
    return boxes_, labels, present, crowd


def _flat(x: Array) -> Float[Array, "batch location value"]:
    return x.reshape(x.shape[0], -1, x.shape[-1])


def _one_hot(wanted: boxes.Targets, classes: Array) -> Array:
    hot = jax.nn.one_hot(wanted.labels, classes.shape[-1], dtype=classes.dtype)
    return jnp.where(wanted.positive[..., None], hot, 0)


def _entropy(logits: Array, targets: Array) -> Array:
    """Of yes-or-no questions answered by a probability."""
    log_yes, log_no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return -(targets * log_yes + (1 - targets) * log_no)


def _metrics(loss: Array, said: Located, scenes: Scenes) -> Metrics:
    del said
    count = jnp.asarray(scenes.images.shape[0], jnp.float32)
    return {"loss": loss.astype(jnp.float32) * count, "count": count}


def _examination(
    config: ConfigDict,
    locate: Callable[[Any, Array], Located],
    scenes: Scenes,
    size: int,
) -> Examination:
    """Writes down what is found in every image, and what there is in it.

    Average precision is no sum over images, so all of both goes to the host.

    Args:
      scenes: what is looked at, by batches of ``size``.
    """
    reading = _reading(config)
    rows = -(-len(scenes.images) // size) * size
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), scenes
    )

    def judged(model: Any, scenes: Scenes) -> tuple[Detections, Any]:
        said = locate(model, jnp.asarray(scenes.images))
        return detect(said, _size(scenes), reading), _marks(scenes)

    def begin(model: Any) -> Any:
        shapes = jax.eval_shape(judged, model, batch)
        return jax.tree.map(
            lambda leaf: jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype), shapes
        )

    def examine(model: Any, carried: Any, batch: Scenes, i: Any) -> Any:
        def write(all_: Array, some: Array) -> Array:
            return lax.dynamic_update_slice_in_dim(all_, some, i * size, 0)

        return jax.tree.map(write, carried, judged(model, batch))

    return Examination(begin, examine, lambda carried: carried)


def _precision(
    sums: Any, count: int, thresholds: Float[np.ndarray, " threshold"] = THRESHOLDS
) -> float:
    """Of the first ``count`` images: what is behind them only fills a batch up."""
    (where, what, sure), truth = jax.tree.map(lambda x: np.asarray(x)[:count], sums)
    there, labels, present, crowd = truth
    known = Truth(there, labels, present.astype(bool), crowd.astype(bool))
    return average_precision(Found(where, what, sure), known, thresholds)


def _precision_at_half(sums: Any, count: int) -> float:
    return _precision(sums, count, THRESHOLDS[:1])


_NOT_IN_LOADING = {
    "data.size": "",  # it has detection.side
    "data.fit": "crop",
    "data.channels": 0,
    "data.skip_unreadable": False,
}
_NOT_IN_SEARCH = {
    "data.class_weights": "none",
    "data.pad": 0,
    "data.cutout": 0,
    "search.validation": "train",
}
_NOT_IN_TRAINING = {
    "data.class_weights": "none",
    "retrain.pad": 0,
    "retrain.cutout": 0,
    "retrain.auxiliary_weight": 0.0,
    "retrain.label_smoothing": 0.0,
}

DETECTION = Task(
    "detection",
    "images",
    Score("ap", _precision, scale=100, unit="%", extras={"ap_50": _precision_at_half}),
    _load,
    _search,
    _training,
    _expected,
)
