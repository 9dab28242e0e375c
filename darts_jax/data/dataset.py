"""Sets of labelled images, signals or rows of tables, held in memory.

A signal is an image of one row, and a row of a table an image of one pixel: all are
arrays [n, height, width, channel], of bytes for images and else of float32.
"""

import abc
import dataclasses
import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from darts_jax.data.array_checks import (
    check_images,
    check_labels,
    check_signals,
    check_targets,
    require_classes,
    require_spread,
)
from darts_jax.data.licences import USERS_OWN
from darts_jax.data.tables import encode_tables
from darts_jax.errors import InputError, unknown_name_error

KINDS = ("tables", "signals", "images")
"""Kinds of data, at the number of axes along which neighbours are neighbours."""

EXAMPLES = {
    "images": ("image", "images"),
    "signals": ("signal", "signals"),
    "tables": ("row", "rows"),
}
"""Kind of data -> one example, and several."""

STORED = {kind: "uint8" if kind == "images" else "float32" for kind in KINDS}
"""Kind of data -> type of its stored values."""


class ImageSet(Protocol):
    """Interface of a set of images from which a network takes its input and classes."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
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
    def kind(self) -> str:
        """A name of `KINDS`."""
        return "images"

    @property
    @abc.abstractmethod
    def _pixels(self) -> np.ndarray:
        """The training images, uint8 [n, height, width, channel]."""

    @property
    def classes(self) -> int:
        """The number of a network's outputs: 1 where a number is predicted."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self._pixels.shape[1:]
        return height, width, channels

    @property
    def mean(self) -> np.ndarray:
        """Mean of the training values: float32 [channel]; of bytes in units of 0..1."""
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
      train_images: uint8 [n, height, width, channel]; float32 [n, 1, length, channel]
        of signals, [n, 1, 1, column] of tables, where NaN is a missing number.
      train_labels: int32 [n], each in [0, classes); or float32 [n], numbers to be
        predicted.
      test_images: like ``train_images``.
      test_labels: like ``train_labels``.
      class_names: the name of every label; of numbers to be predicted, the one name of
        them all.
      note: what a reader of results on this set must know; shown beside them.
      licence: the terms under which the images may be used.
      statistics: mean and std in place of those of the training pixels.
      kind: a name of `KINDS`.
      columns: names of a table's columns, in the order of the channels.
      target_statistics: mean and deviation in place of those of the training labels,
        where these are numbers to be predicted.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    kind: str = "images"
    columns: tuple[str, ...] = ()
    target_statistics: tuple[float, float] | None = None

    @property
    def _pixels(self) -> np.ndarray:
        return self.train_images

    @property
    def has_numbers(self) -> bool:
        """True if labels are numbers to be predicted, and no classes."""
        return self.train_labels.dtype.kind == "f"

    @functools.cached_property
    def target_scale(self) -> tuple[float, float]:
        """Mean and deviation of the numbers to be predicted: of the training labels."""
        wide = self.train_labels.astype(np.float64)
        return self.target_statistics or (float(wide.mean()), float(wide.std()))

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
    """Computes mean and deviation of every channel, of bytes in units of 0..1.

    Args:
      images: uint8, or float32 where NaN is missing, [n, height, width, channel].

    Returns:
      Two float32 [channel]; the deviation of a constant channel is 1, not 0.
    """
    if images.dtype != np.uint8:
        return _number_statistics(images.reshape(-1, images.shape[-1]))
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


def _number_statistics(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation of numbers [n, channel] that are not missing."""
    known = ~np.isnan(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0).sum(axis=0, dtype=np.float64) / count
    deviations = np.where(known, rows - mean, 0)
    std = np.sqrt((deviations**2).sum(axis=0) / count)
    least = np.where(known, rows, np.inf).min(axis=0)
    most = np.where(known, rows, -np.inf).max(axis=0)
    std[least >= most] = 1
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
    kind: str = "images",
    columns: Sequence[str] | None = None,
    target: str = "",
) -> Dataset:
    """Returns a data set of arrays that are already in memory.

    Args:
      train_images: uint8 [n, height, width, channel], or [n, height, width] for
        gray images; signals: numbers [n, length, channel] or [n, length]; tables:
        numbers and words [n, column], see `encode_tables`.
      train_labels: integers [n], or [n, 1], in [0, classes); with ``target``, numbers.
      test_images: like ``train_images``, of the same height, width and channels.
      test_labels: like ``train_labels``.
      name: of the data set, in records and messages.
      class_names: one for each class; by default the numbers from 0 to the largest
        training label, each of which must have images then. With names, a
        `DataWarning` names the classes without training images.
      note: what a reader of results on this set must know.
      licence: the terms under which the images may be used.
      kind: a name of `KINDS`: what the arrays are.
      columns: names of a table's columns; None: their numbers.
      target: name of what labels are where they are numbers to be predicted, for
        ``task=regression``; empty: they are classes.

    Raises:
      InputError: an array has the wrong type, shape, length or range, or there are
        training images of one class, or of one number, alone.
    """
    named: tuple[str, ...] = ()
    if kind == "tables":
        train, test, named = encode_tables(train_images, test_images, name, columns)
    elif kind in _CHECKS:
        train = _CHECKS[kind](train_images, f"{name}: train {kind}")
        test = _CHECKS[kind](test_images, f"{name}: test {kind}")
    else:
        raise unknown_name_error("kind of data", kind, list(KINDS))
    if train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"{name}: train {kind} are {train.shape[1:]} and test {kind} "
            f"{test.shape[1:]}; both must have the same (height, width, channel)"
        )
    check = check_targets if target else check_labels
    of_train = check(train_labels, len(train), f"{name}: train labels")
    of_test = check(test_labels, len(test), f"{name}: test labels")
    if target:
        require_spread(of_train, name)
        class_names = [target]
    else:
        class_names = require_classes(of_train, of_test, class_names, name)
    return Dataset(
        name=name,
        train_images=train,
        train_labels=_as_labels(of_train),
        test_images=test,
        test_labels=_as_labels(of_test),
        class_names=tuple(str(class_name) for class_name in class_names),
        note=note,
        licence=licence,
        kind=kind,
        columns=named,
    )


def _as_labels(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.float32 if labels.dtype.kind == "f" else np.int32)


_CHECKS = {"images": check_images, "signals": check_signals}
