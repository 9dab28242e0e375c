"""All tasks by name; from a config to its data set and its jobs."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from darts_jax.cost.expected import ExpectedCost
from darts_jax.engine.devices import Layout, make_layout
from darts_jax.engine.job import Job, Score
from darts_jax.errors import InputError, look_up
from darts_jax.kernels import use_gpu_kernels
from darts_jax.settings.schema import SCHEMA
from darts_jax.settings.setting import Registered
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.classification.task import CLASSIFICATION
from darts_jax.tasks.cost_limits import Pricing, space_with_rule
from darts_jax.tasks.detection.task import DETECTION
from darts_jax.tasks.language.task import LANGUAGE
from darts_jax.tasks.module.task import MODULE
from darts_jax.tasks.regression.task import REGRESSION
from darts_jax.tasks.task import Objective, Task, choose_score

TASKS: dict[str, Task] = {}
"""`task` -> data, networks, criterion and metric of a task."""

SCHEMA["task"] = dataclasses.replace(SCHEMA["task"], values=Registered(TASKS))


def register_task(task: Task) -> Task:
    """Adds a task, which the setting ``task`` may name from here on.

    Args:
      task: the new task; it takes the place of another of its name.

    Returns:
      The same task.
    """
    TASKS[task.name] = task
    return task


for _task in (CLASSIFICATION, REGRESSION, LANGUAGE, DETECTION, MODULE):
    register_task(_task)


def get_task(config: ConfigDict) -> Task:
    """Returns the task that a config names.

    Args:
      config: settings of a run, of which ``task`` is read.

    Raises:
      InputError: there is no such task; the nearest name is told.
    """
    return look_up(TASKS, config.task, "task")


def get_score(config: ConfigDict) -> Score:
    """Returns the score that ``data.metric`` names: by default the task's first.

    Args:
      config: settings of a run.

    Raises:
      InputError: the task has no such score.
    """
    return choose_score(config, get_task(config).scores)


def load_data(config: ConfigDict) -> Any:
    """Loads the data set of ``config.data``, as the task does.

    Args:
      config: settings of a run.

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    return get_task(config).load(config)


def make_search(config: ConfigDict, dataset: Any, layout: Layout | None = None) -> Job:
    """Makes the job of the search that a config describes.

    Args:
      config: settings of a run.
      dataset: the data set, as `load_data` returns it.
      layout: in place of the one that ``config.devices`` asks for.

    Raises:
      InputError: an unknown name, data that do not suit the network, a batch too
        large, or a budget of networks that have none.
    """
    use_gpu_kernels(config.gpu_kernels)
    layout = layout or make_layout(
        config.devices,
        config.search.batch_size,
        "search.batch_size",
        batch_norm=config.batch_norm,
    )
    return get_task(config).make_search(config, dataset, layout)


def make_training(config: ConfigDict, dataset: Any, genotype: Genotype) -> Job:
    """Makes the job that trains a genotype from scratch on all training data.

    Args:
      config: settings of a run.
      dataset: the data set, as `load_data` returns it.
      genotype: the network's cells.

    Raises:
      InputError: an unknown operation, data that do not suit the network, or a batch
        too large.
    """
    use_gpu_kernels(config.gpu_kernels)
    layout = make_layout(
        config.devices,
        config.retrain.batch_size,
        "retrain.batch_size",
        split_state=config.retrain.split_state,
        batch_norm=config.batch_norm,
    )
    return get_task(config).make_training(config, dataset, genotype, layout)


def task_cost(config: ConfigDict, dataset: Any, costs: str) -> ExpectedCost:
    """Returns the expected cost of the networks that ``retrain`` would train.

    Args:
      config: settings of a run.
      dataset: the data set, as `load_data` returns it.
      costs: unit of cost, as the setting ``search.costs``.

    Raises:
      InputError: the table of costs that is asked for is not at hand, or lacks
        operations of the network.
    """
    return get_task(config).expected_cost(config, dataset, costs)


def make_pricing(config: ConfigDict, dataset: Any, costs: str) -> Pricing:
    """Returns the exact cost of the networks that ``retrain`` would train.

    Args:
      config: settings of a run.
      dataset: the data set, as `load_data` returns it.
      costs: unit of cost, as the setting ``search.costs``.

    Raises:
      InputError: as `task_cost`.
    """
    return Pricing(space_with_rule(config), task_cost(config, dataset, costs))


def require_images(config: ConfigDict, what: str) -> Objective:
    """Returns what networks learn of images with labels.

    Args:
      config: settings of a run.
      what: what is asked for, for people.

    Raises:
      InputError: the task is of examples of another kind.
    """
    objective = get_task(config).objective
    if objective is None:
        raise InputError(
            f"{what} is of images with labels; task={config.task} has none"
        )
    return objective


def require_classes(config: ConfigDict, what: str) -> None:
    """Refuses tasks other than classification.

    Args:
      config: settings of a run.
      what: what is asked for, for people.

    Raises:
      InputError: the config has another task.
    """
    if get_task(config) is not CLASSIFICATION:
        raise InputError(f"{what} is of images by class; task={config.task} has none")
