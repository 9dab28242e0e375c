"""Feeds of a data set in memory: it lies on the devices whole, and batches are rows."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from darts_jax.data.dataset import Dataset
from darts_jax.data.pipeline import batch_indices, shuffle
from darts_jax.data.stream import PADDING
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Chunks, Feed
from darts_jax.types import Examples


@dataclasses.dataclass(frozen=True, eq=False)
class Resident:
    """A set of images that the devices hold; a `Supply`."""

    dataset: Dataset

    @property
    def images(self) -> int:
        return len(self.dataset.train_labels)

    def training(self, parts: Sequence[np.ndarray], size: int) -> Feed:
        return shuffled_feed([self._training_images(rows) for rows in parts], size)

    def held_out(self, rows: np.ndarray, size: int) -> Feed:
        return single_pass_feed(self._training_images(rows), size, _mark_padding)

    def test(self, size: int) -> Feed:
        dataset = self.dataset
        tests = _examples(dataset.test_images, dataset.test_labels)
        return single_pass_feed(tests, size, _mark_padding)

    def _training_images(self, rows: np.ndarray) -> Examples:
        images = self.dataset.train_images
        labels = self.dataset.train_labels
        # A part that is all of them is no copy.
        if np.array_equal(rows, np.arange(len(labels))):
            return _examples(images, labels)
        return _examples(images[rows], labels[rows])


def shuffled_feed(parts: Sequence[Any], size: int, unit: str = "images") -> Feed:
    """Returns batches of each part, in another order in every epoch.

    Args:
      parts: trees of arrays [example, ...]; the first fixes the steps.
      size: examples of a batch.
      unit: name of the examples.
    """
    data = tuple(parts)
    counts = [count_examples(part) for part in data]

    def order(key: Array, epoch: Any) -> tuple[Array, ...]:
        return tuple(
            shuffle(seeds.fold_stream(key, seeds.SHUFFLE + part), epoch, count)
            for part, count in enumerate(counts)
        )

    def batches(data: Any, order: Any, i: Any) -> Batches:
        return tuple(
            take_rows(examples, batch_indices(rows, i % (count // size), size))
            for examples, rows, count in zip(data, order, counts, strict=True)
        )

    return resident_feed(
        data,
        count=sum(counts),
        unit=unit,
        steps=counts[0] // size,
        per_step=len(data) * size,
        order=order,
        batches=batches,
    )


def single_pass_feed(
    examples: Any,
    size: int,
    mark_padding: Callable[[Any, Array], Any],
    unit: str = "images",
) -> Feed:
    """Returns every example once and in its place; the last batch is filled up.

    Args:
      examples: tree of arrays [example, ...].
      size: examples of a batch.
      mark_padding: (batch, bool [example]: False where an example only fills the batch
        up) -> the batch.
      unit: name of the examples.
    """
    count = count_examples(examples)

    def batches(data: Any, order: Any, i: Any) -> Batches:
        del order
        rows = i * size + jnp.arange(size)
        batch = take_rows(data[0], jnp.minimum(rows, count - 1))
        return (mark_padding(batch, rows < count),)

    return resident_feed(
        (examples,),
        count=count,
        unit=unit,
        steps=-(-count // size),
        per_step=size,
        order=lambda key, epoch: (),
        batches=batches,
    )


def resident_feed(
    data: tuple[Any, ...],
    *,
    count: int,
    unit: str,
    steps: int,
    per_step: int,
    order: Callable[[Array, Any], Any],
    batches: Callable[[Any, Any, Any], Batches],
) -> Feed:
    """Returns the feed of data that stay on the devices as one chunk.

    Args:
      data: parts of the data set, trees of host arrays.
      count: number of examples.
      unit: name of the examples.
      steps: length of a pass.
      per_step: examples that a step reads.
      order: (raw key, epoch) -> whatever fixes an epoch's batches.
      batches: (data, order, step of the epoch) -> batch of each part.
    """

    def open_(layout: Layout) -> Chunks:
        placed = layout.put(data)
        return lambda epoch, start: iter([(steps, placed)])

    return Feed(
        count=count,
        unit=unit,
        steps=steps,
        per_step=per_step,
        order=order,
        batches=batches,
        shapes=lambda layout: layout.whole_shapes(data),
        open=open_,
        ahead=0,
    )


def count_examples(examples: Any) -> int:
    """Returns the number of examples.

    Args:
      examples: tree of arrays [example, ...].
    """
    return int(jax.tree.leaves(examples)[0].shape[0])


def take_rows(examples: Any, rows: Any) -> Any:
    """Returns some examples.

    Args:
      examples: tree of arrays [example, ...].
      rows: their numbers.
    """
    return jax.tree.map(lambda leaf: leaf[rows], examples)


def _mark_padding(batch: Examples, is_real: Array) -> Examples:
    # Any finite number may be one to be predicted.
    is_number = jnp.issubdtype(batch.labels.dtype, jnp.floating)
    mark = jnp.nan if is_number else PADDING
    return Examples(batch.images, jnp.where(is_real, batch.labels, mark))


def _examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    is_number = labels.dtype.kind == "f"
    return Examples(images, labels.astype(np.float32 if is_number else np.int32))
