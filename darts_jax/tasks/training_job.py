"""Training jobs out of settings."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.engine import program, seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Feed
from darts_jax.engine.job import Job, Score, scalar_arrays
from darts_jax.engine.program import METRICS, Examination
from darts_jax.models.functional import Initialized
from darts_jax.settings.scalars import training_scalars
from darts_jax.types import (
    Batch,
    Metrics,
    Params,
    Scalars,
    Stats,
    TrainState,
    step_key,
)


class WeightTraining(Protocol):
    """A step of the weights of a fixed network, as `Training` is one."""

    def init(self, key: Array, params: Params, stats: Stats) -> TrainState:
        """Returns the state before the first step; ``key`` is raw key data."""

    def step(
        self, state: TrainState, batch: Batch, scalars: Scalars
    ) -> tuple[TrainState, Metrics]:
        """Returns the state after a step on a batch, and sums over the batch."""


def make_training_job(
    config: ConfigDict,
    layout: Layout,
    method: WeightTraining,
    *,
    score: Score,
    init_network: Callable[[PRNGKeyArray], Initialized],
    feed: Feed,
    prepare: Callable[[Array, Batches], Batches],
    held_out: Feed,
    examination: Examination,
    test: Feed | None = None,
    chance: float | None = None,
    metrics: tuple[str, ...] = METRICS,
    pace: Callable[[Scalars, Batch], Scalars] = lambda scalars, batch: scalars,
    adapt: Callable[[Scalars, Sequence[float]], Scalars] | None = None,
) -> Job:
    """Makes the job of a training from scratch from what its task knows.

    Args:
      config: settings of the run.
      layout: places of the arrays on devices.
      method: the step of the training.
      score: measure of the network.
      init_network: key -> the network's first parameters and statistics; the key is
        consumed.
      feed: of the training data.
      prepare: (key of the step, stored batches) -> batches as ``method`` takes them,
        inside the program.
      held_out: batches that the network is tested on after every epoch.
      examination: test of a `TrainState`.
      test: batches of the last test, where these are not ``held_out``.
      chance: loss of a guess, where it is known.
      metrics: names of the criterion's sums.
      pace: (scalars, training batch) -> the scalars that this batch wants.
      adapt: (scalars, scores of the epochs before) -> an epoch's scalars, on the host.

    Returns:
      The job.
    """
    settings = config.retrain

    def init(seed: Any) -> TrainState:
        params, stats = init_network(seeds.stream_key(seed, seeds.INIT))
        return method.init(seeds.raw_stream_key(seed, seeds.STEPS), params, stats)

    def step(
        state: TrainState, data: Any, order: Any, i: Any, scalars: Scalars
    ) -> tuple[TrainState, Metrics]:
        key = step_key(state.key, state.step)
        (batch,) = prepare(key, feed.batches(data, order, i))
        return method.step(state, batch, pace(scalars, batch))

    def scalars(epoch: int) -> Scalars:
        arrays: Scalars = scalar_arrays(training_scalars(settings, epoch))
        return arrays

    return Job(
        layout=layout,
        method=method,
        start=np.asarray(config.seed, np.int32),
        init=init,
        feed=feed,
        run=program.epoch_program(feed.order, step),
        scalars=scalars,
        epochs=settings.epochs,
        model=lambda state, scalars: state,
        examination=examination,
        held_out=held_out,
        test=test,
        score=score,
        metrics=metrics,
        adapt=adapt,
        chance=chance,
    )
