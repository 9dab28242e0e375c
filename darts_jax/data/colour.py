"""Changes of brightness, contrast, saturation and hue, as PyTorch's vision library.

Functions of dm-pix have the same names and other meanings: brightness is added,
contrast is that of each channel, and saturation that of HSV.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt

from darts_jax.data.stream import GRAY_WEIGHTS
from darts_jax.errors import InputError

Levels = Float[Array, "batch height width channel"]
"""Pixels in the units of their bytes, 0 to 255."""

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Ranges of random changes of colour; by default none.

    Attributes:
      brightness: b; levels are multiplied by a factor in [max(0, 1 - b), 1 + b].
      contrast: likewise, of differences from the image's mean gray.
      saturation: likewise, of differences from each pixel's own gray.
      hue: h, at most 1/2; the hue in [0, 1) is moved by a number in [-h, h].
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        wrong = [name for name, width in vars(self).items() if width < 0]
        if wrong:
            raise InputError(
                f"jitter {wrong[0]}={vars(self)[wrong[0]]} must be 0 (off) or more"
            )
        if self.hue > 0.5:
            raise InputError(f"jitter hue={self.hue} must be 0.5 (all hues) or less")

    @property
    def is_on(self) -> bool:
        """Says whether any colour changes."""
        return any(vars(self).values())


NO_JITTER = Jitter()


def jitter_colours(
    key: PRNGKeyArray,
    images: UInt[Array, "batch height width channel"] | Levels,
    jitter: Jitter,
) -> Levels:
    """Changes the colours of every image by its own draw, in an order of its own.

    As published the levels are cut to 0..255 after each change; unlike Pillow's bytes
    they are not rounded. Gray images have neither saturation nor hue.

    Args:
      key: consumed.
      images: bytes, or their levels, gray or RGB.
      jitter: the ranges.

    Returns:
      float32 of the shape of ``images``.

    Raises:
      InputError: images that are neither gray nor RGB.
    """
    if images.shape[-1] not in (1, 3):
        raise InputError(
            f"jitter is for gray and RGB images; these have {images.shape[-1]} channels"
        )
    factor_key, order_key = jax.random.split(key)
    widths = (jitter.brightness, jitter.contrast, jitter.saturation)
    low = jnp.array([*(max(0.0, 1 - width) for width in widths), -jitter.hue])
    high = jnp.array([*(1 + width for width in widths), jitter.hue])
    shape = (len(images), len(low))
    factors = jax.random.uniform(factor_key, shape, minval=low, maxval=high)
    order = jnp.argsort(jax.random.uniform(order_key, shape), axis=1)

    def change(levels: Levels, kind: Int[Array, " batch"]) -> tuple[Levels, None]:
        factor = jnp.take_along_axis(factors, kind[:, None], axis=1)[:, :, None, None]
        kind = kind[:, None, None, None]
        changed = blend(levels, kind, factor)
        if jitter.hue and levels.shape[-1] == 3:
            changed = jnp.where(kind == _HUE, turn_hue(levels, factor), changed)
        return changed, None

    levels, _ = jax.lax.scan(change, images.astype(jnp.float32), order.T)
    return levels


def blend(levels: Levels, kind: Array, factor: Array) -> Levels:
    """Moves levels from black, from the image's mean gray or from the pixel's gray.

    That is how Pillow changes brightness, contrast and saturation (its "color").

    Args:
      levels: float32 [batch, height, width, channel].
      kind: number of the change [batch, 1, 1, 1]; of the hue none is made.
      factor: of the differences [batch, 1, 1, 1].

    Returns:
      Levels cut to 0..255.
    """
    gray = levels
    if levels.shape[-1] == 3:
        weights = jnp.asarray(GRAY_WEIGHTS, levels.dtype)
        gray = jnp.sum(levels * weights, -1, keepdims=True)
    base = jnp.where(kind == _CONTRAST, gray.mean((1, 2), keepdims=True), gray)
    base = jnp.where(kind == _BRIGHTNESS, 0, base)
    moved = jnp.clip(base + factor * (levels - base), 0, 255)
    return jnp.where(kind == _HUE, levels, moved)


def turn_hue(levels: Levels, turn: Array) -> Levels:
    """Turns the hue of every pixel, and keeps its value and saturation of HSV.

    Args:
      levels: RGB, float32 [batch, height, width, 3].
      turn: number to add to the hue, which 1 leaves as it is; [batch, 1, 1, 1].

    Returns:
      Levels in 0..255.
    """
    value = levels.max(-1, keepdims=True)
    chroma = value - levels.min(-1, keepdims=True)
    red, green, blue = jnp.split(levels, 3, -1)
    sector = jnp.where(
        value == red,
        green - blue,
        jnp.where(value == green, blue - red, red - green),
    ) / jnp.maximum(chroma, 1e-6)
    start = jnp.where(value == red, 0.0, jnp.where(value == green, 2.0, 4.0))
    # A channel is full two sectors around its own, and falls within one beside these.
    distance = jnp.array([5.0, 3.0, 1.0]) + start + sector + 6 * turn
    distance = distance % 6
    return value - chroma * jnp.clip(jnp.minimum(distance, 4 - distance), 0, 1)
