"""From a data set to what a network sees of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from darts_jax.data.dataset import Dataset, ImageSet
from darts_jax.data.pipeline import Augmentation, augment
from darts_jax.data.stream import AnyDataset
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Supply
from darts_jax.engine.resident_feed import Resident
from darts_jax.engine.streamed_feed import Streamed
from darts_jax.types import Examples


def make_supply(dataset: AnyDataset, config: ConfigDict) -> Supply:
    """What feeds programs from a data set, wherever its images are."""
    if isinstance(dataset, Dataset):
        return Resident(dataset)
    settings = config.data
    return Streamed(dataset, config.seed, settings.chunk, settings.workers)


def make_preparation(
    dataset: AnyDataset, settings: ConfigDict, layout: Layout
) -> Callable[[Array, Batches], Batches]:
    """(key of the step, stored batches) -> the same as the network sees them."""
    augmentation = Augmentation(settings.pad, settings.flip, settings.cutout)
    mean, std = jnp.asarray(dataset.mean), jnp.asarray(dataset.std)

    def prepare_part(key: Array, part: int, stored: Examples) -> Examples:
        key = jax.random.fold_in(key, seeds.AUGMENT + part)
        batch = layout.spread(stored)
        images = augment(key, batch.images, augmentation, mean, std)
        return Examples(images, batch.labels)

    def prepare(key: Array, stored: Batches) -> Batches:
        return tuple(prepare_part(key, part, b) for part, b in enumerate(stored))

    return prepare


def normalize_images(dataset: ImageSet, images: Array, layout: Layout) -> Array:
    """Stored images as the network sees them in a test."""
    images = layout.spread(images)
    mean, std = jnp.asarray(dataset.mean), jnp.asarray(dataset.std)
    return augment(jax.random.key(0), images, Augmentation(), mean, std)
