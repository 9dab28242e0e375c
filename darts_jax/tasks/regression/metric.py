"""Root mean square error, coefficient of determination and mean absolute error."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from darts_jax.engine.job import Score
from darts_jax.engine.program import Examination
from darts_jax.tasks.regression.criterion import standardized_errors
from darts_jax.tasks.task import Predict


def sum_errors(predict: Predict, mean: float, deviation: float) -> Examination:
    """Makes the test that adds up errors in the labels' own unit.

    Images that only fill a batch up have NaN for a label and take no part.

    Args:
      predict: (model, stored images) -> outputs [batch, 1], in units of the deviation
        and from the mean.
      mean: of the training labels.
      deviation: of the training labels.

    Returns:
      The test; its sums are ``loss``, of squared errors in units of the deviation,
      ``squares`` and ``sizes``, of squared and absolute errors in the labels' unit,
      and ``first`` and ``second``, of the labels' distances from the mean in units of
      the deviation, and of their squares.
    """
    names = ("loss", "squares", "sizes", "first", "second")

    def begin(model: Any) -> dict[str, Array]:
        del model
        return {name: jnp.zeros((), jnp.float32) for name in names}

    def examine(
        model: Any, sums: dict[str, Array], batch: Any, i: Any
    ) -> dict[str, Array]:
        del i
        outputs = predict(model, batch.images)
        errors = standardized_errors(outputs, batch, mean, deviation)
        distances = (batch.labels - mean) / deviation
        found = {
            "loss": errors**2,
            "squares": (deviation * errors) ** 2,
            "sizes": jnp.abs(deviation * errors),
            "first": distances,
            "second": distances**2,
        }
        is_real = ~jnp.isnan(batch.labels)
        return {
            name: sums[name] + jnp.sum(jnp.where(is_real, each, 0), dtype=jnp.float32)
            for name, each in found.items()
        }

    return Examination(begin, examine, lambda sums: sums)


def _root_mean_square(sums: Any, count: int) -> float:
    return math.sqrt(sums["squares"] / count)


def _mean_size(sums: Any, count: int) -> float:
    return float(sums["sizes"] / count)


def _determination(sums: Any, count: int) -> float:
    """Returns 1 - (squared errors) / (squared distances of labels from their mean)."""
    spread = float(sums["second"]) - float(sums["first"]) ** 2 / count
    return 1 - float(sums["loss"]) / spread if spread > 0 else math.nan


def _mean_loss(sums: Any, count: int) -> float:
    return float(sums["loss"] / count)


RMSE = Score(
    name="rmse",
    compute=_root_mean_square,
    more_is_better=False,
    extras={"mae": _mean_size, "r2": _determination},
    loss=_mean_loss,
    form=".4g",
)
MAE = Score(
    name="mae",
    compute=_mean_size,
    more_is_better=False,
    extras={"rmse": _root_mean_square, "r2": _determination},
    loss=_mean_loss,
    form=".4g",
)
R2 = Score(
    name="r2",
    compute=_determination,
    extras={"rmse": _root_mean_square, "mae": _mean_size},
    loss=_mean_loss,
    form=".3f",
)
