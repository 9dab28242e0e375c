"""Images for networks: reading, parts of a search, feeds and augmentation."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from ml_collections import ConfigDict

from darts_jax.data.colour import Jitter
from darts_jax.data.dataset import KINDS, Dataset, ImageSet
from darts_jax.data.pipeline import (
    Augmentation,
    augment,
    augment_numbers,
    mix_up,
    split_train,
)
from darts_jax.data.reading import Reading, parse_size
from darts_jax.data.sources import load_dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Supply
from darts_jax.engine.resident_feed import Resident
from darts_jax.engine.streamed_feed import Streamed
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.types import Examples

Rows = Int[np.ndarray, " image"]


def load_images(config: ConfigDict) -> AnyDataset:
    """Loads the images of ``config.data``, whole or their beginning.

    Args:
      config: settings of a run.

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    return _load(config, _make_reading(config))


def load_numbered_images(config: ConfigDict) -> AnyDataset:
    """Loads the images of ``config.data`` whose labels are numbers to be predicted.

    Args:
      config: settings of a run.

    Raises:
      InputError: as `load_images`; or a label is no number.
    """
    return _load(config, dataclasses.replace(_make_reading(config), labels="numbers"))


def _load(config: ConfigDict, reading: Reading) -> AnyDataset:
    whole = load_dataset(config.data.name, config.data.directory, reading)
    return whole.first(config.data.images) if config.data.images else whole


def _make_reading(config: ConfigDict) -> Reading:
    """Returns the reading of what the space takes, if it takes images or the like."""
    reading = make_reading(config.data)
    space = get_space(config.space)
    return dataclasses.replace(reading, kind=KINDS[space.macro.axes])


def make_reading(settings: ConfigDict) -> Reading:
    """Returns the way in which image files are read.

    Args:
      settings: section ``data`` of the config.
    """
    return Reading(
        size=parse_size(settings.size),
        fit=settings.fit,
        channels=settings.channels,
        bits=settings.bits,
        background=settings.background,
        skip_unreadable=settings.skip_unreadable,
        short_side=settings.short_side,
        label=settings.label,
    )


def split_search_data(
    config: ConfigDict, dataset: AnyDataset
) -> tuple[AnyDataset, Rows, Rows]:
    """Splits images into a part that trains a search and a part that validates it.

    With ``search.validation=test`` the validation images are the first half of the test
    images (NAS-Bench-201's search on CIFAR-100 and ImageNet16-120), and all training
    images train.

    Args:
      config: settings of a run.
      dataset: images, in memory or as a stream.

    Returns:
      The data set whose training images both parts are of, and the numbers of the
      training and of the validation images in it, int32.

    Raises:
      InputError: test images of a stream are asked for.
    """
    settings = config.search
    if settings.validation == "train":
        images = min(settings.images or dataset.train_size, dataset.train_size)
        train, valid = split_train(images, settings.train_fraction)
        return dataset, train, valid
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"search.validation=test needs images in memory, and {dataset.name!r} is a "
            "stream; want train"
        )
    joined = dataset.with_test_half()
    rows = np.arange(joined.train_size, dtype=np.int32)
    images = settings.images or dataset.train_size
    return joined, rows[: dataset.train_size][:images], rows[dataset.train_size :]


def search_halves(config: ConfigDict, dataset: AnyDataset) -> Dataset:
    """Returns data that train on what trains a search, and test on what validates it.

    Args:
      config: settings of a run.
      dataset: images in memory.

    Raises:
      InputError: the images are a stream.
    """
    joined, train, valid = split_search_data(config, dataset)
    if not isinstance(joined, Dataset):
        raise InputError(
            f"what trains a search is a part of images in memory, and {dataset.name!r} "
            "is a stream; want data.name without stream:"
        )
    return dataclasses.replace(
        joined,
        train_images=joined.train_images[train],
        train_labels=joined.train_labels[train],
        test_images=joined.train_images[valid],
        test_labels=joined.train_labels[valid],
    )


