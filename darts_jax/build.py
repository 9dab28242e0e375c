"""The door: names and numbers of a config become functions, and here config ends."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from ml_collections import ConfigDict

from darts_jax import program, schedules
from darts_jax.bilevel.discretization import DISCRETIZATIONS, Discretization
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.data.dataset import Dataset
from darts_jax.data.pipeline import (
    Augmentation,
    augment,
    batch_indices,
    shuffle,
    split_train,
)
from darts_jax.data.stream import AnyDataset
from darts_jax.devices import Layout, make_layout
from darts_jax.errors import InputError, unknown_name
from darts_jax.models import functional
from darts_jax.models.execution import Execution
from darts_jax.models.network import Network
from darts_jax.models.supernet import Remat, Supernet
from darts_jax.operations.image import require_operation
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.training import Training
from darts_jax.types import Examples, step_key

# Streams of random numbers that a seed is split into.
_INIT, _ALPHA, _STEPS, _SHUFFLE_TRAIN, _SHUFFLE_VALID = range(5)
_AUGMENT_TRAIN, _AUGMENT_VALID = 101, 102

# Is it a CPU? -> how a supernet's edges are executed, and what is recomputed.
_FORM: dict[bool, tuple[Execution, Remat]] = {
    True: ("scan", "edge"),
    False: ("batch", "edge"),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """A training to run epoch by epoch, as a search or a retraining.

    Functions are pure and not jitted: `devices.Layout` does that.

    Attributes:
      layout: of the arrays over devices.
      start: what the first state depends on, arrays.
      init: start -> the first state.
      run: ``(state, totals, data, scalars, epoch, start, stop) -> (state, totals)``;
        see `program.epoch_program`.
      data: what ``run`` reads, on the host.
      scalars: epoch -> the scalars of its steps.
      held_out: the images that ``evaluate`` is meant for, on the host.
      evaluate: (state, examples) -> correct predictions, with running statistics.
      images_per_step: for the progress bar.
      members: None, or the size of the population that leads states and totals.
    """

    layout: Layout
    start: Any
    init: Callable[[Any], Any]
    run: Callable[..., Any]
    data: Any
    scalars: Callable[[int], Any]
    held_out: Examples
    evaluate: Callable[[Any, Examples], Any]
    epochs: int
    steps_per_epoch: int
    images_per_step: int
    members: int | None = None


def make_search(
    config: ConfigDict, dataset: AnyDataset, layout: Layout | None = None
) -> Job:
    """The search that a config describes, on the training images of a data set.

    Args:
      layout: in place of the one that the config asks for.

    Raises:
      InputError: an unknown name, an image too small, a batch too large, or a stream.
    """
    dataset = in_memory(dataset)
    space, settings = get_space(config.space), config.search
    net = make_supernet(config, dataset)
    search = Search(
        functional.supernet_apply(net),
        _choose("relaxation", settings.relaxation, RELAXATIONS),
        _choose("hypergradient", settings.hypergradient, HYPERGRADIENTS),
        {kind: cell.mask for kind, cell in space.cells.items()},
        settings.microbatches,
    )
    train, valid = _halves(dataset, settings.train_fraction)
    size = settings.batch_size
    layout = layout or make_layout(config.devices, size, "search.batch_size")
    steps = _whole_batches(size, train, "the training half")
    valid_steps = _whole_batches(size, valid, "the validation half")
    prepare = _preparation(dataset, config.data, layout)

    def init(start: Any) -> Any:
        seed = start["seed"]
        params, stats = functional.initialize_supernet(
            net, _stream(seed, _INIT), dataset.image_shape
        )
        alpha = _initial_alpha(space, seed, start["init_scale"])
        return search.init(_raw_stream(seed, _STEPS), params, stats, alpha)

    def order(state: Any, epoch: Any) -> Any:
        return tuple(
            shuffle(_folded(state, stream), epoch, half.labels.shape[0])
            for stream, half in ((_SHUFFLE_TRAIN, train), (_SHUFFLE_VALID, valid))
        )

    def step(state: Any, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        key = step_key(state.key, state.step)

        def batch(half: int, stream: int, j: Any) -> Examples:
            rows = batch_indices(order[half], j, size)
            return prepare(jax.random.fold_in(key, stream), data[half], rows)

        train_batch = batch(0, _AUGMENT_TRAIN, i)
        valid_batch = batch(1, _AUGMENT_VALID, i % valid_steps)
        return search.step(state, train_batch, valid_batch, scalars)

    def predict(state: Any, images: Array) -> Array:
        key = step_key(state.key, state.step)
        mixture = search.relaxation(key, state.alpha, search.mask)
        clean = _normalized(dataset, images, layout)
        logits, _ = search.apply(
            state.params, state.stats, mixture, clean, key, train=False
        )
        return logits

    return Job(
        layout=layout,
        start=_search_start(config),
        init=init,
        run=program.epoch_program(order, step),
        data=(train, valid),
        scalars=lambda epoch: _arrays(schedules.search_scalars(settings, epoch)),
        held_out=valid,
        evaluate=program.evaluation_program(predict, size),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        images_per_step=2 * size,
    )


def make_population(members: Sequence[ConfigDict], dataset: AnyDataset) -> Job:
    """Searches that differ in scalars only, as one program over an axis of members.

    Raises:
      InputError: as `make_search`; or the devices cannot share the members evenly.
    """
    first = members[0]
    layout = make_layout(first.devices, len(members), "the members", members=True)
    job = make_search(first, dataset, Layout())
    execution = first.population.execution
    if execution == "auto":
        execution = "map" if jax.default_backend() == "cpu" else "vmap"

    def scalars(epoch: int) -> Any:
        each = [schedules.search_scalars(m.search, epoch) for m in members]
        return _arrays(jax.tree.map(lambda *values: np.array(values), *each))

    return dataclasses.replace(
        job,
        layout=layout,
        start=jax.tree.map(lambda *x: np.stack(x), *map(_search_start, members)),
        init=lambda start: lax.map(job.init, start),
        run=layout.over_members(job.run, execution),
        scalars=scalars,
        evaluate=lambda state, examples: lax.map(
            lambda member: job.evaluate(member, examples), state
        ),
        images_per_step=len(members) * job.images_per_step,
        members=len(members),
    )


def make_training(config: ConfigDict, dataset: AnyDataset, genotype: Genotype) -> Job:
    """Training of a genotype from scratch on all training images; tested on the rest.

    Raises:
      InputError: an unknown operation, an image too small, a batch too large, or a
        stream.
    """
    dataset = in_memory(dataset)
    settings = config.retrain
    net = _network(config, dataset, genotype)
    training = Training(functional.network_apply(net), settings.microbatches)
    train = _examples(dataset.train_images, dataset.train_labels)
    test = _examples(dataset.test_images, dataset.test_labels)
    size = settings.batch_size
    split = settings.split_state
    layout = make_layout(config.devices, size, "retrain.batch_size", split_state=split)
    steps = _whole_batches(size, train, "the training set")
    prepare = _preparation(dataset, settings, layout)

    def init(seed: Any) -> Any:
        example = jnp.zeros((2, *dataset.image_shape)), jnp.zeros(())
        params, stats = functional.initialize(net, _stream(seed, _INIT), *example)
        return training.init(_raw_stream(seed, _STEPS), params, stats)

    def order(state: Any, epoch: Any) -> Any:
        return shuffle(_folded(state, _SHUFFLE_TRAIN), epoch, train.labels.shape[0])

    def step(state: Any, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        key = jax.random.fold_in(step_key(state.key, state.step), _AUGMENT_TRAIN)
        batch = prepare(key, data, batch_indices(order, i, size))
        return training.step(state, batch, scalars)

    def predict(state: Any, images: Array) -> Array:
        key = step_key(state.key, state.step)
        logits, _ = training.apply(
            state.params,
            state.stats,
            _normalized(dataset, images, layout),
            jnp.zeros(()),
            key,
            train=False,
        )
        return logits.main

    return Job(
        layout=layout,
        start=np.asarray(config.seed, np.int32),
        init=init,
        run=program.epoch_program(order, step),
        data=train,
        scalars=lambda epoch: _arrays(schedules.training_scalars(settings, epoch)),
        held_out=test,
        evaluate=program.evaluation_program(predict, size),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        images_per_step=size,
    )


def make_discretization(space: Space) -> Discretization:
    """The rule by which a space's genotype is read off saved parameters."""
    return _choose("discretization", space.discretization, DISCRETIZATIONS)


