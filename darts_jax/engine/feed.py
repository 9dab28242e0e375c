"""Batches for a program, from memory or from a stream.

A loop asks a `Feed` for the chunks of an epoch and hands each to the program, which
takes the batch of every step out of it. Data in memory are one chunk that stays on the
device; a stream is many, each read while the program runs on the one before.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Array

from darts_jax.engine.devices import Layout
from darts_jax.errors import InputError
from darts_jax.types import Batch

Chunks = Callable[[int, int], Iterator[tuple[int, Any]]]
"""(epoch, start) -> (stop, data) ..., data of the steps from the last stop to this."""

Batches = tuple[Batch, ...]
"""Stored data of one step: a batch of each part of the data set that it needs."""


@dataclasses.dataclass(frozen=True)
class Feed:
    """The steps of a pass over parts of a data set.

    Attributes:
      count: number of examples in all parts.
      unit: name of the examples, as "images".
      steps: length of a pass; a part with fewer batches begins anew.
      per_step: examples that a step reads, of all parts together.
      order: (raw key, epoch) -> whatever fixes an epoch's batches; inside the program.
      batches: (data, order, step of the epoch) -> `Batches`; inside the program.
      shapes: layout -> shapes of the data of one chunk, placed.
      open: layout -> chunks; what stays on the devices is put there.
      ahead: chunks on the devices beside the one that is in use.
    """

    count: int
    unit: str
    steps: int
    per_step: int
    order: Callable[[Array, Any], Any]
    batches: Callable[[Any, Any, Any], Batches]
    shapes: Callable[[Layout], Any]
    open: Callable[[Layout], Chunks]
    ahead: int


class Supply(Protocol):
    """A set of images as feeds."""

    @property
    def images(self) -> int:
        """Number of training images."""

    def training(self, parts: Sequence[np.ndarray], size: int) -> Feed:
        """Returns shuffled batches, one of each part a step.

        Args:
          parts: numbers of training images; the first part fixes the steps.
          size: images of a batch.
        """

    def held_out(self, rows: np.ndarray, size: int) -> Feed:
        """Returns some training images to test on, each once.

        Args:
          rows: their numbers.
          size: images of a batch.
        """

    def test(self, size: int) -> Feed:
        """Returns the test images, each once.

        Args:
          size: images of a batch.
        """


def require_whole_batch(size: int, count: int, what: str) -> None:
    """Refuses batches that are larger than an epoch.

    Args:
      size: images of a batch.
      count: images of an epoch.
      what: name of these images, for the error.

    Raises:
      InputError: there is no whole batch.
    """
    if size > count:
        raise InputError(f"batch_size {size} is larger than {what}, {count} images")
