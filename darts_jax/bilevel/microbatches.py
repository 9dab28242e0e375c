"""Batches computed in parts, one after the other, when they do not fit at once.

The loss of a batch is the mean over its microbatches, each with batch norm over its own
examples. The backward pass computes a microbatch again when its turn comes, so the
memory is that of one, for any derivative that is taken.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.types import Batch, Outputs, Stats

Forward = Callable[
    [Stats, Batch, PRNGKeyArray], tuple[Float[Array, ""], tuple[Stats, Outputs]]
]
"""(stats, batch, key) -> (mean loss, (new stats, outputs))."""


def scan_microbatches(forward: Forward, count: int) -> Forward:
    """Returns the function of a whole batch that computes it in equal parts.

    The running statistics pass from part to part.

    Args:
      forward: function of one part.
      count: number of parts, which must divide the batch size.
    """
    if count == 1:
        return forward

    def whole(stats: Stats, batch: Batch, key: PRNGKeyArray) -> Any:
        parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
        keys = jax.random.split(key, count)

        @jax.checkpoint
        def part(stats: Stats, x: Any) -> tuple[Stats, Any]:
            loss, (stats, outputs) = forward(stats, *x)
            return stats, (loss, outputs)

        stats, (losses, outputs) = lax.scan(part, stats, (parts, keys))
        joined = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outputs)
        return jnp.mean(losses), (stats, joined)

    return whole
