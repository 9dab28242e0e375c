"""A search out of a config."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from darts_jax import program, schedules
from darts_jax.bilevel.discretization import DISCRETIZATIONS, Discretization
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.build import seeds
from darts_jax.build.feed import whole_batches
from darts_jax.build.images import make_supply, normalized, preparation
from darts_jax.build.job import Job, arrays
from darts_jax.build.networks import make_supernet
from darts_jax.data.pipeline import split_train
from darts_jax.data.stream import AnyDataset
from darts_jax.devices import Layout, make_layout
from darts_jax.errors import InputError, unknown_name
from darts_jax.models import functional
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Space
from darts_jax.types import RelaxationFunction, step_key


def make_search(
    config: ConfigDict, dataset: AnyDataset, layout: Layout | None = None
) -> Job:
    """The search that a config describes, on the training images of a data set.

    Args:
      layout: in place of the one that the config asks for.

    Raises:
      InputError: an unknown name, an image too small, or a batch too large.
    """
    space, settings = get_space(config.space), config.search
    net = make_supernet(config, dataset)
    search = Search(
        functional.supernet_apply(net),
        _relaxation(settings.relaxation),
        _choose("hypergradient", settings.hypergradient, HYPERGRADIENTS),
        {kind: cell.mask for kind, cell in space.cells.items()},
        settings.microbatches,
    )
    size = settings.batch_size
    supply = make_supply(dataset, config)
    train, valid = split_train(supply.images, settings.train_fraction)
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
        alpha = _initial_alpha(space, seed, start["init_scale"])
        return search.init(seeds.raw_key_of(seed, seeds.STEPS), params, stats, alpha)

    def order(state: Any, epoch: Any) -> Any:
        return feed.order(state.key, epoch)

    def step(state: Any, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        key = step_key(state.key, state.step)
        train, valid = prepare(key, feed.batches(data, order, i))
        return search.step(state, train, valid, scalars)

    def predict(state: Any, images: Array) -> Array:
        key = step_key(state.key, state.step)
        mixture = search.mixture(key, state.alpha)
        clean = normalized(dataset, images, layout)
        logits, _ = search.apply(
            state.params, state.stats, mixture, clean, key, train=False
        )
        return logits

    return Job(
        layout=layout,
        start=search_start(config),
        init=init,
        run=program.epoch_program(order, step),
        feed=feed,
        scalars=lambda epoch: arrays(schedules.search_scalars(settings, epoch)),
        held_out=held_out,
        evaluate=program.evaluation_program(predict, held_out.batches),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        images_per_step=2 * size,
    )


def make_discretization(space: Space) -> Discretization:
    """The rule by which a space's genotype is read off saved parameters."""
    return _choose("discretization", space.discretization, DISCRETIZATIONS)


def search_start(config: ConfigDict) -> dict[str, np.ndarray]:
    """What the first state of a search depends on."""
    scale = config.search.architecture.init_scale
    return {
        "seed": np.asarray(config.seed, np.int32),
        "init_scale": np.asarray(scale, np.float32),
    }


def _initial_alpha(space: Space, seed: Any, scale: Any) -> dict[str, Array]:
    keys = jax.random.split(seeds.key_of(seed, seeds.ALPHA), len(space.cells))
    return {
        kind: scale * jax.random.normal(key, cell.shape)
        for key, (kind, cell) in zip(keys, space.cells.items(), strict=True)
    }


def _relaxation(name: str) -> RelaxationFunction:
    relaxation = _choose("relaxation", name, RELAXATIONS)
    if relaxation.simplex:
        raise InputError(
            f"search.relaxation={name} needs weights that are updated on the simplex; "
            "a search updates logits by Adam, as softmax takes them"
        )
    return relaxation.function


def _choose(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise unknown_name(kind, name, list(table))
    return table[name]
