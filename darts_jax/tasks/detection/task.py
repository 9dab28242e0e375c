"""The task of finding objects: a searched backbone under a head without anchors."""

import functools
from collections.abc import Callable

import jax
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel.weight_training import Training, make_sgd
from darts_jax.cost.expected import ExpectedCost
from darts_jax.data.pipeline import mirror, split_train
from darts_jax.data.scene_sources import load_scenes
from darts_jax.data.scenes import SceneSet
from darts_jax.data.sources import find_data_directory
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, require_whole_batch
from darts_jax.engine.job import Job
from darts_jax.engine.resident_feed import shuffled_feed, single_pass_feed, take_rows
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.models.network import Network
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.detection.criterion import METRICS, make_detection_criterion
from darts_jax.tasks.detection.head import (
    DetectionHead,
    Detections,
    Located,
    Reading,
    detect,
)
from darts_jax.tasks.detection.metric import AVERAGE_PRECISION, record_detections
from darts_jax.tasks.image_data import make_reading, normalize_images
from darts_jax.tasks.image_networks import (
    expected_image_cost,
    make_network,
    make_network_apply,
    make_network_prediction,
    make_supernet,
    make_supernet_apply,
    make_supernet_prediction,
)
from darts_jax.tasks.search_job import make_method, make_search_job
from darts_jax.tasks.task import (
    Task,
    choose_score,
    require_family,
    require_settings,
)
from darts_jax.tasks.training_job import make_training_job
from darts_jax.types import NetworkApply, Params, Scenes, Stats, TrainState

SCORES = (AVERAGE_PRECISION,)


def _load(config: ConfigDict) -> SceneSet:
    require_settings(config, _NOT_IN_LOADING, "detection")
    settings = config.detection
    return load_scenes(
        config.data.name,
        find_data_directory(config.data.directory),
        side=settings.side,
        max_boxes=settings.boxes,
        images=config.data.images,
        counts=(settings.scenes, settings.test_scenes),
        seed=settings.seed,
        reading=make_reading(config.data),
    )


def _make_search(config: ConfigDict, dataset: SceneSet, layout: Layout) -> Job:
    """Makes a search on one part of the training images, validated on the other."""
    require_settings(config, _NOT_IN_SEARCH, "detection")
    make = require_family(get_space(config.space), {"cells": make_supernet})
    net = make(config, dataset).clone(top=_make_head(config, dataset))
    size = config.search.batch_size
    criterion = make_detection_criterion(config.detection)
    method = make_method(
        config,
        net,
        dataset.image_shape[:2],
        criterion=criterion,
        apply=make_supernet_apply(config, net, layout),
    )
    train, valid = (
        take_rows(dataset.train, rows)
        for rows in split_train(dataset.train_size, config.search.train_fraction)
    )
    require_whole_batch(size, len(train.images), "the training half")
    require_whole_batch(size, len(valid.images), "the validation half")

    def init_network(key: PRNGKeyArray) -> Initialized:
        return functional.initialize_supernet(net, key, dataset.image_shape)

    locate = make_supernet_prediction(method, dataset, layout)
    return make_search_job(
        config,
        layout,
        method,
        score=choose_score(config, SCORES),
        init_network=init_network,
        feed=shuffled_feed([train, valid], size),
        prepare=_make_preparation(dataset, config.data, layout),
        held_out=single_pass_feed(valid, size, _keep_padding),
        examination=record_detections(locate, _reading(config), valid, size),
        expected_cost=functools.partial(_expected_cost, config, dataset),
        metrics=METRICS,
    )


def _make_training(
    config: ConfigDict, dataset: SceneSet, genotype: Genotype, layout: Layout
) -> Job:
    """Makes a training on all training images, tested on the test images."""
    require_settings(config, _NOT_IN_TRAINING, "detection")
    settings = config.retrain
    net = _make_detection_network(config, dataset, genotype)
    size = settings.batch_size
    require_whole_batch(size, dataset.train_size, "the training set")

    def init_network(key: PRNGKeyArray) -> Initialized:
        return functional.initialize_network(net, key, dataset.image_shape)

    apply = make_network_apply(config, net, layout)
    locate = make_network_prediction(apply, dataset, layout)
    criterion = make_detection_criterion(config.detection)
    optimizer = functools.partial(make_sgd, nesterov=settings.weights.nesterov)
    return make_training_job(
        config,
        layout,
        Training(_main_output(apply), settings.microbatches, criterion, optimizer),
        score=choose_score(config, SCORES),
        init_network=init_network,
        feed=shuffled_feed([dataset.train], size),
        prepare=_make_preparation(dataset, settings, layout),
        held_out=single_pass_feed(dataset.test, size, _keep_padding),
        examination=record_detections(locate, _reading(config), dataset.test, size),
        metrics=METRICS,
    )