def in_memory(dataset: AnyDataset) -> Dataset:
    """The data set itself; raises InputError for a stream."""
    if isinstance(dataset, Dataset):
        return dataset
    raise InputError(
        f"{dataset.name!r} is a stream, which programs do not read yet; load it into "
        "memory by its name without stream:"
    )


def _choose(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise unknown_name(kind, name, list(table))
    return table[name]


def make_supernet(config: ConfigDict, dataset: Dataset) -> Supernet:
    """The network that `make_search` searches; raises InputError as it does."""
    space, settings = get_space(config.space), config.supernet
    kinds = space.macro.layout(settings.cells)
    _require_size(dataset, sum(kind in space.macro.reductions for kind in kinds))
    execution, remat = _FORM[jax.default_backend() == "cpu"]
    return Supernet(
        space,
        dataset.classes,
        settings.cells,
        settings.channels,
        settings.partial_channels,
        execution if settings.execution == "auto" else settings.execution,
        remat if settings.remat == "auto" else settings.remat,
        jnp.dtype(settings.dtype),
    )


def _network(config: ConfigDict, dataset: Dataset, genotype: Genotype) -> Network:
    settings, macro = config.retrain, get_space(genotype.space).macro
    kinds = macro.layout(settings.cells)
    for cell in genotype.cells.values():
        for choice in cell.choices:
            require_operation(choice.operation)
    missing = {k for k in kinds if k not in (*genotype.cells, "residual")}
    if missing:
        raise InputError(
            f"the genotype has cells {sorted(genotype.cells)}; "
            f"space {genotype.space!r} needs {sorted(missing)} too"
        )
    imagenet = settings.network == "imagenet"
    reductions = sum(kind in macro.reductions for kind in kinds)
    _require_size(dataset, reductions + 3 * imagenet)
    return Network(
        genotype,
        macro,
        dataset.classes,
        settings.cells,
        settings.channels,
        imagenet,
        auxiliary=settings.auxiliary_weight > 0,
        dtype=jnp.dtype(settings.dtype),
    )


def _require_size(dataset: Dataset, halvings: int) -> None:
    height, width, _ = dataset.image_shape
    if min(height, width) < 2**halvings:
        raise InputError(
            f"images of {dataset.name!r} are {height}x{width}; {halvings} reductions "
            f"need at least {2**halvings}x{2**halvings}: fewer cells or larger images"
        )


def _halves(dataset: Dataset, fraction: float) -> tuple[Examples, Examples]:
    rows = split_train(len(dataset.train_labels), fraction)
    train, valid = (
        _examples(dataset.train_images[r], dataset.train_labels[r]) for r in rows
    )
    return train, valid


def _examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    return Examples(images, labels.astype(np.int32))


def _whole_batches(size: int, examples: Examples, what: str) -> int:
    count = examples.labels.shape[0]
    if size > count:
        raise InputError(f"batch_size {size} is larger than {what}, {count} images")
    return count // size


def _preparation(
    dataset: Dataset, settings: ConfigDict, layout: Layout
) -> Callable[..., Examples]:
    """(key, stored examples, rows) -> a batch as the network sees it."""
    augmentation = Augmentation(settings.pad, settings.flip, settings.cutout)
    mean, std = jnp.asarray(dataset.mean), jnp.asarray(dataset.std)

    def prepare(key: Array, stored: Examples, rows: Array) -> Examples:
        batch = layout.spread(Examples(stored.images[rows], stored.labels[rows]))
        images = augment(key, batch.images, augmentation, mean, std)
        return Examples(images, batch.labels)

    return prepare


def _normalized(dataset: Dataset, images: Array, layout: Layout) -> Array:
    images = layout.spread(images)
    mean, std = jnp.asarray(dataset.mean), jnp.asarray(dataset.std)
    return augment(jax.random.key(0), images, Augmentation(), mean, std)


def _search_start(config: ConfigDict) -> dict[str, np.ndarray]:
    scale = config.search.architecture.init_scale
    return {
        "seed": np.asarray(config.seed, np.int32),
        "init_scale": np.asarray(scale, np.float32),
    }


def _initial_alpha(space: Space, seed: Any, scale: Any) -> dict[str, Array]:
    keys = jax.random.split(_stream(seed, _ALPHA), len(space.cells))
    return {
        kind: scale * jax.random.normal(key, cell.shape)
        for key, (kind, cell) in zip(keys, space.cells.items(), strict=True)
    }


def _stream(seed: Any, stream: int) -> Array:
    return jax.random.fold_in(jax.random.key(seed), stream)


def _raw_stream(seed: Any, stream: int) -> Array:
    return jax.random.key_data(_stream(seed, stream))


def _folded(state: Any, stream: int) -> Array:
    return jax.random.fold_in(jax.random.wrap_key_data(state.key), stream)


def _arrays(scalars: Any) -> Any:
    return jax.tree.map(lambda value: np.asarray(value, np.float32), scalars)
