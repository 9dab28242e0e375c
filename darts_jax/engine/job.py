"""What a loop runs: a training as pure functions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Feed
from darts_jax.engine.program import METRICS, empty_totals, evaluation_program
from darts_jax.engine.task import Problem, Score, Task


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
      evaluate: ``(model, data, start, stop) -> sums`` that ``score`` reads; see
        `program.evaluation_program`.
      score: by which models are measured.
      metrics: names of the sums that ``run`` keeps.
      probes: name -> ``(state, data, scalars, epoch, step) -> measurements`` by name,
        on the batches of a step of the epoch.
      per_step: examples that a step reads, for the progress bar.
      unit: of examples.
      test: of the data of the last test, and its ``evaluate``, where these are not
        ``held_out`` and its own.
      adapt: (scalars, scores of the epochs before) -> an epoch's scalars, if these
        follow scores.
      chance: the loss of a guess, where it is known.
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
    score: Score
    epochs: int
    steps_per_epoch: int
    per_step: int
    unit: str
    test: tuple[Feed, Callable[..., Any]] | None = None
    adapt: Callable[[Any, Sequence[float]], Any] | None = None
    metrics: tuple[str, ...] = METRICS
    probes: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    chance: float | None = None
    members: int | None = None

    def empty_totals(self) -> dict[str, np.ndarray]:
        """Sums of an epoch before its first step."""
        return empty_totals(self.members, self.metrics)


def job_of(task: Task, score: Score, problem: Problem, **rest: Any) -> Job:
    """A job with what it takes from its task; the rest is told.

    Args:
      score: of the task's, the one that models are measured by.
    """

    def evaluation(feed: Feed) -> Callable[..., Any]:
        return evaluation_program(problem.examination, feed.batches)

    test = problem.test
    return Job(
        feed=problem.feed,
        held_out=problem.held_out,
        evaluate=evaluation(problem.held_out),
        score=score,
        steps_per_epoch=problem.feed.steps,
        per_step=problem.per_step,
        unit=task.unit,
        test=None if test is None else (test, evaluation(test)),
        adapt=problem.adapt,
        chance=problem.chance,
        **rest,
    )


def scalar_arrays(scalars: Any) -> Any:
    """Numbers of a schedule as float32 arrays, which a program takes anew each call."""
    return jax.tree.map(lambda value: np.asarray(value, np.float32), scalars)
