"""The training of a genotype from scratch, out of a config, whatever its task."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.engine import program, seeds
from darts_jax.engine.devices import make_layout
from darts_jax.engine.job import Job, job_of, scalar_arrays
from darts_jax.settings.scalars import training_scalars
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.registry import get_score, get_task
from darts_jax.types import step_key


def make_training(config: ConfigDict, dataset: Any, genotype: Genotype) -> Job:
    """Training of a genotype from scratch on all training data; tested on the rest.

    Args:
      dataset: as the config's task loads it.

    Raises:
      InputError: an unknown operation, data that do not suit the network, or a batch
        too large.
    """
    task, settings = get_task(config), config.retrain
    size, split = settings.batch_size, settings.split_state
    layout = make_layout(config.devices, size, "retrain.batch_size", split_state=split)
    problem = task.training(config, dataset, genotype, layout)
    training, feed = problem.method, problem.feed

    def init(seed: Any) -> Any:
        params, stats = problem.init(seeds.stream_key(seed, seeds.INIT))
        return training.init(seeds.raw_stream_key(seed, seeds.STEPS), params, stats)

    def step(state: Any, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        key = step_key(state.key, state.step)
        (batch,) = problem.prepare(key, feed.batches(data, order, i))
        return training.step(state, batch, problem.paced(scalars, batch))

    return job_of(
        task,
        get_score(config),
        problem,
        layout=layout,
        start=np.asarray(config.seed, np.int32),
        init=init,
        run=program.epoch_program(feed.order, step),
        scalars=lambda epoch: scalar_arrays(training_scalars(settings, epoch)),
        model=lambda state, scalars: state,
        epochs=settings.epochs,
        metrics=problem.metrics,
    )