def make_detector(
    config: ConfigDict, dataset: SceneSet, genotype: Genotype
) -> Callable[[TrainState, Array], Detections]:
    """Makes the function of a network that finds boxes, as it is tested, on one device.

    Args:
      config: settings of a run.
      dataset: scenes, of which shape, classes, mean and deviation are read.
      genotype: the backbone's cells.

    Returns:
      (state, stored images [batch, height, width, channel]) -> boxes.

    Raises:
      InputError: an unknown operation, or an image too small.
    """
    net = _make_detection_network(config, dataset, genotype)
    apply = make_network_apply(config, net, Layout())
    locate = make_network_prediction(apply, dataset, Layout())
    reading = _reading(config)
    size = dataset.image_shape[:2]
    return lambda state, images: detect(locate(state, images), size, reading)


def _make_detection_network(
    config: ConfigDict, dataset: SceneSet, genotype: Genotype
) -> Network:
    make = require_family(get_space(genotype.space), {"cells": make_network})
    net: Network = make(config, dataset, genotype)
    return net.clone(top=_make_head(config, dataset))


def _main_output(apply: NetworkApply) -> Callable[..., tuple[Located, Stats]]:
    """Returns the forward pass of a network that has no auxiliary head."""

    def main(
        params: Params,
        stats: Stats,
        inputs: Array,
        drop_rate: Array,
        key: Array,
        *,
        train: bool,
    ) -> tuple[Located, Stats]:
        logits, stats = apply(params, stats, inputs, drop_rate, key, train=train)
        return logits.main, stats

    return main


def _expected_cost(config: ConfigDict, dataset: SceneSet, costs: str) -> ExpectedCost:
    """Returns the expected cost of a backbone and its head."""
    return expected_image_cost(config, dataset, costs, _make_head(config, dataset))


def _make_head(config: ConfigDict, dataset: SceneSet) -> DetectionHead:
    return DetectionHead(dataset.classes, config.detection.channels)


def _reading(config: ConfigDict) -> Reading:
    settings = config.detection
    return Reading(settings.candidates, settings.least, settings.overlap)


def _keep_padding(batch: Scenes, is_real: Array) -> Scenes:
    # Images that fill a batch up are cut off on the host, where their number is known.
    del is_real
    return batch


def _make_preparation(
    dataset: SceneSet, settings: ConfigDict, layout: Layout
) -> Callable[[Array, Batches], Batches]:
    """Makes the function that mirrors and normalises scenes on the device."""

    def prepare_part(key: Array, part: int, stored: Scenes) -> Scenes:
        scenes = layout.spread(stored)
        if settings.flip:
            scenes = mirror(jax.random.fold_in(key, seeds.AUGMENT + part), scenes)
        return scenes.replace(images=normalize_images(dataset, scenes.images, layout))

    def prepare(key: Array, stored: Batches) -> Batches:
        return tuple(prepare_part(key, part, b) for part, b in enumerate(stored))

    return prepare


def _unchanged(part: str) -> dict[str, float]:
    """Returns the settings of changes that boxes do not follow, all off."""
    colours = ("brightness", "contrast", "saturation", "hue")
    return {
        f"{part}.pad": 0,
        f"{part}.cutout": 0,
        f"{part}.crop_area": 1.0,
        **{f"{part}.jitter.{colour}": 0.0 for colour in colours},
    }


_NOT_IN_LOADING = {
    "data.size": "",  # it has detection.side
    "data.fit": "crop",
    "data.channels": 0,
    "data.skip_unreadable": False,
    "data.short_side": 0,
}
_NOT_IN_SEARCH = {
    "data.class_weights": "none",
    "search.validation": "train",
    "search.images": 0,
    **_unchanged("data"),
}
_NOT_IN_TRAINING = {
    "data.class_weights": "none",
    "retrain.auxiliary_weight": 0.0,
    "retrain.label_smoothing": 0.0,
    "retrain.mixup": 0.0,
    "retrain.ema_decay": 0.0,
    **_unchanged("retrain"),
}

DETECTION = Task(
    name="detection",
    scores=SCORES,
    load=_load,
    make_search=_make_search,
    make_training=_make_training,
    expected_cost=_expected_cost,
)
