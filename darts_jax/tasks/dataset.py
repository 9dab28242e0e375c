"""The data set that a config names, and which images of it a search sees."""

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from darts_jax.data.dataset import Dataset
from darts_jax.data.pipeline import split_train
from darts_jax.data.reading import Reading, parse_size
from darts_jax.data.sources import load_dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError

Rows = Int[np.ndarray, " image"]


def load_images(config: ConfigDict) -> AnyDataset:
    """The images of ``config.data``, whole or their beginning.

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    whole = load_dataset(
        config.data.name, config.data.directory, make_reading(config.data)
    )
    return whole.first(config.data.images) if config.data.images else whole


def make_reading(settings: ConfigDict) -> Reading:
    """Returns how images are read, by the settings of ``data``."""
    return Reading(
        size=parse_size(settings.size),
        fit=settings.fit,
        channels=settings.channels,
        bits=settings.bits,
        background=settings.background,
        skip_unreadable=settings.skip_unreadable,
    )


def split_search_data(
    config: ConfigDict, dataset: AnyDataset
) -> tuple[AnyDataset, Rows, Rows]:
    """A data set, and which of its training images train and validate a search.

    With ``search.validation=test`` the validation images are the first half of the test
    images (NAS-Bench-201's search on CIFAR-100 and ImageNet16-120), and all training
    images train.

    Raises:
      InputError: that is asked of a stream.
    """
    settings = config.search
    if settings.validation == "train":
        return dataset, *split_train(dataset.train_size, settings.train_fraction)
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"search.validation=test needs images in memory, and {dataset.name!r} is a "
            "stream; want train"
        )
    joined = dataset.with_test_half()
    rows = np.arange(joined.train_size, dtype=np.int32)
    return joined, rows[: dataset.train_size], rows[dataset.train_size :]
