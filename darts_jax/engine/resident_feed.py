"""Feeds of a data set in memory: all of it lies on the devices, batches are rows."""

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
    """A data set that the devices hold; a `Supply`."""

    dataset: Dataset

    @property
    def images(self) -> int:
        return len(self.dataset.train_labels)

    def training(self, parts: Sequence[np.ndarray], size: int) -> Feed:
        return shuffled([self._training_images(rows) for rows in parts], size)

    def held_out(self, rows: np.ndarray, size: int) -> Feed:
        return once(self._training_images(rows), size, _padded)

    def test(self, size: int) -> Feed:
        dataset = self.dataset
        tests = _examples(dataset.test_images, dataset.test_labels)
        return once(tests, size, _padded)

    def _training_images(self, rows: np.ndarray) -> Examples:
        images, labels = self.dataset.train_images, self.dataset.train_labels
        # A part that is all of them is no copy.
        if np.array_equal(rows, np.arange(len(labels))):
            return _examples(images, labels)
        return _examples(images[rows], labels[rows])


def shuffled(parts: Sequence[Any], size: int) -> Feed:
    """Batches of each part, a tree of arrays [example, ...], anew in every epoch."""
    data = tuple(parts)
    counts = [count_of(part) for part in data]

    def order(key: Array, epoch: Any) -> tuple[Array, ...]:
        return tuple(
            shuffle(seeds.fold_stream(key, seeds.SHUFFLE + part), epoch, count)
            for part, count in enumerate(counts)
        )

    def batches(data: Any, order: Any, i: Any) -> Batches:
        return tuple(
            rows_of(examples, batch_indices(rows, i % (count // size), size))
            for examples, rows, count in zip(data, order, counts, strict=True)
        )

    return _feed(data, counts[0] // size, order, batches)


def once(examples: Any, size: int, padded: Callable[[Any, Array], Any]) -> Feed:
    """Every example once and in its place; the last batch is filled up.

    Args:
      padded: (batch, which of it are examples) -> the batch.
    """
    count = count_of(examples)

    def order(key: Array, epoch: Any) -> tuple[()]:
        del key, epoch
        return ()

    def batches(data: Any, order: Any, i: Any) -> Batches:
        del order
        rows = i * size + jnp.arange(size)
        batch = rows_of(data[0], jnp.minimum(rows, count - 1))
        return (padded(batch, rows < count),)

    return _feed((examples,), -(-count // size), order, batches)


def count_of(examples: Any) -> int:
    """How many examples a tree of arrays [example, ...] has."""
    return int(jax.tree.leaves(examples)[0].shape[0])


def rows_of(examples: Any, rows: Any) -> Any:
    """Some of them."""
    return jax.tree.map(lambda leaf: leaf[rows], examples)


def _padded(batch: Examples, real: Array) -> Examples:
    return Examples(batch.images, jnp.where(real, batch.labels, PADDING))


def _feed(
    data: tuple[Any, ...],
    steps: int,
    order: Callable[[Array, Any], Any],
    batches: Callable[[Any, Any, Any], Batches],
) -> Feed:
    def open_(layout: Layout) -> Chunks:
        placed = layout.put(data)
        return lambda epoch, start: iter([(steps, placed)])

    return Feed(
        count=sum(map(count_of, data)),
        steps=steps,
        order=order,
        batches=batches,
        shapes=lambda layout: layout.whole_shapes(data),
        open=open_,
        ahead=0,
    )


def _examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    return Examples(images, labels.astype(np.int32))
