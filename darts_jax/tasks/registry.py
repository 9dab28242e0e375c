"""All tasks by name. To add one: ``TASKS["mine"] = Task("mine", ...)``."""

from typing import Any

from ml_collections import ConfigDict

from darts_jax.engine.task import Score, Task
from darts_jax.errors import InputError, unknown_name_error
from darts_jax.tasks.classification.task import CLASSIFICATION
from darts_jax.tasks.detection.task import DETECTION
from darts_jax.tasks.language.task import LANGUAGE

TASKS: dict[str, Task] = {
    task.name: task for task in (CLASSIFICATION, LANGUAGE, DETECTION)
}


def get_task(config: ConfigDict) -> Task:
    """The task that a config names; raises InputError with the nearest name."""
    if config.task not in TASKS:
        raise unknown_name_error("task", config.task, list(TASKS))
    return TASKS[config.task]


def get_score(config: ConfigDict) -> Score:
    """Returns the score that ``data.metric`` names: by default the task's own.

    Raises:
      InputError: the task has no such score.
    """
    task, named = get_task(config), config.data.metric
    known = {score.name: score for score in (task.score, *task.others)}
    if named == "auto":
        return task.score
    if named not in known:
        raise InputError(
            f"setting data.metric is {named}; task={config.task} is measured by "
            f"{', '.join(known)}: want auto"
        )
    return known[named]


def load_data(config: ConfigDict) -> Any:
    """The data set of ``config.data``, as the task loads it.

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    return get_task(config).load(config)


def require_images(config: ConfigDict, what: str) -> None:
    """Refuses what is made for images by class alone."""
    if get_task(config) is not CLASSIFICATION:
        raise InputError(f"{what} is of images by class; task={config.task} has none")
