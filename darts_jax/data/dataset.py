"""Sets of labelled images, held in memory in bytes."""

import abc
import dataclasses
import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from darts_jax.data.array_checks import check_images, check_labels, require_classes
from darts_jax.data.licences import USERS_OWN
from darts_jax.errors import InputError


class ImageSet(Protocol):
    """Interface of a set of images from which a network takes its input and classes."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> int: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def std(self) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class InMemory(abc.ABC):
    """Set whose training images lie in memory: shapes and statistics, words on it.

    Attributes:
      name: used in reports.
      class_names: the name of every label.
      note: what a reader of results on this set must know; shown beside them.
      licence: the terms under which the images may be used.
      statistics: mean and std in place of those of the training pixels.
    """

    name: str
    class_names: tuple[str, ...]
    note: str = ""
    licence: str = USERS_OWN
    statistics: tuple[np.ndarray, np.ndarray] | None = None

    @property
    @abc.abstractmethod
    def _pixels(self) -> np.ndarray:
        """The training images, uint8 [n, height, width, channel]."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self._pixels.shape[1:]
        return height, width, channels

    @property
    def mean(self) -> np.ndarray:
        """Mean of the training pixels in units of 0..1: float32 [channel]."""
        return self._statistics[0]

    @property
    def std(self) -> np.ndarray:
        """Deviation, like `mean`; 1 for a constant channel, so that one can divide."""
        return self._statistics[1]

    @property
    def train_size(self) -> int:
        """The number of training images."""
        return len(self._pixels)

    @functools.cached_property
    def _statistics(self) -> tuple[np.ndarray, np.ndarray]:
        return self.statistics or channel_statistics(self._pixels)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(InMemory):
    """Images and labels to train and to test on.

    Build it with `from_arrays`, which checks what this class takes for granted.

    Attributes:
      name: used in reports.
      train_images: uint8 [n, height, width, channel].
      train_labels: int32 [n], each in [0, classes).
      test_images: uint8, like ``train_images``.
      test_labels: int32, like ``train_labels``.
      class_names: the name of every label.
      note: what a reader of results on this set must know; shown beside them.
      licence: the terms under which the images may be used.
      statistics: mean and std in place of those of the training pixels.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def _pixels(self) -> np.ndarray:
        return self.train_images

    def with_test_half(self) -> "Dataset":
        """Returns data that train on the first half of the test images as well.

        `mean` and `std` are then those of both together.
        """
        half = len(self.test_labels) // 2
        return dataclasses.replace(
            self,
            train_images=np.concatenate([self.train_images, self.test_images[:half]]),
            train_labels=np.concatenate([self.train_labels, self.test_labels[:half]]),
        )

    def first(self, images: int) -> "Dataset":
        """Returns the set with the first images of either part.

        Args:
          images: number of images; a part with fewer keeps all.
        """
        return dataclasses.replace(
            self,
            train_images=self.train_images[:images],
            train_labels=self.train_labels[:images],
            test_images=self.test_images[:images],
            test_labels=self.test_labels[:images],
        )


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes mean and deviation of every channel in units of 0..1.

    Args:
      images: uint8 [n, height, width, channel].

    Returns:
      Two float32 [channel]; the deviation of a constant channel is 1, not 0.
    """
    # Histograms of chunks are exact and spare a float copy of the whole set.
    counts = np.zeros((images.shape[-1], 256))
    for start in range(0, len(images), 1024):
        chunk = images[start : start + 1024]
        for channel, count in enumerate(counts):
            count += np.bincount(chunk[..., channel].ravel(), minlength=256)
    weights = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    mean = weights @ levels
    std = np.sqrt((weights * (levels - mean[:, None]) ** 2).sum(axis=1))
    std[(counts > 0).sum(axis=1) == 1] = 1
    return mean.astype(np.float32), std.astype(np.float32)


def from_arrays(
    train_images: ArrayLike,
    train_labels: ArrayLike,
    test_images: ArrayLike,
    test_labels: ArrayLike,
    *,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
    note: str = "",
    licence: str = USERS_OWN,
) -> Dataset:
    """Returns a data set of arrays that are already in memory.

    Args:
      train_images: uint8 [n, height, width, channel], or [n, height, width] for
        gray images.
      train_labels: integers [n], or [n, 1], in [0, classes).
      test_images: like ``train_images``, of the same height, width and channels.
      test_labels: like ``train_labels``.
      name: of the data set, in records and messages.
      class_names: one for each class; by default the numbers from 0 to the largest
        training label, each of which must have images then. With names, a
        `DataWarning` names the classes without training images.
      note: what a reader of results on this set must know.
      licence: the terms under which the images may be used.

    Raises:
      InputError: an array has the wrong type, shape, length or range, or there are
        training images of one class alone.
    """
    train = check_images(train_images, f"{name}: train images")
    test = check_images(test_images, f"{name}: test images")
    if train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"{name}: train images are {train.shape[1:]} and test images "
            f"{test.shape[1:]}; both must have the same (height, width, channel)"
        )
    of_train = check_labels(train_labels, len(train), f"{name}: train labels")
    of_test = check_labels(test_labels, len(test), f"{name}: test labels")
    class_names = require_classes(of_train, of_test, class_names, name)
    return Dataset(
        name=name,
        train_images=train,
        train_labels=of_train.astype(np.int32),
        test_images=test,
        test_labels=of_test.astype(np.int32),
        class_names=tuple(str(class_name) for class_name in class_names),
        note=note,
        licence=licence,
    )
