"""What a batch says of a network: its loss, and sums to be averaged."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from darts_jax.types import AnyArray, Metrics


def cross_entropy(
    logits: Float[Array, "batch class"],
    labels: AnyArray,
    smoothing: float | Float[Array, ""] = 0.0,
) -> Float[Array, ""]:
    """Mean cross entropy; a share ``smoothing`` of the target is spread evenly."""
    wide = logits.dtype if jnp.finfo(logits.dtype).bits >= 32 else jnp.float32
    log_p = jax.nn.log_softmax(logits.astype(wide))
    hard = -jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    return jnp.mean((1 - smoothing) * hard - smoothing * log_p.mean(-1))


def batch_metrics(loss: Array, logits: Array, labels: AnyArray) -> Metrics:
    """Sums over a batch, so that a mean over any number of batches is exact."""
    count = jnp.asarray(labels.shape[0], jnp.float32)
    guesses = jnp.argmax(logits, -1).astype(labels.dtype)
    correct = jnp.sum(guesses == labels).astype(jnp.float32)
    return {
        "loss": loss.astype(jnp.float32) * count,
        "correct": correct,
        "count": count,
    }
