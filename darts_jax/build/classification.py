"""The first task: images by class, in memory or as a stream."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.build.dataset import load_images, searched_parts
from darts_jax.build.feed import whole_batches
from darts_jax.build.images import make_supply, normalized, preparation
from darts_jax.build.methods import make_method
from darts_jax.build.networks import make_network, make_supernet
from darts_jax.build.sizes import expected_of_images
from darts_jax.build.task import Problem, Score, Supermodel, Task
from darts_jax.data.stream import AnyDataset
from darts_jax.devices import Layout
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.models.network import Network
from darts_jax.program import Examination
from darts_jax.spaces.graph import Genotype
from darts_jax.training import Training
from darts_jax.types import TrainState, step_key


def _search(config: ConfigDict, dataset: AnyDataset, layout: Layout) -> Problem:
    """Of the training images, one part to train and one to validate on."""
    dataset, train, valid = searched_parts(config, dataset)
    net = make_supernet(config, dataset)
    search = make_method(config, net, dataset.image_shape[:2])
    size, supply = config.search.batch_size, make_supply(dataset, config)
    whole_batches(size, len(train), "the training half")
    whole_batches(size, len(valid), "the validation half")

    def init(key: PRNGKeyArray) -> Initialized:
        return functional.initialize_supernet(net, key, dataset.image_shape)

    def predict(model: Supermodel, images: Array) -> Array:
        clean = normalized(dataset, images, layout)
        key = jax.random.wrap_key_data(model.key)
        logits, _ = search.apply(
            model.params, model.stats, model.mixture, clean, key, train=False
        )
        return logits

    return Problem(
        search,
        init,
        feed=supply.training([train, valid], size),
        prepare=preparation(dataset, config.data, layout),
        held_out=supply.held_out(valid, size),
        examination=count_correct(predict),
        per_step=2 * size,
    )


def _training(
    config: ConfigDict, dataset: AnyDataset, genotype: Genotype, layout: Layout
) -> Problem:
    """On all training images; tested on the rest."""
    settings = config.retrain
    net = make_network(config, dataset, genotype)
    predict = _prediction(net, dataset, layout)
    training = Training(functional.network_apply(net), settings.microbatches)
    size, supply = settings.batch_size, make_supply(dataset, config)
    whole_batches(size, supply.images, "the training set")

    def init(key: PRNGKeyArray) -> Initialized:
        example = jnp.zeros((2, *dataset.image_shape)), jnp.zeros(())
        return functional.initialize(net, key, *example)

    return Problem(
        training,
        init,
        feed=supply.training([np.arange(supply.images)], size),
        prepare=preparation(dataset, settings, layout),
        held_out=supply.test(size),
        examination=count_correct(predict),
        per_step=size,
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
            normalized(dataset, images, layout),
            jnp.zeros(()),
            step_key(state.key, state.step),
            train=False,
        )
        return logits.main

    return predict


def count_correct(predict: Callable[[Any, Array], Array]) -> Examination:
    """Counts correct predictions of stored images, int32.

    Images that only fill a batch up have a label that no prediction equals.
    """

    def examine(model: Any, correct: Array, batch: Any, i: Any) -> Array:
        del i
        hits = jnp.argmax(predict(model, batch.images), -1) == batch.labels
        return correct + jnp.sum(hits, dtype=jnp.int32)

    return Examination(
        lambda model: jnp.zeros((), jnp.int32), examine, lambda correct: correct
    )


CLASSIFICATION = Task(
    "classification",
    "images",
    Score("accuracy", lambda correct, count: correct / count, scale=100, unit="%"),
    load_images,
    _search,
    _training,
    expected_of_images,
)