def make_supply(
    dataset: AnyDataset, config: ConfigDict, settings: ConfigDict
) -> Supply:
    """Makes the feeds of a data set, whether it is in memory or a stream.

    Args:
      dataset: images by class. Those of a stream are cropped at random as they are
        decoded; those in memory on the device, by `make_preparation`.
      config: settings of a run.
      settings: section of the config with ``crop_area``.
    """
    if isinstance(dataset, Dataset):
        return Resident(dataset)
    return Streamed(
        dataset,
        config.seed,
        config.data.chunk,
        config.data.workers,
        settings.crop_area,
    )


def make_preparation(
    dataset: AnyDataset, settings: ConfigDict, layout: Layout
) -> Callable[[Array, Batches], Batches]:
    """Makes the function that augments and normalises batches on the device.

    Args:
      dataset: images, of which mean and deviation are read.
      settings: section of the config with ``pad``, ``flip``, ``cutout``,
        ``crop_area``, ``jitter`` and ``noise``.
      layout: devices that share a batch.

    Returns:
      (key of the step, stored batches) -> batches as the network sees them.

    Raises:
      InputError: a change of images is asked for, and the data are none.
    """
    _require_own_changes(dataset, settings)
    augmentation = Augmentation(
        settings.pad,
        settings.flip,
        settings.cutout,
        # Parts of a stream's images come cropped.
        settings.crop_area if isinstance(dataset, Dataset) else 1.0,
        Jitter(**settings.jitter),
        settings.noise,
    )
    change = _CHANGES[dataset.kind]
    mean = jnp.asarray(dataset.mean)
    std = jnp.asarray(dataset.std)

    def prepare_part(key: Array, part: int, stored: Examples) -> Examples:
        key = jax.random.fold_in(key, seeds.AUGMENT + part)
        batch = layout.spread(stored)
        images = change(key, batch.images, augmentation, mean, std)
        return Examples(images, batch.labels)

    def prepare(key: Array, stored: Batches) -> Batches:
        return tuple(prepare_part(key, part, b) for part, b in enumerate(stored))

    return prepare


def mix_images(
    prepare: Callable[[Array, Batches], Batches], alpha: float
) -> Callable[[Array, Batches], Batches]:
    """Returns a preparation after which images are mixed with others of their batch.

    Args:
      prepare: as `make_preparation` makes it, of one part.
      alpha: as of `mix_up`; 0: they are not mixed.
    """
    if not alpha:
        return prepare

    def prepare_and_mix(key: Array, stored: Batches) -> Batches:
        (batch,) = prepare(key, stored)
        return (mix_up(jax.random.fold_in(key, seeds.MIX), batch, alpha),)

    return prepare_and_mix


def normalize_images(dataset: ImageSet, images: Array, layout: Layout) -> Array:
    """Normalises stored images as the network sees them in a test.

    Args:
      dataset: images, of which mean and deviation are read.
      images: uint8 [batch, height, width, channel].
      layout: devices that share a batch.
    """
    images = layout.spread(images)
    mean = jnp.asarray(dataset.mean)
    std = jnp.asarray(dataset.std)
    change = _CHANGES[dataset.kind]
    return change(jax.random.key(0), images, Augmentation(), mean, std)


_CHANGES = {
    "images": augment,
    "signals": augment_numbers,
    "tables": augment_numbers,
}


def _require_own_changes(dataset: AnyDataset, settings: ConfigDict) -> None:
    """Refuses what mirrors, crops or colours images, where the data are none."""
    if dataset.kind == "images":
        return
    changes = {
        "flip": (settings.flip, False),
        "cutout": (settings.cutout, 0),
        "crop_area": (settings.crop_area, 1.0),
        **{f"jitter.{name}": (given, 0.0) for name, given in settings.jitter.items()},
    }
    if dataset.kind == "tables":
        changes["pad"] = (settings.pad, 0)
    asked = {name: off for name, (given, off) in changes.items() if given != off}
    if asked:
        wanted = ", ".join(f"{name}={off}" for name, off in asked.items())
        raise InputError(
            f"{', '.join(asked)} are changes of images, and data {dataset.name!r} are "
            f"{dataset.kind}: want {wanted} among the settings of data, or of retrain "
            "where that trains"
        )
