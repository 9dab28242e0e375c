"""Conversion of stored values to batches, inside the compiled program.

Every random number comes from a key that is an argument, so a step that is repeated
sees the same pixels.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

from darts_jax.data.colour import NO_JITTER, Jitter, jitter_colours
from darts_jax.data.random_crop import TRIES, choose_box
from darts_jax.errors import InputError
from darts_jax.types import Examples, Partners, Scenes

Images = UInt[Array, "batch height width channel"]
Pixels = Float[Array, "batch height width channel"]
Channels = Float[Array, " channel"] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; by default none.

    Attributes:
      pad: number of black pixels added on each side before a random crop.
      flip: mirror left and right with probability 1/2.
      cutout: side of a square that is set to zero after normalization, its centre
        uniform over the image, clipped at the border (DeVries & Taylor, 2017).
      crop_area: least share of an image that is cropped at random and scaled to the
        image's size, as `choose_box` chooses it; 1: no such crop.
      jitter: changes of colour.
      noise: deviation of normal noise that is added after normalization.
    """

    pad: int = 0
    flip: bool = False
    cutout: int = 0
    crop_area: float = 1.0
    jitter: Jitter = NO_JITTER
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pad", "cutout", "noise"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"augmentation {name}={getattr(self, name)} must be 0 (off) or more"
                )
        if not 0 < self.crop_area <= 1:
            raise InputError(
                f"augmentation crop_area={self.crop_area} must be above 0, and 1 (off) "
                "at most"
            )


def normalize(images: Images | Pixels, mean: Channels, std: Channels) -> Pixels:
    """Scales levels of 0 to 255 to float32 of mean 0 and deviation 1.

    Args:
      images: levels, uint8 or float32 [batch, height, width, channel].
      mean: [channel], in units of 0..1.
      std: [channel], in units of 0..1.

    Returns:
      float32 [batch, height, width, channel].
    """
    scale = 1 / (255 * jnp.asarray(std, jnp.float32))
    shift = jnp.asarray(mean, jnp.float32) / jnp.asarray(std, jnp.float32)
    return images.astype(jnp.float32) * scale - shift


def standardize(numbers: Pixels, mean: Channels, std: Channels) -> Pixels:
    """Scales numbers to mean 0 and deviation 1; a missing one, NaN, becomes 0.

    Args:
      numbers: float32 [batch, height, width, channel].
      mean: [channel].
      std: [channel].

    Returns:
      float32 like ``numbers``.
    """
    scaled = (numbers - jnp.asarray(mean)) / jnp.asarray(std)
    return jnp.where(jnp.isnan(numbers), 0, scaled)


def augment_numbers(
    key: PRNGKeyArray,
    numbers: Pixels,
    augmentation: Augmentation,
    mean: Channels,
    std: Channels,
) -> Pixels:
    """Standardizes signals or rows of tables, shifts them and adds noise.

    A signal is shifted by a number of steps that is uniform from ``-pad`` to ``pad``,
    each by its own draw; steps that nothing is shifted to are 0, the mean.

    Args:
      key: consumed.
      numbers: float32 [batch, 1, length, channel], of a table of length 1.
      augmentation: the changes, of which ``pad`` and ``noise`` count.
      mean: [channel].
      std: [channel].

    Returns:
      float32 like ``numbers``.
    """
    crop_key, noise_key = jax.random.split(key)
    values = standardize(numbers, mean, std)
    if augmentation.pad:
        values = _crop(crop_key, values, augmentation.pad, rows=0)
    return _add_noise(noise_key, values, augmentation.noise)


