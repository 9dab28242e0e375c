"""A task: data of some kind, networks for it, a loss and a score.

A step, a hypergradient, a relaxation or a selection rule knows arrays and a
`Criterion`. A loop knows a `Job`. A `Task` lies between them: from a config it loads a
data set, and makes a `Job` of a search or of a training. `registry.register_task` adds
one.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import DISCRETIZATIONS
from darts_jax.bilevel.losses import Criterion
from darts_jax.cost.expected import ExpectedCost
from darts_jax.engine.devices import Layout
from darts_jax.engine.job import Job, Score
from darts_jax.engine.program import METRICS, Examination
from darts_jax.errors import InputError, unknown_name_error
from darts_jax.settings.config import get_setting
from darts_jax.spaces.graph import Genotype, Space

TaskData = Any
"""Data set of a task, such as `Dataset`: any record with a ``note``."""


Predict = Callable[[Any, Array], Array]
"""(model, stored images) -> outputs [batch, output], as a test computes them."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """Loss, test and scores of images with labels.

    Images stand for signals and rows of tables as well; see `data.dataset`.

    Attributes:
      scores: measures that ``data.metric`` may name; the first is the default.
      require: (config, data set) -> None; raises InputError where labels or settings do
        not suit.
      criterion: (config, data set) -> criterion of outputs [batch, output].
      network_criterion: the same, of a `Network` with an auxiliary head.
      examination: (config, data set, prediction) -> test of a model.
      chance: data set -> loss of a guess.
      decode: (data set, outputs) -> what an exported network gives.
      metrics: names of the criterion's sums.
    """

    scores: Sequence[Score]
    require: Callable[[ConfigDict, TaskData], None]
    criterion: Callable[[ConfigDict, TaskData], Criterion]
    network_criterion: Callable[[ConfigDict, TaskData], Criterion]
    examination: Callable[[ConfigDict, TaskData, Predict], Examination]
    chance: Callable[[TaskData], float]
    decode: Callable[[TaskData, Array], Array]
    metrics: tuple[str, ...] = METRICS


@dataclasses.dataclass(frozen=True)
class Task:
    """All that is known of one kind of learning.

    Attributes:
      name: value of the setting ``task``.
      scores: measures that ``data.metric`` may name; the first is the default.
      load: config -> data set, with a ``note`` that results end with.
      make_search: (config, data set, layout) -> job of a search; see
        `search_job.make_search_job`.
      make_training: (config, data set, genotype, layout) -> job of a training from
        scratch; see `training_job.make_training_job`.
      expected_cost: (config, data set, unit of cost as ``search.costs``) -> expected
        cost of the networks that ``retrain`` would train.
      objective: of images with labels; None where examples are of another kind.
    """

    name: str
    scores: Sequence[Score]
    load: Callable[[ConfigDict], TaskData]
    make_search: Callable[[ConfigDict, TaskData, Layout], Job]
    make_training: Callable[[ConfigDict, TaskData, Genotype, Layout], Job]
    expected_cost: Callable[[ConfigDict, TaskData, str], ExpectedCost]
    objective: Objective | None = None


def choose_score(config: ConfigDict, scores: Sequence[Score]) -> Score:
    """Returns the score that ``data.metric`` names: by default the first.

    Beside it stands what ``data.top`` asks for.

    Args:
      config: settings of a run.
      scores: those of its task.

    Raises:
      InputError: the task has no such score, or no classes.
    """
    named = config.data.metric
    known = {score.name: score for score in scores}
    if named != "auto" and named not in known:
        raise InputError(
            f"setting data.metric is {named}; task={config.task} is measured by "
            f"{', '.join(known)}: want auto"
        )
    score = scores[0] if named == "auto" else known[named]
    if not config.data.top:
        return score
    if score.top is None:
        raise InputError(
            f"setting data.top is {config.data.top}; task={config.task} does not rank "
            "classes: want 0"
        )
    beside = {f"top_{config.data.top}_accuracy": score.top}
    return dataclasses.replace(score, extras={**score.extras, **beside})


def require_family(space: Space, known: Mapping[str, Any]) -> Any:
    """Returns a task's entry for a space's family of networks.

    Args:
      space: the space that is searched.
      known: family -> entry, such as a function that makes a supernet.

    Raises:
      InputError: it knows nothing, or the space's rule of discretization is unknown.
    """
    if space.discretization not in DISCRETIZATIONS:
        what = f"discretization of space {space.name!r}:"
        raise unknown_name_error(what, space.discretization, list(DISCRETIZATIONS))
    if space.family == "table":
        raise InputError(
            f"space {space.name!r} is looked up in a table and makes no networks: want "
            "another space, or darts-jax baseline --on table"
        )
    if space.family not in known:
        raise InputError(
            f"space {space.name!r} makes networks of {space.family}, and this task "
            f"trains {', '.join(known)}: want another space, or another task"
        )
    return known[space.family]


def require_settings(config: ConfigDict, wanted: Mapping[str, Any], what: str) -> None:
    """Refuses other values of settings that a task can do nothing with.

    Args:
      config: settings of a run.
      wanted: dotted key -> the one value that the task takes.
      what: the task, for people.

    Raises:
      InputError: a setting has another value.
    """
    for key, value in wanted.items():
        given = get_setting(config, key)
        if given != value:
            raise InputError(f"setting {key} is {given}; {what} wants {value}")
