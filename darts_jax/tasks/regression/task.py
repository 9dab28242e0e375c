"""The task of predicting a number, of an image, a signal or a row of a table."""

from jaxtyping import Array, Float
from ml_collections import ConfigDict

from darts_jax.bilevel.losses import Criterion
from darts_jax.bilevel.weight_training import with_auxiliary
from darts_jax.data.dataset import Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.program import Examination
from darts_jax.errors import InputError
from darts_jax.tasks.image_data import load_numbered_images
from darts_jax.tasks.image_jobs import make_image_task
from darts_jax.tasks.regression.criterion import squared_error_criterion
from darts_jax.tasks.regression.metric import MAE, R2, RMSE, sum_errors
from darts_jax.tasks.task import Objective, Predict, require_settings


def _require_numbers(config: ConfigDict, dataset: AnyDataset) -> None:
    if not isinstance(dataset, Dataset) or not dataset.has_numbers:
        raise InputError(
            f"labels of {dataset.name!r} are classes, and no numbers to be predicted; "
            "want task=classification, or data with numbers, which from_arrays takes "
            "with target=NAME"
        )
    require_settings(config, _NOT_OF_NUMBERS, "regression")


def _criterion(config: ConfigDict, dataset: Dataset) -> Criterion:
    del config
    mean, deviation = dataset.target_scale
    return squared_error_criterion(mean, deviation)


def _network_criterion(config: ConfigDict, dataset: Dataset) -> Criterion:
    return with_auxiliary(_criterion(config, dataset))


def _examination(config: ConfigDict, dataset: Dataset, predict: Predict) -> Examination:
    del config
    mean, deviation = dataset.target_scale
    return sum_errors(predict, mean, deviation)


def _chance(dataset: Dataset) -> float:
    del dataset
    return 1.0  # of a network that always says the mean


def _in_own_unit(
    dataset: Dataset, outputs: Float[Array, "batch 1"]
) -> Float[Array, "batch 1"]:
    mean, deviation = dataset.target_scale
    return deviation * outputs + mean


_NOT_OF_NUMBERS = {
    "data.class_weights": "none",
    "data.top": 0,
    "retrain.label_smoothing": 0.0,
    "retrain.mixup": 0.0,
}

REGRESSION = make_image_task(
    "regression",
    Objective(
        scores=(RMSE, MAE, R2),
        require=_require_numbers,
        criterion=_criterion,
        network_criterion=_network_criterion,
        examination=_examination,
        chance=_chance,
        decode=_in_own_unit,
        metrics=("loss", "count"),
    ),
    load_numbered_images,
)
