"""What a loop runs: a training as pure functions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from darts_jax.build.feed import Feed
from darts_jax.devices import Layout
from darts_jax.program import METRICS, empty_totals


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
      model: (state, scalars) -> what ``evaluate`` takes.
      held_out: of the data that ``evaluate`` reads.
      evaluate: ``(model, data, start, stop) -> correct predictions`` with running
        statistics; see `program.evaluation_program`.
      metrics: names of the sums that ``run`` keeps.
      probes: name -> ``(state, data, scalars, epoch, step) -> measurements`` by name,
        on the batches of a step of the epoch.
      images_per_step: for the progress bar.
      members: None, or the size of the population that leads states and totals.
    """

    layout: Layout
    start: Any
    init: Callable[[Any], Any]
    run: Callable[..., Any]
    feed: Feed
    scalars: Callable[[int], Any]
    model: Callable[[Any, Any], Any]
    held_out: Feed
    evaluate: Callable[..., Any]
    epochs: int
    steps_per_epoch: int
    images_per_step: int
    metrics: tuple[str, ...] = METRICS
    probes: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    members: int | None = None

    def empty_totals(self) -> dict[str, np.ndarray]:
        """Sums of an epoch before its first step."""
        return empty_totals(self.members, self.metrics)


def arrays(scalars: Any) -> Any:
    """Numbers of a schedule as float32 arrays, which a program takes anew each call."""
    return jax.tree.map(lambda value: np.asarray(value, np.float32), scalars)
