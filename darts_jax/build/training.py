"""The training of a genotype from scratch, out of a config."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from darts_jax import program, schedules
from darts_jax.build import seeds
from darts_jax.build.feed import whole_batches
from darts_jax.build.images import make_supply, normalized, preparation
from darts_jax.build.job import Job, arrays
from darts_jax.build.networks import make_network
from darts_jax.data.stream import AnyDataset
from darts_jax.devices import Layout, make_layout
from darts_jax.models import functional
from darts_jax.models.network import Network
from darts_jax.spaces.graph import Genotype
from darts_jax.training import Training
from darts_jax.types import TrainState, step_key


def make_training(config: ConfigDict, dataset: AnyDataset, genotype: Genotype) -> Job:
    """Training of a genotype from scratch on all training images; tested on the rest.

    Raises:
      InputError: an unknown operation, an image too small, or a batch too large.
    """
    settings = config.retrain
    net = make_network(config, dataset, genotype)
    training = Training(functional.network_apply(net), settings.microbatches)
    size = settings.batch_size
    supply = make_supply(dataset, config)
    steps = whole_batches(size, supply.images, "the training set")
    feed = supply.training([np.arange(supply.images)], size)
    held_out = supply.test(size)
    split = settings.split_state
    layout = make_layout(config.devices, size, "retrain.batch_size", split_state=split)
    prepare = preparation(dataset, settings, layout)
    predict = _prediction(net, dataset, layout)

    def init(seed: Any) -> Any:
        example = jnp.zeros((2, *dataset.image_shape)), jnp.zeros(())
        params, stats = functional.initialize(
            net, seeds.key_of(seed, seeds.INIT), *example
        )
        return training.init(seeds.raw_key_of(seed, seeds.STEPS), params, stats)

    def step(state: Any, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        key = step_key(state.key, state.step)
        (batch,) = prepare(key, feed.batches(data, order, i))
        return training.step(state, batch, scalars)

    return Job(
        layout=layout,
        start=np.asarray(config.seed, np.int32),
        init=init,
        run=program.epoch_program(feed.order, step),
        feed=feed,
        scalars=lambda epoch: arrays(schedules.training_scalars(settings, epoch)),
        model=lambda state, scalars: state,
        held_out=held_out,
        evaluate=program.evaluation_program(predict, held_out.batches),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        images_per_step=size,
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
