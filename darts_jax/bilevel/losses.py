"""Criteria: the loss of a batch, its metrics as sums, and its rewards."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from darts_jax.types import (
    AnyArray,
    Batch,
    Examples,
    Inputs,
    Loss,
    Metrics,
    Outputs,
    Scalars,
)


@dataclasses.dataclass(frozen=True)
class Criterion:
    """Loss, metrics and rewards: pure functions of a network's outputs and a batch.

    Attributes:
      inputs: (batch) -> the part that the network takes.
      loss: (outputs, batch, scalars of the step) -> mean loss in train mode.
      metrics: (loss, outputs, batch) -> sums by name, among them ``loss`` and
        ``count``.
      rewards: (outputs, batch) -> numbers [batch] whose mean is the reward.
      distillation: (outputs, outputs of a teacher) -> mean loss; None where outputs are
        no soft targets.
    """

    inputs: Callable[[Batch], Inputs]
    loss: Callable[[Outputs, Batch, Scalars], Float[Array, ""]]
    metrics: Callable[[Float[Array, ""], Outputs, Batch], Metrics]
    rewards: Callable[[Outputs, Batch], Array]
    distillation: Callable[[Outputs, Outputs], Float[Array, ""]] | None = None


def cross_entropy(
    logits: Float[Array, "batch class"],
    labels: AnyArray,
    smoothing: float | Float[Array, ""] = 0.0,
    weights: Float[AnyArray, " class"] | None = None,
) -> Float[Array, ""]:
    """Computes the mean cross entropy, with smoothed labels.

    Args:
      logits: outputs of the network.
      labels: numbers of classes, [batch].
      smoothing: share of the target that is spread evenly over all classes, 0 to 1.
      weights: weight of an example by its class. The sum is divided by the number of
        examples, not by their weights, so that the mean over parts of a batch is that
        of the whole.
    """
    each = cross_entropies(logits, labels, smoothing)
    return jnp.mean(each if weights is None else weight_by_class(weights, labels, each))


def batch_loss(
    logits: Float[Array, "batch class"],
    batch: Examples,
    smoothing: float | Float[Array, ""] = 0.0,
    weights: Float[AnyArray, " class"] | None = None,
) -> Float[Array, ""]:
    """Computes the mean cross entropy of a batch whose images may be mixed.

    A mixed image has the loss of either label, by the shares (Zhang et al., 2018).

    Args:
      logits: outputs of the network.
      batch: its labels, and its partners where it is mixed.
      smoothing: as of `cross_entropy`.
      weights: as of `cross_entropy`.
    """
    partners = batch.partners
    if partners is None:
        return cross_entropy(logits, batch.labels, smoothing, weights)

    def losses(labels: AnyArray) -> Array:
        each = cross_entropies(logits, labels, smoothing)
        return each if weights is None else weight_by_class(weights, labels, each)

    shares = jnp.asarray(partners.shares)
    return jnp.mean(
        shares * losses(batch.labels) + (1 - shares) * losses(partners.labels)
    )


def flood(
    loss: Float[Array, ""], level: Float[AnyArray, ""] | float
) -> Float[Array, ""]:
    """Computes ``|loss - level| + level``: a loss below the level is ascended.

    Flooding (Ishida et al., 2020, equation 2).

    Args:
      loss: of a batch.
      level: the flood's, 0 or more.
    """
    return jnp.abs(loss - level) + level


def flooded(loss: Loss, level: Float[AnyArray, ""]) -> Loss:
    """Returns the `flood` of a loss, by weights and architecture.

    Args:
      loss: of one batch.
      level: the flood's, 0 or more.
    """
    return lambda params, alpha: flood(loss(params, alpha), level)


def soft_cross_entropy(
    logits: Float[Array, "batch class"], teacher: Float[Array, "batch class"]
) -> Float[Array, ""]:
    """Computes the mean cross entropy with the softmax of a teacher's logits.

    Distillation (Hinton et al., 2015) at temperature 1. No gradient goes to the
    teacher.

    Args:
      logits: outputs of the network.
      teacher: outputs of another on the same examples.
    """
    wide = logits.dtype if jnp.finfo(logits.dtype).bits >= 32 else jnp.float32
    targets = jax.nn.softmax(jax.lax.stop_gradient(teacher).astype(wide))
    each = -(targets * jax.nn.log_softmax(logits.astype(wide))).sum(-1)
    return jnp.mean(each)


def cross_entropies(
    logits: Float[Array, "batch class"],
    labels: AnyArray,
    smoothing: float | Float[Array, ""] = 0.0,
) -> Float[Array, " batch"]:
    """Computes the cross entropy of every example, with smoothed labels.

    Args:
      logits: outputs of the network.
      labels: numbers of classes, [batch].
      smoothing: share of the target that is spread evenly over all classes, 0 to 1.
    """
    wide = logits.dtype if jnp.finfo(logits.dtype).bits >= 32 else jnp.float32
    log_p = jax.nn.log_softmax(logits.astype(wide))
    hard = -jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    return (1 - smoothing) * hard - smoothing * log_p.mean(-1)


def weight_by_class(
    weights: Float[AnyArray, " class"], labels: AnyArray, values: Array
) -> Float[Array, " batch"]:
    """Multiplies a value of every example by the weight of its class.

    Args:
      weights: weight of each class.
      labels: numbers of classes, [batch].
      values: [batch].
    """
    kind = values.dtype if jnp.issubdtype(values.dtype, jnp.floating) else jnp.float32
    return jnp.asarray(weights, kind)[labels] * values.astype(kind)


def focal_loss(
    logits: Float[Array, "*any"],
    targets: Float[Array, "*any"],
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Array, "*any"]:
    """Computes the focal loss of independent yes-or-no questions.

    Lin et al. (2017), eq. 5: ``-alpha_t (1 - p_t)^gamma log p_t``, p_t the probability
    of the right answer: questions that are answered well weigh little.

    Args:
      logits: of yes.
      targets: 1 for yes, 0 for no.
      alpha: weight of questions whose answer is yes; 1 - alpha of the others.
      gamma: exponent, 0 or more; 0 is the cross entropy.
    """
    sign = 2 * targets - 1
    log_p = jax.nn.log_sigmoid(sign * logits)
    weight = targets * alpha + (1 - targets) * (1 - alpha)
    return -weight * jax.nn.sigmoid(-sign * logits) ** gamma * log_p


def sum_metrics(loss: Array, logits: Array, batch: Examples) -> Metrics:
    """Returns sums over a batch, so that a mean over any number of batches is exact.

    Args:
      loss: mean loss of the batch.
      logits: outputs of the network, [batch, class].
      batch: labels; a mixed image is correct by the share of the label predicted.

    Returns:
      ``loss``, ``correct`` predictions and ``count`` of examples, float32.
    """
    count = jnp.asarray(batch.labels.shape[0], jnp.float32)
    correct = is_correct(logits, batch.labels)
    if batch.partners is not None:
        shares = jnp.asarray(batch.partners.shares)
        is_partner = is_correct(logits, batch.partners.labels)
        correct = jnp.where(correct, shares, 0) + jnp.where(is_partner, 1 - shares, 0)
    correct = jnp.sum(correct).astype(jnp.float32)
    return {
        "loss": loss.astype(jnp.float32) * count,
        "correct": correct,
        "count": count,
    }


def is_correct(
    logits: Float[Array, "batch class"], labels: AnyArray
) -> Bool[Array, " batch"]:
    """Returns whether the class of the largest logit is right.

    Args:
      logits: outputs of the network.
      labels: numbers of classes, [batch].
    """
    return jnp.argmax(logits, -1).astype(labels.dtype) == labels


def classification_criterion(
    weights: Float[AnyArray, " class"] | None = None,
) -> Criterion:
    """Returns the criterion of image classification, for outputs [batch, class].

    Args:
      weights: weight of an image by its class, in the loss and in rewards; None weighs
        all
        alike.
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
        metrics=lambda loss, logits, batch: sum_metrics(loss, logits, batch),
        rewards=rewards,
        distillation=soft_cross_entropy,
    )


CLASSIFICATION_CRITERION = classification_criterion()
"""Of images by class that all weigh the same."""
