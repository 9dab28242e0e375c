"""What a task is: the one thing between data of some kind and the steps that learn.

A trainer, a hypergradient, a relaxation or a selection rule knows arrays and a
`Criterion`. A loop knows a `Job`. What lies between is a `Task`: it loads a data set,
and makes of it and of a network a `Problem`. To add one: a module that makes a `Task`,
and a row in `tasks.TASKS`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import struct
from jaxtyping import Array, Int, PRNGKeyArray, UInt
from ml_collections import ConfigDict

from darts_jax.cost.expected import ExpectedCost
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Feed
from darts_jax.engine.program import METRICS, Examination
from darts_jax.errors import InputError
from darts_jax.models.functional import Initialized
from darts_jax.settings.config import get_setting
from darts_jax.spaces.graph import Genotype
from darts_jax.types import Batch, Mixture, Params, Scalars, SearchState, Stats

TaskData = Any
"""Data set of a task, such as `Dataset`: any record with a ``note``."""


@dataclasses.dataclass(frozen=True)
class Score:
    """By what the networks of a task are measured.

    Attributes:
      name: in records, as ``held_out_<name>``.
      compute: (an `Examination`'s sums on the host, how many examples) -> the score.
      more_is_better: whether more is better.
      scale: by which it is multiplied for people.
      unit: of that.
      extras: name -> another number of the same kind, told beside it.
      confusion: the sums -> images by true and by predicted class, where they have it.
      loss: (the sums, how many examples) -> their mean loss, where they have it.
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

    @property
    def words(self) -> str:
        """The name as it stands in a sentence."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """Over a column of `scaled` numbers."""
        return f"{self.words} {self.unit}".rstrip()

    @property
    def measures(self) -> dict[str, Callable[[Any, int], float]]:
        """The score by its name, then what is told beside it."""
        return {self.name: self.compute, **self.extras}

    def scaled(self, value: float) -> float:
        return self.scale * value

    def describe(self, value: float) -> str:
        """Of one network, for people."""
        return f"{self.words} {self.scaled(value):.2f} {self.unit}".rstrip()

    def merit(self, value: Any) -> Any:
        """The same so that more is better."""
        return value if self.more_is_better else -value


class Supermodel(struct.PyTreeNode):
    """A supernet as it is tested: with one mixture, whatever made it."""

    params: Params
    stats: Stats
    mixture: Mixture
    key: UInt[Array, " key"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A data set and a network for it: all that a job takes from its task.

    Functions are pure and run inside the program, but for ``adapt``.

    Attributes:
      method: a `Search` of a supernet, or the `Training` of a genotype's network.
      init: key -> the network's first parameters and statistics; the key is consumed.
      feed: of the training data; a search's has a validation part behind them.
      prepare: (key of the step, stored batches) -> batches as ``method`` takes them.
      held_out: what a model is tested on after every epoch.
      examination: of a `Supermodel`, or of a training's state.
      per_step: how many examples a step reads, in the task's unit.
      chance: the loss of a guess, where it is known: ln of the number of classes.
      metrics: names of the criterion's sums.
      test: what a trained network is tested on at last, where ``held_out`` is not that.
      paced: (scalars, training batch) -> the scalars as that batch wants them.
      followed: (state, validation batch, scalars) -> the state with what a search
        remembers of a validation batch, after its step.
      adapt: (scalars, scores of the epochs before) -> the scalars of an epoch; on the
        host, or None if they follow no score.
    """

    method: Any
    init: Callable[[PRNGKeyArray], Initialized]
    feed: Feed
    prepare: Callable[[Array, Batches], Batches]
    held_out: Feed
    examination: Examination
    per_step: int
    chance: float | None = None
    metrics: tuple[str, ...] = METRICS
    test: Feed | None = None
    paced: Callable[[Scalars, Batch], Scalars] = lambda scalars, batch: scalars
    followed: Callable[[SearchState, Batch, Scalars], SearchState] = (
        lambda state, batch, scalars: state
    )
    adapt: Callable[[Scalars, Sequence[float]], Scalars] | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned from what, and how well.

    Attributes:
      unit: of examples, as "images".
      load: config -> the data set that it names.
      search: (config, data set, layout) -> the problem of a search.
      training: (config, data set, genotype, layout) -> that of a training from scratch.
      expected: (config, data set, what is counted) -> the cost of what is retrained.
      others: scores that ``data.metric`` may name in place of ``score``.
    """

    name: str
    unit: str
    score: Score
    load: Callable[[ConfigDict], TaskData]
    search: Callable[[ConfigDict, TaskData, Layout], Problem]
    training: Callable[[ConfigDict, TaskData, Genotype, Layout], Problem]
    expected: Callable[[ConfigDict, TaskData, str], ExpectedCost]
    others: tuple[Score, ...] = ()


def require_settings(config: ConfigDict, wanted: Mapping[str, Any], what: str) -> None:
    """Refuses other values of settings that a task can do nothing with.

    Args:
      wanted: dotted key -> the one value that it takes.
      what: the task, for people.
    """
    for key, value in wanted.items():
        given = get_setting(config, key)
        if given != value:
            raise InputError(f"setting {key} is {given}; {what} wants {value}")
