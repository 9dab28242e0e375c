"""How a program comes by its batches, wherever the data lie.

A loop asks for `Chunks` of an epoch and hands each to the program, which takes the
batch of every step out of it. Data in memory are one chunk that stays on the device;
a stream is many, each read while the program runs on the one before.
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
      count: of the examples of all parts.
      steps: of a pass; a part with fewer batches begins anew.
      order: (raw key, epoch) -> what fixes an epoch's batches; inside the program.
      batches: (data, order, step of the epoch) -> `Batches`; inside the program.
      shapes: layout -> of the data of one chunk, placed.
      open: layout -> chunks; what stays on the devices is put there.
      ahead: chunks on the devices beside the one that is in use.
    """

    count: int
    steps: int
    order: Callable[[Array, Any], Any]
    batches: Callable[[Any, Any, Any], Batches]
    shapes: Callable[[Layout], Any]
    open: Callable[[Layout], Chunks]
    ahead: int

    @property
    def images(self) -> int:
        """The count, where examples are images."""
        return self.count


class Supply(Protocol):
    """A set of images as feeds."""

    @property
    def images(self) -> int:
        """To train on."""

    def training(self, parts: Sequence[np.ndarray], size: int) -> Feed:
        """Shuffled batches of ``size``, of each part one.

        Args:
          parts: numbers of training images; the first part fixes the steps.
        """

    def held_out(self, rows: np.ndarray, size: int) -> Feed:
        """Training images to test on, each once."""

    def test(self, size: int) -> Feed:
        """The test images, each once."""


def whole_batches(size: int, count: int, what: str) -> int:
    """Batches of an epoch; raises InputError where there is none."""
    if size > count:
        raise InputError(f"batch_size {size} is larger than {what}, {count} images")
    return count // size
