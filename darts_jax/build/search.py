"""A search out of a config."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, UInt
from ml_collections import ConfigDict

from darts_jax import program, schedules
from darts_jax.bilevel.curvature import cosine, top_eigenvalue
from darts_jax.bilevel.hypergradient import exact, first_order
from darts_jax.bilevel.step import Search
from darts_jax.build import seeds
from darts_jax.build.budget import make_budget
from darts_jax.build.dataset import searched_parts
from darts_jax.build.feed import whole_batches
from darts_jax.build.images import make_supply, normalized, preparation
from darts_jax.build.job import Job, arrays
from darts_jax.build.methods import full_mask, initial_alpha, make_method
from darts_jax.build.networks import make_supernet
from darts_jax.data.stream import AnyDataset
from darts_jax.devices import Layout, make_layout
from darts_jax.models import functional
from darts_jax.spaces import get_space
from darts_jax.types import (
    Examples,
    Mask,
    Mixture,
    Params,
    Scalars,
    SearchState,
    Stats,
    step_key,
)


class Supermodel(struct.PyTreeNode):
    """A supernet as it is tested: with one mixture, whatever made it."""

    params: Params
    stats: Stats
    mixture: Mixture
    key: UInt[Array, " key"]


def make_search(
    config: ConfigDict,
    dataset: AnyDataset,
    layout: Layout | None = None,
) -> Job:
    """The search that a config describes, on the training images of a data set.

    Args:
      layout: in place of the one that the config asks for.

    Raises:
      InputError: an unknown name, an image too small, or a batch too large.
    """
    space, settings = get_space(config.space), config.search
    dataset, train, valid = searched_parts(config, dataset)
    net = make_supernet(config, dataset)
    search = make_method(config, net, dataset.image_shape[:2])
    search = dataclasses.replace(search, budget=make_budget(config, dataset))
    size = settings.batch_size
    supply = make_supply(dataset, config)
    steps = whole_batches(size, len(train), "the training half")
    whole_batches(size, len(valid), "the validation half")
    feed, held_out = supply.training([train, valid], size), supply.held_out(valid, size)
    layout = layout or make_layout(config.devices, size, "search.batch_size")
    prepare = preparation(dataset, config.data, layout)

    def init(start: Any) -> Any:
        seed = start["seed"]
        params, stats = functional.initialize_supernet(
            net, seeds.key_of(seed, seeds.INIT), dataset.image_shape
        )
        alpha = initial_alpha(space, settings, seed, start["init_scale"])
        key = seeds.raw_key_of(seed, seeds.STEPS)
        return search.init(key, params, stats, alpha, start["mask"])

    def batches(state: Any, data: Any, order: Any, i: Any) -> Any:
        key = step_key(state.key, state.step)
        return prepare(key, feed.batches(data, order, i))

    def step(state: Any, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        train, valid = batches(state, data, order, i)
        return search.step(state, train, valid, scalars)

    def model(state: Any, scalars: Any) -> Supermodel:
        key = step_key(state.key, state.step)
        mixture = search.mixture(key, state.alpha, state.mask, scalars)
        return Supermodel(state.params, state.stats, mixture, state.key)

    def predict(model: Supermodel, images: Array) -> Array:
        clean = normalized(dataset, images, layout)
        key = jax.random.wrap_key_data(model.key)
        logits, _ = search.apply(
            model.params, model.stats, model.mixture, clean, key, train=False
        )
        return logits

    def probe(measure: Callable[..., Any]) -> Callable[..., Any]:
        def run(state: Any, data: Any, scalars: Any, epoch: Any, i: Any) -> Any:
            examples = batches(state, data, feed.order(state.key, epoch), i)
            return measure(state, *examples, scalars)

        return run

    products = settings.diagnostics.products
    return Job(
        layout=layout,
        start=search_start(config),
        init=init,
        run=program.epoch_program(feed.order, step),
        feed=feed,
        scalars=lambda epoch: arrays(schedules.search_scalars(settings, epoch)),
        model=model,
        held_out=held_out,
        evaluate=program.evaluation_program(predict, held_out.batches),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        images_per_step=2 * size,
        metrics=(
            *program.METRICS,
            "gradient_norm",
            *(("multiplier",) if search.budget else ()),
        ),
        probes={
            "eigenvalue": probe(_eigenvalue(search, products)),
            "cosine": probe(_cosine(search)),
        },
    )


def search_start(config: ConfigDict, mask: Mask | None = None) -> dict[str, Any]:
    """What the first state of a search depends on.

    Args:
      mask: which operations take part, if not all that there are.
    """
    scale = config.search.architecture.init_scale
    return {
        "seed": np.asarray(config.seed, np.int32),
        "init_scale": np.asarray(scale, np.float32),
        "mask": mask or full_mask(get_space(config.space)),
    }


def _eigenvalue(search: Search, products: int) -> Callable[..., Any]:
    """Of the validation loss's Hessian by alpha, the largest (R-DARTS)."""

    def measure(
        state: SearchState, train: Examples, valid: Examples, scalars: Scalars
    ) -> Any:
        del train
        key = step_key(state.key, state.step)
        loss = search.loss_on(state, valid, key, scalars)
        found = top_eigenvalue(
            lambda alpha: loss(state.params, alpha), state.alpha, key, products
        )
        return {"eigenvalue": found.largest}

    return measure


def _cosine(search: Search) -> Callable[..., Any]:
    """Between the first-order and the exact hypergradient."""

    def measure(
        state: SearchState, train: Examples, valid: Examples, scalars: Scalars
    ) -> Any:
        keys = jax.random.split(step_key(state.key, state.step))
        problem = (
            search.loss_on(state, train, keys[0], scalars),
            search.loss_on(state, valid, keys[1], scalars),
            *(state.params, state.alpha, search.inner_step(state, scalars)),
        )
        return {"hypergradient_cosine": cosine(first_order(*problem), exact(*problem))}

    return measure
