"""Tasks of images with labels, in memory or as a stream, whatever labels are."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel.weight_training import Training, make_sgd
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import require_whole_batch
from darts_jax.engine.job import Job
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.image_data import (
    load_images,
    make_preparation,
    make_supply,
    mix_images,
    split_search_data,
)
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
from darts_jax.tasks.task import Objective, Task, choose_score
from darts_jax.tasks.training_job import make_training_job
from darts_jax.types import TrainState


def make_image_task(
    name: str,
    objective: Objective,
    load: Callable[[ConfigDict], AnyDataset] = load_images,
) -> Task:
    """Makes a task of images with labels.

    Args:
      name: value of the setting ``task``.
      objective: what networks learn of the labels.
      load: config -> data set.
    """
    return Task(
        name=name,
        scores=objective.scores,
        load=load,
        make_search=functools.partial(_make_search, objective),
        make_training=functools.partial(_make_training, objective),
        expected_cost=expected_image_cost,
        objective=objective,
    )


def _make_search(
    objective: Objective, config: ConfigDict, dataset: AnyDataset, layout: Layout
) -> Job:
    """Makes a search on one part of the training images, validated on the other."""
    objective.require(config, dataset)
    criterion = objective.criterion(config, dataset)
    expected_cost = functools.partial(expected_image_cost, config, dataset)
    dataset, train, valid = split_search_data(config, dataset)
    net = make_supernet(config, dataset)
    method = make_method(
        config,
        net,
        dataset.image_shape[:2],
        criterion=criterion,
        apply=make_supernet_apply(config, net, layout),
    )
    supply = make_supply(dataset, config, config.data)
    size = config.search.batch_size
    require_whole_batch(size, len(train), "the training half")
    require_whole_batch(size, len(valid), "the validation half")

    def init_network(key: PRNGKeyArray) -> Initialized:
        return functional.initialize_supernet(net, key, dataset.image_shape)

    predict = make_supernet_prediction(method, dataset, layout)
    return make_search_job(
        config,
        layout,
        method,
        score=choose_score(config, objective.scores),
        init_network=init_network,
        feed=supply.training([train, valid], size),
        prepare=make_preparation(dataset, config.data, layout),
        held_out=supply.held_out(valid, size),
        examination=objective.examination(config, dataset, predict),
        expected_cost=expected_cost,
        chance=objective.chance(dataset),
        metrics=objective.metrics,
    )


def _make_training(
    objective: Objective,
    config: ConfigDict,
    dataset: AnyDataset,
    genotype: Genotype,
    layout: Layout,
) -> Job:
    """Makes a training on all training images, tested on the test images."""
    objective.require(config, dataset)
    settings = config.retrain
    net = make_network(config, dataset, genotype)
    criterion = objective.network_criterion(config, dataset)
    apply = make_network_apply(config, net, layout)
    supply = make_supply(dataset, config, settings)
    size = settings.batch_size
    require_whole_batch(size, supply.images, "the training set")

    def init_network(key: PRNGKeyArray) -> Initialized:
        return functional.initialize_network(net, key, dataset.image_shape)

    predict = make_network_prediction(apply, dataset, layout)
    optimizer = functools.partial(make_sgd, nesterov=settings.weights.nesterov)
    return make_training_job(
        config,
        layout,
        Training(
            apply,
            settings.microbatches,
            criterion,
            optimizer,
            ema=settings.ema_decay > 0,
        ),
        score=choose_score(config, objective.scores),
        init_network=init_network,
        feed=supply.training([np.arange(supply.images)], size),
        prepare=mix_images(make_preparation(dataset, settings, layout), settings.mixup),
        held_out=supply.test(size),
        examination=objective.examination(config, dataset, predict),
        chance=objective.chance(dataset),
        metrics=objective.metrics,
    )


def make_inference(
    objective: Objective, config: ConfigDict, dataset: AnyDataset, genotype: Genotype
) -> Callable[[TrainState, Array], Array]:
    """Makes the function of a network as it is tested.

    It uses running statistics and neither auxiliary head nor drop path, on one device.

    Args:
      objective: of the task.
      config: settings of a run.
      dataset: images, of which shape, classes, mean and deviation are read.
      genotype: the network's cells.

    Returns:
      (state, stored images [batch, height, width, channel]) -> float32 logits
      [batch, class], or numbers in their own unit [batch, 1].

    Raises:
      InputError: an unknown operation, or an image too small.
    """
    net = make_network(config, dataset, genotype).clone(auxiliary=False)
    apply = make_network_apply(config, net, Layout())
    predict = make_network_prediction(apply, dataset, Layout())

    def infer(state: TrainState, images: Array) -> Array:
        outputs = predict(state, images).astype(jnp.float32)
        return objective.decode(dataset, outputs)

    return infer
