"""Many genotypes trained from scratch as one program, which is compiled once.

At the one-hot mixture of a genotype a supernet of discrete operations computes what the
genotype's network does: operations of weight 0 do not run, and get no gradient. So the
genotype is an array, and networks of one space differ in it alone.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import one_hot
from darts_jax.bilevel.losses import Criterion
from darts_jax.bilevel.weight_training import (
    Training,
    auxiliary_criterion,
    make_sgd,
)
from darts_jax.data.dataset import Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine import program, seeds
from darts_jax.engine.devices import Layout, make_layout
from darts_jax.engine.feed import whole_batches
from darts_jax.engine.job import Job, job_of, scalar_arrays
from darts_jax.engine.task import Problem
from darts_jax.errors import InputError
from darts_jax.models import functional
from darts_jax.models.network import Logits
from darts_jax.models.supernet import Supernet
from darts_jax.settings.scalars import training_scalars
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.tasks.classification.class_weights import class_weights
from darts_jax.tasks.classification.task import count_by_class
from darts_jax.tasks.image_feeds import make_preparation, make_supply, normalize_images
from darts_jax.tasks.image_networks import make_network
from darts_jax.tasks.registry import get_score, get_task
from darts_jax.training.population_job import member_execution
from darts_jax.types import (
    Mixture,
    Params,
    Stats,
    SupernetApply,
    TrainState,
    step_key,
)


def make_shared_training(
    config: ConfigDict, dataset: AnyDataset, genotypes: Sequence[Genotype]
) -> Job:
    """Returns the training of several genotypes of one space, as members of one job.

    Member i is trained by the recipe of `make_training` and with ``config.seed + i``.
    Its parameters are drawn from the distributions that the genotype's own network
    draws from, in another order; after that both compute the same numbers.

    Args:
      genotypes: one for each member.

    Raises:
      InputError: as `make_training`; or the task, the space or a setting needs
        something that the shared network does not have.
    """
    space = get_space(genotypes[0].space)
    _require_shareable(config, dataset, space, genotypes)
    for genotype in genotypes:
        make_network(config, dataset, genotype)
    task, settings = get_task(config), config.retrain
    layout = make_layout(config.devices, len(genotypes), "the members", members=True)
    net = _shared_network(config, dataset, space)
    criterion = auxiliary_criterion(class_weights(config, dataset))
    apply = functional.supernet_apply(net)
    problem = _problem(config, dataset, net, apply, criterion)
    feed = problem.feed

    def init(seed: Array) -> TrainState:
        params, stats = problem.init(seeds.stream_key(seed, seeds.INIT))
        raw_key = seeds.raw_stream_key(seed, seeds.STEPS)
        training = _training_at(Mixture({}), apply, settings, criterion)
        return training.init(raw_key, params, stats)

    def step(state: TrainState, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        key = step_key(state.key, state.step)
        (batch,) = problem.prepare(key, feed.batches(data, order, i))
        training = _training_at(scalars["mixture"], apply, settings, criterion)
        return training.step(state, batch, scalars)

    run = program.epoch_program(feed.order, step)

    def run_member(member: Any, common: Any) -> Any:
        (state, totals, mixture), (data, scalars, bounds) = member, common
        return run(state, totals, data, {**scalars, "mixture": mixture}, *bounds)

    over = layout.over_members(run_member, member_execution(config))
    mixtures = _stacked_mixtures(space, genotypes)

    def run_all(state: Any, totals: Any, data: Any, scalars: Any, *bounds: Any) -> Any:
        own = {name: value for name, value in scalars.items() if name != "mixture"}
        return over((state, totals, scalars["mixture"]), (data, own, bounds))

    job = job_of(
        task,
        get_score(config),
        problem,
        layout=layout,
        start=config.seed + np.arange(len(genotypes), dtype=np.int32),
        init=lambda start: lax.map(init, start),
        run=run_all,
        scalars=lambda epoch: {
            **scalar_arrays(training_scalars(settings, epoch)),
            "mixture": mixtures,
        },
        model=lambda state, scalars: (state, scalars["mixture"]),
        epochs=settings.epochs,
        metrics=problem.metrics,
    )
    return dataclasses.replace(
        job,
        evaluate=lambda model, *data: lax.map(
            lambda member: job.evaluate(member, *data), model
        ),
        per_step=len(genotypes) * job.per_step,
        members=len(genotypes),
    )


def _require_shareable(
    config: ConfigDict,
    dataset: AnyDataset,
    space: Space,
    genotypes: Sequence[Genotype],
) -> None:
    settings = config.retrain
    problems = {
        f"task {config.task!r}": config.task != "classification",
        f"networks of {space.family}": space.family != "cells",
        "a stream": not isinstance(dataset, Dataset),
        f"retrain.network={settings.network}": settings.network != "cifar",
        "retrain.drop_path": settings.drop_path > 0,
        "retrain.auxiliary_weight": settings.auxiliary_weight > 0,
        "a genotype that has other states than its space": not all(
            _is_mixture(space, genotype) for genotype in genotypes
        ),
    }
    found = [name for name, holds in problems.items() if holds]
    if found:
        raise InputError(
            f"random networks do not share one program with {found[0]}; want "
            "baseline.execution=separate"
        )


def _is_mixture(space: Space, genotype: Genotype) -> bool:
    """Returns whether a mixture of the space's cells is the genotype's very network."""
    return not genotype.widths and all(
        cell.output == space.cells[kind].output
        and all(
            choice.operation in edge.operations
            for choice in cell.choices
            for edge in space.cells[kind].edges
            if (edge.source, edge.target) == (choice.source, choice.target)
        )
        for kind, cell in genotype.cells.items()
    )


def _shared_network(config: ConfigDict, dataset: Any, space: Space) -> Supernet:
    settings = config.retrain
    return Supernet(
        space,
        dataset.classes,
        settings.cells,
        settings.channels,
        execution="scan",
        remat="none",
        dtype=jnp.dtype(settings.dtype),
        sampled=True,
        discrete=True,
    )


def _problem(
    config: ConfigDict,
    dataset: AnyDataset,
    net: Supernet,
    apply: SupernetApply,
    criterion: Criterion,
) -> Problem:
    settings = config.retrain
    size, supply = settings.batch_size, make_supply(dataset, config)
    whole_batches(size, supply.images, "the training set")

    def init(key: PRNGKeyArray) -> functional.Initialized:
        return functional.initialize_supernet(net, key, dataset.image_shape)

    def predict(model: tuple[TrainState, Mixture], images: Array) -> Array:
        state, mixture = model
        key = step_key(state.key, state.step)
        clean = normalize_images(dataset, images, Layout())
        logits, _ = apply(state.params, state.stats, mixture, clean, key, train=False)
        return logits

    return Problem(
        _training_at(Mixture({}), apply, settings, criterion),
        init,
        feed=supply.training([np.arange(supply.images)], size),
        prepare=make_preparation(dataset, settings, Layout()),
        held_out=supply.test(size),
        examination=count_by_class(predict, dataset.classes),
        per_step=size,
        chance=math.log(dataset.classes),
    )


def _training_at(
    mixture: Mixture, apply: SupernetApply, settings: ConfigDict, criterion: Criterion
) -> Training:
    """Returns the training of the network that a mixture chooses."""

    def at_mixture(
        params: Params,
        stats: Stats,
        inputs: Array,
        drop_rate: Array,
        key: Array,
        *,
        train: bool,
    ) -> tuple[Logits, Stats]:
        del drop_rate  # is 0
        logits, stats = apply(params, stats, mixture, inputs, key, train=train)
        return Logits(logits, None), stats

    optimizer = functools.partial(make_sgd, nesterov=settings.weights.nesterov)
    return Training(at_mixture, settings.microbatches, criterion, optimizer)


def _stacked_mixtures(space: Space, genotypes: Sequence[Genotype]) -> Mixture:
    """Returns one-hot mixtures, float32 [member, edge, op] by kind."""
    each = [one_hot(space, genotype) for genotype in genotypes]
    return jax.tree.map(lambda *w: np.stack(w).astype(np.float32), *each)


def count_network_parameters(
    config: ConfigDict, dataset: AnyDataset, genotype: Genotype
) -> int:
    """Returns how many trainable scalars a genotype's own network has."""
    net = make_network(config, dataset, genotype)
    example = jnp.zeros((2, *dataset.image_shape)), jnp.zeros(())
    made = jax.eval_shape(
        lambda key: functional.initialize(net, key, *example), jax.random.key(0)
    )
    return functional.count_parameters(made.params)
