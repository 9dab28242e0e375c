"""What a batch says of a network: its loss, and sums to be averaged."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from darts_jax.types import AnyArray, Batch, Examples, Metrics, Scalars


@dataclasses.dataclass(frozen=True)
class Criterion:
    """By what a step learns, pure functions of what a network makes of a batch.

    Attributes:
      inputs: batch -> what the network is given of it.
      loss: (outputs, batch, the step's scalars) -> mean loss in train mode.
      metrics: (loss, outputs, batch) -> sums by name; ``loss`` and ``count`` are two.
      rewards: (outputs, batch) -> numbers whose mean is what rewards teach.
    """

    inputs: Callable[[Batch], Any]
    loss: Callable[[Any, Batch, Scalars], Float[Array, ""]]
    metrics: Callable[[Array, Any, Batch], Metrics]
    rewards: Callable[[Any, Batch], Array]


def cross_entropy(
    logits: Float[Array, "batch class"],
    labels: AnyArray,
    smoothing: float | Float[Array, ""] = 0.0,
    weights: Float[AnyArray, " class"] | None = None,
) -> Float[Array, ""]:
    """Mean cross entropy; a share ``smoothing`` of the target is spread evenly.

    Args:
      weights: of an image by its class. The sum is divided by the number of images and
        not by their weights, so that the mean over parts of a batch is that of the
        whole.
    """
    each = cross_entropies(logits, labels, smoothing)
    return jnp.mean(each if weights is None else weight_by_class(weights, labels, each))


def cross_entropies(
    logits: Float[Array, "batch class"],
    labels: AnyArray,
    smoothing: float | Float[Array, ""] = 0.0,
) -> Float[Array, " batch"]:
    """Cross entropy of every image, as `cross_entropy` averages it."""
    wide = logits.dtype if jnp.finfo(logits.dtype).bits >= 32 else jnp.float32
    log_p = jax.nn.log_softmax(logits.astype(wide))
    hard = -jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    return (1 - smoothing) * hard - smoothing * log_p.mean(-1)


def weight_by_class(
    weights: Float[AnyArray, " class"], labels: AnyArray, values: Array
) -> Float[Array, " batch"]:
    """Multiplies a value of every image by the weight of its class."""
    kind = values.dtype if jnp.issubdtype(values.dtype, jnp.floating) else jnp.float32
    return jnp.asarray(weights, kind)[labels] * values.astype(kind)


def focal_loss(
    logits: Float[Array, "*any"],
    targets: Float[Array, "*any"],
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Array, "*any"]:
    """Of independent yes-or-no questions (Lin et al., 2017, equation 5).

    ``-alpha_t (1 - p_t)^gamma log p_t``, p_t the probability of the right answer: what
    is answered well already weighs little.

    Args:
      targets: 1 for yes, 0 for no.
      alpha: weight of the questions to be answered by yes; 1 - alpha of the others.
    """
    sign = 2 * targets - 1
    log_p = jax.nn.log_sigmoid(sign * logits)
    weight = targets * alpha + (1 - targets) * (1 - alpha)
    return -weight * jax.nn.sigmoid(-sign * logits) ** gamma * log_p


def sum_metrics(loss: Array, logits: Array, labels: AnyArray) -> Metrics:
    """Sums over a batch, so that a mean over any number of batches is exact."""
    count = jnp.asarray(labels.shape[0], jnp.float32)
    correct = jnp.sum(is_correct(logits, labels)).astype(jnp.float32)
    return {
        "loss": loss.astype(jnp.float32) * count,
        "correct": correct,
        "count": count,
    }


def is_correct(
    logits: Float[Array, "batch class"], labels: AnyArray
) -> Bool[Array, " batch"]:
    """Which predictions are right."""
    return jnp.argmax(logits, -1).astype(labels.dtype) == labels


def classification_criterion(
    weights: Float[AnyArray, " class"] | None = None,
) -> Criterion:
    """Returns the criterion of images by class, as a supernet gives logits.

    Args:
      weights: of an image by its class, in the loss and in rewards; None: all equal.
    """

    def loss(logits: Array, batch: Examples, scalars: Scalars) -> Float[Array, ""]:
        del scalars
        return cross_entropy(logits, batch.labels, weights=weights)

    def rewards(logits: Array, batch: Examples) -> Array:
        right = is_correct(logits, batch.labels)
        return (
            right if weights is None else weight_by_class(weights, batch.labels, right)
        )

    return Criterion(
        inputs=lambda batch: batch.images,
        loss=loss,
        metrics=lambda loss, logits, batch: sum_metrics(loss, logits, batch.labels),
        rewards=rewards,
    )


CLASSIFICATION_CRITERION = classification_criterion()
"""Of images by class that all weigh the same."""
