"""A batch whose parts lie on several devices, as a network's layers see it.

A network may be mapped over parts of a batch (`jax.shard_map`, or `vmap`) by an axis of
the name `BATCH`. What a layer averages or draws over the images of a batch goes through
this module; then the network of the parts is that of the whole batch, to rounding.
Without such an axis the batch that a layer sees is the whole one.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from darts_jax.kernels import BN_EPSILON, Moments

BATCH = "batch"
"""Name of the axis over which parts of a batch are joined."""

DEVICE = "device"
"""Name of the axis over which each part is a batch by itself."""

BATCH_NORMS = {"global": BATCH, "device": DEVICE}
"""`batch_norm` -> name of the axis of devices that share a batch."""

_JOINED = "joined_moments"

keep_joined = jax.checkpoint_policies.save_only_these_names(_JOINED)
"""Policy of `jax.checkpoint` that computes all again but what devices have joined."""


def count_parts() -> int:
    """Returns the number of parts in which the batch is computed here."""
    try:
        return lax.axis_size(BATCH)
    except NameError:  # there is no such axis
        return 1


def mean_over_parts(value: Array) -> Array:
    """Returns the mean over all parts of the batch.

    Args:
      value: mean over one part.
    """
    return value if count_parts() == 1 else lax.pmean(value, BATCH)


def draw_for_images(
    draw: Callable[[tuple[int, ...]], Array], shape: tuple[int, ...]
) -> Array:
    """Returns random numbers of this part's images, out of those of the whole batch.

    Args:
      draw: shape -> numbers, the same in all parts.
      shape: of the part's numbers, images first.
    """
    parts = count_parts()
    if parts == 1:
        return draw(shape)
    images = shape[0]
    whole = draw((parts * images, *shape[1:]))
    return lax.dynamic_slice_in_dim(whole, lax.axis_index(BATCH) * images, images)


def standardize_jointly(
    x: Float[Array, "*pixel channel"],
    guess: Moments,
    weight: Float[Array, " channel"] | None,
) -> tuple[Float[Array, "*pixel channel"], Moments]:
    """Gives channels mean 0 and variance 1 over all parts, and multiplies by a weight.

    There is one message between devices, and one in the derivative.

    Args:
      x: images of this part.
      guess: of the moments; see `kernels.moments`.
      weight: factors of the channels; None: 1.

    Returns:
      The images, and mean and biased variance of the whole batch's channels.
    """
    origin = lax.stop_gradient(guess[0])
    pixels = tuple(range(x.ndim - 1))
    shifted = x - origin
    of_part = jnp.stack([jnp.mean(shifted, pixels), jnp.mean(shifted**2, pixels)])
    mean, square = checkpoint_name(lax.pmean(of_part, BATCH), _JOINED)
    variance = square - mean**2
    variance = jnp.where(variance < 0, 0, variance)
    factor = lax.rsqrt(variance + BN_EPSILON)
    factor = factor if weight is None else factor * weight
    moments = lax.stop_gradient(jnp.stack([mean + origin, variance]))
    return (shifted - mean) * factor, moments
