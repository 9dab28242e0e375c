"""Sums over the pixels of every channel, of numbers that a kernel has made."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from darts_jax.kernels.gpu.tiles import Channels, Pixels, store_row


def store_deviations(
    ref: Any,
    edge: Any,
    tile: Any,
    pixels: Pixels,
    channels: Channels,
    numbers: Float[Array, "pixel channel"],
    origin: Float[Array, " channel"],
) -> None:
    """Writes sums of a tile's distances from an origin, and of their squares.

    Args:
      ref: to [edge, tile, sum * channel].
      edge: number of the edge.
      tile: number of the tile.
      pixels: of the tile.
      channels: of the tile.
      numbers: of the tile.
      origin: of every channel.
    """
    distance = jnp.where(pixels.inside[:, None], numbers - origin[None, :], 0)
    store_row(ref, edge, tile, 0, channels, jnp.sum(distance, 0))
    behind = ref.shape[-1] // 2
    store_row(ref, edge, tile, behind, channels, jnp.sum(distance * distance, 0))


def add_up_moments(
    sums: Float[Array, "edge tile sum"],
    guess: Float[Array, "edge 2 channel"],
    pixels: int,
) -> Float[Array, "edge 2 channel"]:
    """Returns mean and biased variance from the sums of all tiles.

    Args:
      sums: as `store_deviations` has written them, with the guessed means as origin.
      guess: of the moments.
      pixels: number of pixels of an edge.
    """
    mean, square = jnp.split(jnp.sum(sums, 1) / pixels, 2, axis=1)
    variance = jnp.maximum(square - jnp.square(mean), 0)
    moments = jnp.stack([guess[:, 0].astype(mean.dtype) + mean, variance], 1)
    return moments.astype(guess.dtype)
