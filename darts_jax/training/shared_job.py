"""Many genotypes trained from scratch as one program, which is compiled once.

At the one-hot mixture of a genotype a supernet of discrete operations computes what the
genotype's network does: operations of weight 0 do not run, and get no gradient. So the
genotype is an array, and networks of one space differ in it alone.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import is_mixture, stack_one_hot
from darts_jax.bilevel.losses import Criterion
from darts_jax.bilevel.weight_training import Optimizer, Training, make_sgd
from darts_jax.data.dataset import Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.devices import Layout, make_layout
from darts_jax.engine.feed import require_whole_batch
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.models import functional
from darts_jax.models.network import Logits
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.tasks.image_data import (
    make_preparation,
    make_supply,
    normalize_images,
)
from darts_jax.tasks.image_networks import make_network
from darts_jax.tasks.registry import get_score, get_task, require_images
from darts_jax.tasks.training_job import make_training_job
from darts_jax.training.population_job import map_over_members, member_execution
from darts_jax.types import (
    Batch,
    Metrics,
    Mixture,
    Params,
    Scalars,
    Stats,
    SupernetApply,
    TrainState,
    step_key,
)


def make_shared_training(
    config: ConfigDict, dataset: AnyDataset, genotypes: Sequence[Genotype]
) -> Job:
    """Makes one job of the trainings of several genotypes of one space.

    Member i is trained by the recipe of `make_training` and with ``config.seed + i``.
    Its parameters are drawn from the distributions that the genotype's own network
    draws from, in another order; after that both compute the same numbers.

    Args:
      config: settings of a run.
      dataset: images in memory.
      genotypes: one for each member.

    Raises:
      InputError: as `make_training`; or the task, the space or a setting needs
        something that the shared network does not have.
    """
    space = get_space(genotypes[0].space)
    _require_shareable(config, dataset, space, genotypes)
    for genotype in genotypes:
        make_network(config, dataset, genotype)
    members = len(genotypes)
    layout = make_layout(config.devices, members, "the members", members=True)
    job = _make_member_job(config, dataset, _shared_network(config, dataset, space))
    mixtures = stack_one_hot(space, genotypes)
    execution = member_execution(config)
    return dataclasses.replace(
        map_over_members(job, layout, members, execution, own_scalars=["mixture"]),
        start=config.seed + np.arange(members, dtype=np.int32),
        scalars=lambda epoch: job.scalars(epoch) | {"mixture": mixtures},
        model=lambda state, scalars: (state, scalars["mixture"]),
    )


@dataclasses.dataclass(frozen=True)
class SharedTraining:
    """The step of the network that the scalar ``mixture`` chooses.

    Attributes:
      apply: forward pass of a supernet of discrete operations.
      microbatches: number of parts in which a batch is computed.
      criterion: loss and metrics of a network with an auxiliary head, which this has
        not.
      optimizer: makes the weights' optimizer of the scalars.
    """

    apply: SupernetApply
    microbatches: int
    criterion: Criterion
    optimizer: Optimizer

    def at_mixture(self, mixture: Mixture) -> Training:
        """Returns the training of the network that a one-hot mixture chooses."""

        def apply(
            params: Params,
            stats: Stats,
            inputs: Array,
            drop_rate: Array,
            key: Array,
            *,
            train: bool,
        ) -> tuple[Logits, Stats]:
            del drop_rate  # is 0
            logits, stats = self.apply(params, stats, mixture, inputs, key, train=train)
            return Logits(logits, None), stats

        return Training(apply, self.microbatches, self.criterion, self.optimizer)

    def init(self, key: Array, params: Params, stats: Stats) -> TrainState:
        """Returns the state before the first step; ``key`` is raw key data."""
        return self.at_mixture(Mixture({})).init(key, params, stats)

    def step(
        self, state: TrainState, batch: Batch, scalars: Scalars
    ) -> tuple[TrainState, Metrics]:
        """Takes a step; see `Training.step`."""
        return self.at_mixture(scalars["mixture"]).step(state, batch, scalars)


def _make_member_job(config: ConfigDict, dataset: AnyDataset, net: Supernet) -> Job:
    """Makes the job of one member, whose scalars lack the mixture."""
    settings = config.retrain
    objective = require_images(config, "a shared program")
    apply = functional.supernet_apply(net, config.precision)
    criterion = objective.network_criterion(config, dataset)
    optimizer = functools.partial(make_sgd, nesterov=settings.weights.nesterov)
    supply = make_supply(dataset, config, settings)
    size = settings.batch_size
    require_whole_batch(size, supply.images, "the training set")

    def init_network(key: PRNGKeyArray) -> functional.Initialized:
        return functional.initialize_supernet(net, key, dataset.image_shape)

    def predict(model: tuple[TrainState, Mixture], images: Array) -> Array:
        state, mixture = model
        key = step_key(state.key, state.step)
        clean = normalize_images(dataset, images, Layout())
        logits, _ = apply(state.params, state.stats, mixture, clean, key, train=False)
        return logits

    return make_training_job(
        config,
        Layout(),
        SharedTraining(apply, settings.microbatches, criterion, optimizer),
        score=get_score(config),
        init_network=init_network,
        feed=supply.training([np.arange(supply.images)], size),
        prepare=make_preparation(dataset, settings, Layout()),
        held_out=supply.test(size),
        examination=objective.examination(config, dataset, predict),
        chance=objective.chance(dataset),
        metrics=objective.metrics,
    )


def _require_shareable(
    config: ConfigDict,
    dataset: AnyDataset,
    space: Space,
    genotypes: Sequence[Genotype],
) -> None:
    settings = config.retrain
    problems = {
        f"task {config.task!r}": get_task(config).objective is None,
        f"networks of {space.family}": space.family != "cells",
        "a stream": not isinstance(dataset, Dataset),
        f"retrain.network={settings.network}": settings.network != "cifar",
        "retrain.drop_path": settings.drop_path > 0,
        "retrain.auxiliary_weight": settings.auxiliary_weight > 0,
        "retrain.ema_decay": settings.ema_decay > 0,
        "retrain.mixup": settings.mixup > 0,
        "a genotype that has other states than its space": not all(
            is_mixture(space, genotype) for genotype in genotypes
        ),
    }
    found = [name for name, holds in problems.items() if holds]
    if found:
        raise InputError(
            f"random networks do not share one program with {found[0]}; want "
            "baseline.execution=separate"
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


def count_network_parameters(
    config: ConfigDict, dataset: AnyDataset, genotype: Genotype
) -> int:
    """Returns the number of trainable scalars of a genotype's own network.

    Args:
      config: settings of a run.
      dataset: images, of which shape and classes are read.
      genotype: the network's cells.
    """
    net = make_network(config, dataset, genotype)
    made = jax.eval_shape(
        lambda key: functional.initialize_network(net, key, dataset.image_shape),
        jax.random.key(0),
    )
    return functional.count_parameters(made.params)
