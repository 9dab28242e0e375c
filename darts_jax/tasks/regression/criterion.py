"""Squared error of numbers that are predicted in units of their deviation."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from darts_jax.bilevel.losses import Criterion
from darts_jax.types import Examples, Metrics, Scalars


def squared_error_criterion(mean: float, deviation: float) -> Criterion:
    """Returns the criterion of networks that predict a number, outputs [batch, 1].

    Networks learn ``z = (label - mean) / deviation``, so that rates and decays mean the
    same whatever the unit is. The loss is ``mean((output - z)^2)``; that of a network
    which always says the mean is 1.

    Args:
      mean: of the training labels.
      deviation: of the training labels.
    """

    def squares(outputs: Array, batch: Examples) -> Float[Array, " batch"]:
        return standardized_errors(outputs, batch, mean, deviation) ** 2

    def loss(outputs: Array, batch: Examples, scalars: Scalars) -> Float[Array, ""]:
        del scalars
        return jnp.mean(squares(outputs, batch))

    def metrics(loss: Array, outputs: Array, batch: Examples) -> Metrics:
        del outputs
        count = jnp.asarray(batch.labels.shape[0], jnp.float32)
        return {"loss": loss.astype(jnp.float32) * count, "count": count}

    return Criterion(
        inputs=lambda batch: batch.images,
        loss=loss,
        metrics=metrics,
        rewards=lambda outputs, batch: -squares(outputs, batch),
    )


def standardized_errors(
    outputs: Float[Array, "batch 1"], batch: Examples, mean: float, deviation: float
) -> Float[Array, " batch"]:
    """Returns predicted minus true numbers, in units of the deviation.

    Args:
      outputs: of the network.
      batch: with labels in their own unit.
      mean: of the training labels.
      deviation: of the training labels.
    """
    wide = outputs.dtype if jnp.finfo(outputs.dtype).bits >= 32 else jnp.float32
    return outputs[:, 0].astype(wide) - (batch.labels - mean) / deviation
