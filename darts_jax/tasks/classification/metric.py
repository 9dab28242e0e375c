"""Accuracy, balanced accuracy and the confusion of classes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from darts_jax.analysis.class_metrics import balanced_accuracy
from darts_jax.bilevel.losses import cross_entropies
from darts_jax.data.stream import PADDING
from darts_jax.engine.job import Score
from darts_jax.engine.program import Examination
from darts_jax.errors import InputError


def count_by_class(
    predict: Callable[[Any, Array], Array], classes: int, top: int = 0
) -> Examination:
    """Makes the test that counts images by true and predicted class.

    Images that only fill a batch up have the label of no class and take no part.

    Args:
      predict: (model, stored images) -> logits [batch, class].
      classes: number of classes.
      top: number of the most likely classes among which the right one is looked for
        too; 0: it is not.

    Returns:
      The test; its sums are ``confusion``, int32 [true, predicted], and ``loss``, the
      sum of the images' cross entropies; with ``top`` also the number of images found.

    Raises:
      InputError: the right class is always among so many.
    """
    if top >= classes:
        raise InputError(
            f"setting data.top is {top}, and there are {classes} classes; want fewer, "
            "or 0"
        )
    cells = classes**2

    def begin(model: Any) -> dict[str, Array]:
        del model
        return {
            "confusion": jnp.zeros(cells, jnp.int32),
            "loss": jnp.zeros((), jnp.float32),
            **({"top": jnp.zeros((), jnp.int32)} if top else {}),
        }

    def examine(
        model: Any, sums: dict[str, Array], batch: Any, i: Any
    ) -> dict[str, Array]:
        del i
        logits = predict(model, batch.images)
        is_real = batch.labels != PADDING
        predicted = jnp.argmax(logits, -1).astype(batch.labels.dtype)
        # A place behind the last cell is dropped.
        place = jnp.where(is_real, batch.labels * classes + predicted, cells)
        losses = cross_entropies(logits, jnp.maximum(batch.labels, 0))
        loss = jnp.sum(jnp.where(is_real, losses, 0)).astype(jnp.float32)
        new = {
            "confusion": sums["confusion"].at[place].add(1, mode="drop"),
            "loss": sums["loss"] + loss,
        }
        if top:
            _, likely = jax.lax.top_k(logits, top)
            found = jnp.any(likely == batch.labels[:, None], -1) & is_real
            new["top"] = sums["top"] + jnp.sum(found, dtype=jnp.int32)
        return new

    def make_square(sums: dict[str, Array]) -> dict[str, Array]:
        return sums | {"confusion": sums["confusion"].reshape(classes, classes)}

    return Examination(begin, examine, make_square)


def _accuracy(sums: Any, count: int) -> float:
    return np.trace(sums["confusion"]) / count


def _balanced_accuracy(sums: Any, count: int) -> float:
    del count  # It has the images that only fill a batch up in no sum.
    return balanced_accuracy(sums["confusion"])


def _top(sums: Any, count: int) -> float:
    return float(sums["top"] / count)


def _confusion(sums: Any) -> np.ndarray:
    confusion: np.ndarray = sums["confusion"]
    return confusion


def _mean_loss(sums: Any, count: int) -> float:
    return sums["loss"] / count


ACCURACY = Score(
    name="accuracy",
    compute=_accuracy,
    scale=100,
    unit="%",
    confusion=_confusion,
    loss=_mean_loss,
    top=_top,
)
BALANCED_ACCURACY = Score(
    name="balanced_accuracy",
    compute=_balanced_accuracy,
    scale=100,
    unit="%",
    extras={"accuracy": _accuracy},
    confusion=_confusion,
    loss=_mean_loss,
    top=_top,
)
