"""The first task: images by class, in memory or as a stream."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.analysis.class_metrics import balanced_accuracy
from darts_jax.bilevel.losses import classification_criterion, cross_entropies
from darts_jax.bilevel.weight_training import (
    Training,
    auxiliary_criterion,
    make_sgd,
)
from darts_jax.data.stream import PADDING, AnyDataset
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import whole_batches
from darts_jax.engine.program import Examination
from darts_jax.engine.task import Problem, Score, Supermodel, Task
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.models.network import Network
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.classification.class_weights import class_weights
from darts_jax.tasks.dataset import load_images, split_search_data
from darts_jax.tasks.image_feeds import make_preparation, make_supply, normalize_images
from darts_jax.tasks.image_networks import make_network, make_supernet
from darts_jax.tasks.sizes import expected_image_cost
from darts_jax.tasks.slots import make_method
from darts_jax.types import TrainState, step_key


def _search(config: ConfigDict, dataset: AnyDataset, layout: Layout) -> Problem:
    """Of the training images, one part to train and one to validate on."""
    criterion = classification_criterion(class_weights(config, dataset))
    dataset, train, valid = split_search_data(config, dataset)
    net = make_supernet(config, dataset)
    search = make_method(config, net, dataset.image_shape[:2], criterion=criterion)
    size, supply = config.search.batch_size, make_supply(dataset, config)
    whole_batches(size, len(train), "the training half")
    whole_batches(size, len(valid), "the validation half")

    def init(key: PRNGKeyArray) -> Initialized:
        return functional.initialize_supernet(net, key, dataset.image_shape)

    def predict(model: Supermodel, images: Array) -> Array:
        clean = normalize_images(dataset, images, layout)
        key = jax.random.wrap_key_data(model.key)
        logits, _ = search.apply(
            model.params, model.stats, model.mixture, clean, key, train=False
        )
        return logits

    return Problem(
        search,
        init,
        feed=supply.training([train, valid], size),
        prepare=make_preparation(dataset, config.data, layout),
        held_out=supply.held_out(valid, size),
        examination=count_by_class(predict, dataset.classes),
        per_step=2 * size,
        chance=math.log(dataset.classes),
    )


def _training(
    config: ConfigDict, dataset: AnyDataset, genotype: Genotype, layout: Layout
) -> Problem:
    """On all training images; tested on the rest."""
    settings = config.retrain
    net = make_network(config, dataset, genotype)
    predict = _prediction(net, dataset, layout)
    criterion = auxiliary_criterion(class_weights(config, dataset))
    apply = functional.network_apply(net)
    optimizer = functools.partial(make_sgd, nesterov=settings.weights.nesterov)
    training = Training(apply, settings.microbatches, criterion, optimizer)
    size, supply = settings.batch_size, make_supply(dataset, config)
    whole_batches(size, supply.images, "the training set")

    def init(key: PRNGKeyArray) -> Initialized:
        example = jnp.zeros((2, *dataset.image_shape)), jnp.zeros(())
        return functional.initialize(net, key, *example)

    return Problem(
        training,
        init,
        feed=supply.training([np.arange(supply.images)], size),
        prepare=make_preparation(dataset, settings, layout),
        held_out=supply.test(size),
        examination=count_by_class(predict, dataset.classes),
        per_step=size,
        chance=math.log(dataset.classes),
    )


def make_inference(
    config: ConfigDict, dataset: AnyDataset, genotype: Genotype
) -> Callable[[TrainState, Array], Array]:
    """``(state, stored images) -> float32 logits`` as the network is tested.

    With running statistics, without auxiliary head and drop path, on one device.

    Raises:
      InputError: an unknown operation, or an image too small.
    """
    net = make_network(config, dataset, genotype)
    predict = _prediction(net.clone(auxiliary=False), dataset, Layout())
    return lambda state, images: predict(state, images).astype(jnp.float32)


def _prediction(
    net: Network, dataset: AnyDataset, layout: Layout
) -> Callable[[TrainState, Array], Array]:
    apply = functional.network_apply(net)

    def predict(state: TrainState, images: Array) -> Array:
        logits, _ = apply(
            state.params,
            state.stats,
            normalize_images(dataset, images, layout),
            jnp.zeros(()),
            step_key(state.key, state.step),
            train=False,
        )
        return logits.main

    return predict


def count_by_class(predict: Callable[[Any, Array], Array], classes: int) -> Examination:
    """Counts stored images by true and predicted class, int32, and adds their losses.

    Images that only fill a batch up have the label of no class and take no part.
    """
    cells = classes**2

    def begin(model: Any) -> dict[str, Array]:
        del model
        return {
            "confusion": jnp.zeros(cells, jnp.int32),
            "loss": jnp.zeros((), jnp.float32),
        }

    def examine(
        model: Any, sums: dict[str, Array], batch: Any, i: Any
    ) -> dict[str, Array]:
        del i
        logits, is_real = predict(model, batch.images), batch.labels != PADDING
        predicted = jnp.argmax(logits, -1).astype(batch.labels.dtype)
        # A place behind the last cell is dropped.
        place = jnp.where(is_real, batch.labels * classes + predicted, cells)
        losses = cross_entropies(logits, jnp.maximum(batch.labels, 0))
        loss = jnp.sum(jnp.where(is_real, losses, 0)).astype(jnp.float32)
        return {
            "confusion": sums["confusion"].at[place].add(1, mode="drop"),
            "loss": sums["loss"] + loss,
        }

    def shaped(sums: dict[str, Array]) -> dict[str, Array]:
        return sums | {"confusion": sums["confusion"].reshape(classes, classes)}

    return Examination(begin, examine, shaped)


def _accuracy(sums: Any, count: int) -> float:
    return np.trace(sums["confusion"]) / count


def _balanced_accuracy(sums: Any, count: int) -> float:
    del count  # It has the images that only fill a batch up in no sum.
    return balanced_accuracy(sums["confusion"])


_SUMS: dict[str, Any] = {
    "confusion": lambda sums: sums["confusion"],
    "loss": lambda sums, count: sums["loss"] / count,
}
CLASSIFICATION = Task(
    "classification",
    "images",
    Score("accuracy", _accuracy, scale=100, unit="%", **_SUMS),
    load_images,
    _search,
    _training,
    expected_image_cost,
    others=(
        Score(
            "balanced_accuracy",
            _balanced_accuracy,
            scale=100,
            unit="%",
            extras={"accuracy": _accuracy},
            **_SUMS,
        ),
    ),
)
