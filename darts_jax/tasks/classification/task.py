"""The task of classifying images, in memory or as a stream."""

import math
from typing import Any

from ml_collections import ConfigDict

from darts_jax.bilevel.losses import Criterion, classification_criterion
from darts_jax.bilevel.weight_training import auxiliary_criterion
from darts_jax.data.dataset import Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.program import Examination
from darts_jax.errors import InputError
from darts_jax.tasks.classification.criterion import class_weights
from darts_jax.tasks.classification.metric import (
    ACCURACY,
    BALANCED_ACCURACY,
    count_by_class,
)
from darts_jax.tasks.image_jobs import make_image_task
from darts_jax.tasks.task import Objective, Predict


def _require_classes(config: ConfigDict, dataset: AnyDataset) -> None:
    del config
    if isinstance(dataset, Dataset) and dataset.has_numbers:
        raise InputError(
            f"labels of {dataset.name!r} are numbers to be predicted "
            f"({dataset.class_names[0]}), and no classes; want task=regression, or "
            "data by class"
        )


def _criterion(config: ConfigDict, dataset: AnyDataset) -> Criterion:
    return classification_criterion(class_weights(config, dataset))


def _network_criterion(config: ConfigDict, dataset: AnyDataset) -> Criterion:
    return auxiliary_criterion(class_weights(config, dataset))


def _examination(
    config: ConfigDict, dataset: AnyDataset, predict: Predict
) -> Examination:
    return count_by_class(predict, dataset.classes, config.data.top)


def _chance(dataset: AnyDataset) -> float:
    return math.log(dataset.classes)


def _keep_logits(dataset: Any, logits: Any) -> Any:
    del dataset
    return logits


CLASSIFICATION = make_image_task(
    "classification",
    Objective(
        scores=(ACCURACY, BALANCED_ACCURACY),
        require=_require_classes,
        criterion=_criterion,
        network_criterion=_network_criterion,
        examination=_examination,
        chance=_chance,
        decode=_keep_logits,
    ),
)
