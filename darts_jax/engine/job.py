"""A training as pure functions: the one record between a task and the loop."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Int, UInt

from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Feed
from darts_jax.engine.program import (
    METRICS,
    Examination,
    empty_totals,
    evaluation_program,
)
from darts_jax.types import Mixture, Params, Stats


@dataclasses.dataclass(frozen=True)
class Score:
    """A measure of the networks of a task.

    Attributes:
      name: in records, as ``held_out_<name>``.
      compute: (an `Examination`'s sums on the host, number of examples) -> the score.
      more_is_better: whether a larger score is a better one.
      scale: factor from the score to the number that people are shown.
      unit: of that number, as "%".
      extras: name -> further measure of the same kind and unit, reported beside it.
      confusion: the sums -> examples by true and by predicted class, where the task has
        classes.
      loss: (the sums, number of examples) -> their mean loss, where it is known.
      top: (the sums, number of examples) -> share of the examples whose class is among
        the most likely ones, where that can be asked for.
      form: format of the number that people are shown, for `format`.
    """

    name: str
    compute: Callable[[Any, int], float]
    more_is_better: bool = True
    scale: float = 1.0
    unit: str = ""
    extras: Mapping[str, Callable[[Any, int], float]] = dataclasses.field(
        default_factory=dict
    )
    confusion: Callable[[Any], Int[np.ndarray, "true predicted"]] | None = None
    loss: Callable[[Any, int], float] | None = None
    top: Callable[[Any, int], float] | None = None
    form: str = ".2f"

    @property
    def words(self) -> str:
        """The name as it stands in a sentence."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """The heading of a column of `scaled` numbers."""
        return f"{self.words} {self.unit}".rstrip()

    @property
    def measures(self) -> dict[str, Callable[[Any, int], float]]:
        """The score by its name, then the extras."""
        return {self.name: self.compute, **self.extras}

    def scaled(self, value: float) -> float:
        """Returns the number that people are shown for a score."""
        return self.scale * value

    def describe(self, value: float) -> str:
        """Returns a network's score in words, as "accuracy 97.50 %"."""
        return f"{self.words} {self.format_score(value)}"

    def format_score(self, value: float) -> str:
        """Returns a network's score as people are shown it, as "97.50 %"."""
        return f"{format(self.scaled(value), self.form)} {self.unit}".rstrip()

    def merit(self, value: Any) -> Any:
        """Returns a score with a sign by which more is better."""
        return value if self.more_is_better else -value


class Supermodel(struct.PyTreeNode):
    """A supernet as it is tested: its weights and one mixture.

    Attributes:
      mixture: kind -> weights of the operations [edge, op].
      key: raw data of the key from which random operations draw.
      batch_statistics: True if it normalises by the statistics of the batch, not by
        the running ones.
    """

    params: Params
    stats: Stats
    mixture: Mixture
    key: UInt[Array, " key"]
    batch_statistics: bool = struct.field(pytree_node=False, default=False)


@dataclasses.dataclass(frozen=True)
class Job:
    """A search or a training that a loop runs epoch by epoch.

    A task makes it and the loop needs nothing else. Functions are pure and not jitted:
    `devices.Layout` does that.

    Attributes:
      layout: places of the arrays on devices.
      method: the `Search` or `Training` whose step ``run`` repeats.
      start: arrays that the first state depends on, such as the seed.
      init: start -> the first state.
      feed: batches of the training data.
      run: ``(state, totals, data, scalars, epoch, start, stop) -> (state, totals)``;
        see `program.epoch_program`.
      scalars: epoch -> scalars of its steps.
      epochs: length of the whole training.
      model: (state, scalars) -> the model that is tested.
      examination: test of a model.
      held_out: batches that a model is tested on after every epoch.
      score: measure of a model.
      test: batches of the last test, where these are not ``held_out``.
      metrics: names of the sums that ``run`` keeps.
      probes: name -> ``(state, data, scalars, epoch, step) -> measurements`` by name,
        on the batches of a step of the epoch.
      adapt: (scalars, scores of the epochs before) -> an epoch's scalars, on the host;
        None where these follow no scores.
      chance: loss of a guess, where it is known.
      members: size of the population that leads states and totals; None without one.
    """

    layout: Layout
    method: Any
    start: Any
    init: Callable[[Any], Any]
    feed: Feed
    run: Callable[..., Any]
    scalars: Callable[[int], Any]
    epochs: int
    model: Callable[[Any, Any], Any]
    examination: Examination
    held_out: Feed
    score: Score
    test: Feed | None = None
    metrics: tuple[str, ...] = METRICS
    probes: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    adapt: Callable[[Any, Sequence[float]], Any] | None = None
    chance: float | None = None
    members: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        return self.feed.steps

    @property
    def per_step(self) -> int:
        """Examples that one step of all members reads."""
        return self.feed.per_step * (self.members or 1)

    @property
    def unit(self) -> str:
        """The name of the examples, as "images"."""
        return self.feed.unit

    def empty_totals(self) -> dict[str, np.ndarray]:
        """Returns the sums of an epoch before its first step."""
        return empty_totals(self.members, self.metrics)

    def evaluate_on(self, feed: Feed) -> Callable[[Any, Any, Any, Any], Any]:
        """Returns the test of a model on a feed's batches, not jitted.

        Args:
          feed: `held_out` or `test`.

        Returns:
          ``(model, data, start, stop) -> sums`` that the score reads; of each member,
          if any.
        """
        evaluate = evaluation_program(self.examination, feed.batches)
        if self.members is None:
            return evaluate

        def evaluate_members(model: Any, data: Any, start: Any, stop: Any) -> Any:
            return lax.map(lambda member: evaluate(member, data, start, stop), model)

        return evaluate_members


def scalar_arrays(scalars: Any) -> Any:
    """Returns a schedule's numbers as float32 arrays.

    As arguments of a program they may change from call to call.

    Args:
      scalars: tree of numbers.
    """
    return jax.tree.map(lambda value: np.asarray(value, np.float32), scalars)
