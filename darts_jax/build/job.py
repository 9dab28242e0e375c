"""What a loop runs: a training as pure functions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from darts_jax.build.feed import Feed
from darts_jax.devices import Layout


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
      feed: of the data that ``run`` reads.
      scalars: epoch -> the scalars of its steps.
      held_out: of the data that ``evaluate`` reads.
      evaluate: ``(state, data, start, stop) -> correct predictions`` with running
        statistics; see `program.evaluation_program`.
      images_per_step: for the progress bar.
      members: None, or the size of the population that leads states and totals.
    """

    layout: Layout
    start: Any
    init: Callable[[Any], Any]
    run: Callable[..., Any]
    feed: Feed
    scalars: Callable[[int], Any]
    held_out: Feed
    evaluate: Callable[..., Any]
    epochs: int
    steps_per_epoch: int
    images_per_step: int
    members: int | None = None


def arrays(scalars: Any) -> Any:
    """Numbers of a schedule as float32 arrays, which a program takes anew each call."""
    return jax.tree.map(lambda value: np.asarray(value, np.float32), scalars)
