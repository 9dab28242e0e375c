"""The task of numbers: labels of images are numbers, and errors are squared."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from darts_jax.bilevel.losses import Criterion
from darts_jax.bilevel.weight_training import Training
from darts_jax.data.stream import PADDING
from darts_jax.engine.job import Score
from darts_jax.engine.program import Examination
from darts_jax.models import functional
from darts_jax.tasks import image_data, image_networks
from darts_jax.tasks.registry import register_task
from darts_jax.tasks.search_job import make_method, make_search_job
from darts_jax.tasks.task import Task
from darts_jax.tasks.training_job import make_training_job
from darts_jax.types import step_key


def errors(logits: Any, labels: Any) -> Any:
    """Returns predicted numbers minus true ones [batch]."""
    return jax.nn.softmax(logits) @ jnp.arange(1.0 * logits.shape[-1]) - labels


def criterion(read: Any) -> Any:
    """Mean square error; `read` takes logits out of a network's outputs."""

    def loss(outputs: Any, batch: Any, scalars: Any) -> Any:
        return jnp.mean(errors(read(outputs), batch.labels) ** 2)

    def metrics(loss: Any, outputs: Any, batch: Any) -> Any:
        count = jnp.float32(len(batch.labels))
        return {"loss": loss * count, "count": count}

    def rewards(outputs: Any, batch: Any) -> Any:
        return -jnp.abs(errors(read(outputs), batch.labels))

    return Criterion(lambda batch: batch.images, loss, metrics, rewards)


def sum_squares(predict: Any) -> Any:
    """Sums squares over a test, without the images that fill up its last batch."""

    def examine(model: Any, total: Any, batch: Any, i: Any) -> Any:
        squares = errors(predict(model, batch.images), batch.labels) ** 2
        return total + jnp.sum(jnp.where(batch.labels == PADDING, 0, squares))

    return Examination(lambda model: jnp.zeros(()), examine, lambda total: total)


RMSE = Score("rmse", lambda total, count: (total / count) ** 0.5, more_is_better=False)


def make_search(config: Any, dataset: Any, layout: Any) -> Any:
    size = config.search.batch_size
    expected_cost = functools.partial(
        image_networks.expected_image_cost, config, dataset
    )
    dataset, train, valid = image_data.split_search_data(config, dataset)
    net = image_networks.make_supernet(config, dataset)
    loss = criterion(lambda logits: logits)
    method = make_method(config, net, dataset.image_shape[:2], criterion=loss)
    supply = image_data.make_supply(dataset, config)

    def predict(model: Any, images: Any) -> Any:
        images = image_data.normalize_images(dataset, images, layout)
        key = jax.random.wrap_key_data(model.key)
        return method.apply(
            model.params, model.stats, model.mixture, images, key, train=False
        )[0]

    return make_search_job(
        config,
        layout,
        method,
        score=RMSE,
        init_network=lambda key: functional.initialize_supernet(
            net, key, dataset.image_shape
        ),
        feed=supply.training([train, valid], size),
        prepare=image_data.make_preparation(dataset, config.data, layout),
        held_out=supply.held_out(valid, size),
        examination=sum_squares(predict),
        expected_cost=expected_cost,
        metrics=("loss", "count"),
    )


def make_training(config: Any, dataset: Any, genotype: Any, layout: Any) -> Any:
    settings, size = config.retrain, config.retrain.batch_size
    net = image_networks.make_network(config, dataset, genotype)
    apply, no_drop = functional.network_apply(net), jnp.zeros(())
    supply = image_data.make_supply(dataset, config)

    def predict(state: Any, images: Any) -> Any:
        images = image_data.normalize_images(dataset, images, layout)
        key = step_key(state.key, state.step)
        logits, _ = apply(state.params, state.stats, images, no_drop, key, train=False)
        return logits.main

    return make_training_job(
        config,
        layout,
        Training(apply, settings.microbatches, criterion(lambda logits: logits.main)),
        score=RMSE,
        init_network=lambda key: functional.initialize(
            net, key, jnp.zeros((2, *dataset.image_shape)), no_drop
        ),
        feed=supply.training([np.arange(supply.images)], size),
        prepare=image_data.make_preparation(dataset, settings, layout),
        held_out=supply.test(size),
        examination=sum_squares(predict),
        metrics=("loss", "count"),
    )


register_task(
    Task(
        name="numbers",
        scores=(RMSE,),
        load=image_data.load_images,
        make_search=make_search,
        make_training=make_training,
        expected_cost=image_networks.expected_image_cost,
    )
)