def augment(
    key: PRNGKeyArray,
    images: Images,
    augmentation: Augmentation,
    mean: Channels,
    std: Channels,
) -> Pixels:
    """Crops, mirrors, colours, normalizes and cuts out, each image by its own draw.

    Cropping pads the bytes with black before normalization, as published.

    Args:
      key: consumed.
      images: uint8 [batch, height, width, channel].
      augmentation: the changes.
      mean: [channel], in units of 0..1.
      std: [channel], in units of 0..1.

    Returns:
      float32 [batch, height, width, channel].
    """
    crop_key, flip_key, cutout_key = jax.random.split(key, 3)
    if augmentation.crop_area < 1:
        box_key = jax.random.fold_in(key, 3)
        images = _crop_and_scale(box_key, images, augmentation.crop_area)
    if augmentation.pad:
        images = _crop(crop_key, images, augmentation.pad, augmentation.pad)
    if augmentation.flip:
        mirrored = jax.random.bernoulli(flip_key, shape=(len(images), 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    if augmentation.jitter.is_on:
        jitter_key = jax.random.fold_in(key, 4)
        images = jitter_colours(jitter_key, images, augmentation.jitter)
    pixels = normalize(images, mean, std)
    if augmentation.cutout:
        hole = _squares(cutout_key, pixels.shape, augmentation.cutout)
        pixels = jnp.where(hole, 0, pixels)
    return _add_noise(jax.random.fold_in(key, 5), pixels, augmentation.noise)


def mix_up(key: PRNGKeyArray, batch: Examples, alpha: float) -> Examples:
    """Mixes every image with another of its batch (Zhang et al., 2018).

    ``share * x + (1 - share) * x'`` for one share of the whole batch, drawn from
    Beta(alpha, alpha), and x' in the order of a random permutation, as in the authors'
    code.

    Args:
      key: consumed.
      batch: images as the network takes them.
      alpha: above 0.

    Returns:
      The batch with mixed images and their partners.
    """
    share_key, order_key = jax.random.split(key)
    share = jax.random.beta(share_key, alpha, alpha)
    order = jax.random.permutation(order_key, len(batch.labels))
    return batch.replace(
        images=share * batch.images + (1 - share) * batch.images[order],
        partners=Partners(batch.labels[order], jnp.full(len(order), share)),
    )


def mirror(key: PRNGKeyArray, scenes: Scenes) -> Scenes:
    """Mirrors each scene left and right with probability 1/2, and its boxes.

    Args:
      key: consumed.
      scenes: a batch of scenes.

    Returns:
      Scenes of the same shapes.
    """
    chosen = jax.random.bernoulli(key, shape=(len(scenes.images), 1, 1))
    width = scenes.images.shape[2]
    left, top, right, bottom = jnp.moveaxis(jnp.asarray(scenes.boxes), -1, 0)
    turned = jnp.stack([width - right, top, width - left, bottom], -1)
    images = jnp.asarray(scenes.images)
    return scenes.replace(
        images=jnp.where(chosen[..., None], images[:, :, ::-1], images),
        boxes=jnp.where(chosen, turned, scenes.boxes),
    )


def shuffle(key: PRNGKeyArray, epoch: Any, size: int) -> Int[Array, " size"]:
    """Returns the order of an epoch: a permutation of 0..size-1, int32.

    Args:
      key: the key of the run; the epoch is folded in.
      epoch: number of the epoch, from 0; may be traced.
      size: number of images.
    """
    order = jnp.arange(size, dtype=jnp.int32)
    return jax.random.permutation(jax.random.fold_in(key, epoch), order)


def batch_indices(
    permutation: Int[Array, " size"], step_in_epoch: Any, batch_size: int
) -> Int[Array, " batch"]:
    """Returns the numbers of the images of one step.

    Args:
      permutation: order of the epoch, int32 [size].
      step_in_epoch: an integer, may be traced; below ``size // batch_size``, so the
        images that fill no batch are left out of this epoch.

      batch_size: number of images of a step.

    Raises:
      InputError: there are fewer images than a batch takes.
    """
    if batch_size > len(permutation):
        raise InputError(
            f"batch size {batch_size} is more than the {len(permutation)} images"
        )
    start = step_in_epoch * batch_size
    return jax.lax.dynamic_slice_in_dim(permutation, start, batch_size)


def split_train(
    labels_or_size: np.ndarray | int, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Splits training data for a search: first part and last part, as published.

    Args:
      labels_or_size: the labels [n], or n.
      fraction: of the images that the weights are trained on.

    Returns:
      int32 indices of the images to train and to validate on.

    Raises:
      InputError: one part would be empty.
    """
    size = int(np.size(labels_or_size) if np.ndim(labels_or_size) else labels_or_size)
    first = int(size * fraction)
    if not 0 < first < size:
        raise InputError(
            f"a train fraction of {fraction} splits {size} images into {first} and "
            f"{size - first}; both parts must hold some, as 0.5 would give"
        )
    indices = np.arange(size, dtype=np.int32)
    return indices[:first], indices[first:]


def _add_noise(key: PRNGKeyArray, values: Pixels, deviation: float) -> Pixels:
    if not deviation:
        return values
    return values + deviation * jax.random.normal(key, values.shape)


def _crop(key: PRNGKeyArray, images: Array, pad: int, rows: int) -> Array:
    """Returns images at random offsets in themselves, padded with zeros.

    Args:
      pad: columns on either side.
      rows: above and below: as many, or 0, where a slice can't but begin at row 0.
    """
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * pad + 1)
    padded = jnp.pad(images, ((0, 0), (rows, rows), (pad, pad), (0, 0)))
    zero = jnp.zeros((), offsets.dtype)

    def crop(image: Array, offset: Array) -> Array:
        return jax.lax.dynamic_slice(
            image, (offset[0], offset[1], zero), images.shape[1:]
        )

    return jax.vmap(crop)(padded, offsets)


def _crop_and_scale(key: PRNGKeyArray, images: Images, least_area: float) -> Images:
    """Returns random parts of images, scaled to their size as Pillow does: bilinearly.

    A row of the result is a mean of rows of the part, by weights that fall linearly
    with the distance; likewise a column.
    """
    _, height, width, _ = images.shape

    def crop(key: PRNGKeyArray, image: Array) -> Array:
        draws = jax.random.uniform(key, (TRIES, 4))
        box = choose_box(draws, height, width, least_area)
        down = _scaling_weights(box.top, box.height, height)
        across = _scaling_weights(box.left, box.width, width)
        exact = jax.lax.Precision.HIGHEST  # fewer bits would move bytes
        scaled = jnp.einsum("oh,hwc,pw->opc", down, image, across, precision=exact)
        return jnp.round(scaled).astype(jnp.uint8)

    keys = jax.random.split(key, len(images))
    return jax.vmap(crop)(keys, images.astype(jnp.float32))


def _scaling_weights(start: Array, length: Array, size: int) -> Float[Array, "out in"]:
    """Returns weights of the pixels of a line in those that a part is scaled to.

    Args:
      start: of the part.
      length: of the part in pixels.
      size: of the line and of its scaled part.
    """
    middles_in = jnp.arange(size, dtype=jnp.float32) + 0.5
    scale = length.astype(jnp.float32) / size
    middles_out = start.astype(jnp.float32) + middles_in * scale
    distance = jnp.abs(middles_in - middles_out[:, None]) / jnp.maximum(scale, 1)
    places = jnp.arange(size)
    inside = (places >= start) & (places < start + length)
    weights = jnp.where(inside, jnp.maximum(1 - distance, 0), 0)
    return weights / weights.sum(1, keepdims=True)


def _squares(
    key: PRNGKeyArray, shape: tuple[int, ...], side: int
) -> Bool[Array, "batch height width 1"]:
    batch, height, width, _ = shape
    centres = jax.random.randint(key, (batch, 2), 0, jnp.array([height, width]))
    starts = centres[:, None, None, None] - side // 2
    rows = jnp.arange(height)[:, None, None] - starts[..., 0]
    columns = jnp.arange(width)[None, :, None] - starts[..., 1]
    return (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
