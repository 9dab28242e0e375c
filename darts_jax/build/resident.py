"""Feeds of a data set in memory: all of it lies on the devices, batches are rows."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from darts_jax.build import seeds
from darts_jax.build.feed import Batches, Chunks, Feed
from darts_jax.data.dataset import Dataset
from darts_jax.data.pipeline import batch_indices, shuffle
from darts_jax.data.stream import PADDING
from darts_jax.devices import Layout
from darts_jax.types import Examples


@dataclasses.dataclass(frozen=True, eq=False)
class Resident:
    """A data set that the devices hold; a `Supply`."""

    dataset: Dataset

    @property
    def images(self) -> int:
        return len(self.dataset.train_labels)

    def training(self, parts: Sequence[np.ndarray], size: int) -> Feed:
        counts = [len(rows) for rows in parts]

        def order(key: Array, epoch: Any) -> tuple[Array, ...]:
            return tuple(
                shuffle(seeds.folded(key, seeds.SHUFFLE + part), epoch, count)
                for part, count in enumerate(counts)
            )

        def batches(data: Any, order: Any, i: Any) -> Batches:
            return tuple(
                _rows(examples, batch_indices(rows, i % (count // size), size))
                for examples, rows, count in zip(data, order, counts, strict=True)
            )

        data = tuple(self._training_images(rows) for rows in parts)
        return _feed(data, counts[0] // size, order, batches)

    def held_out(self, rows: np.ndarray, size: int) -> Feed:
        return _once(self._training_images(rows), size)

    def test(self, size: int) -> Feed:
        dataset = self.dataset
        return _once(_examples(dataset.test_images, dataset.test_labels), size)

    def _training_images(self, rows: np.ndarray) -> Examples:
        images, labels = self.dataset.train_images, self.dataset.train_labels
        # A part that is all of them is no copy.
        if np.array_equal(rows, np.arange(len(labels))):
            return _examples(images, labels)
        return _examples(images[rows], labels[rows])


def _once(examples: Examples, size: int) -> Feed:
    """Every image once and in its place; the last batch is filled up with padding."""
    count = examples.labels.shape[0]

    def order(key: Array, epoch: Any) -> tuple[()]:
        del key, epoch
        return ()

    def batches(data: Any, order: Any, i: Any) -> Batches:
        del order
        rows = i * size + jnp.arange(size)
        batch = _rows(data[0], jnp.minimum(rows, count - 1))
        labels = jnp.where(rows < count, batch.labels, PADDING)
        return (Examples(batch.images, labels),)

    return _feed((examples,), -(-count // size), order, batches)


def _feed(
    data: tuple[Examples, ...],
    steps: int,
    order: Callable[[Array, Any], Any],
    batches: Callable[[Any, Any, Any], Batches],
) -> Feed:
    def open_(layout: Layout) -> Chunks:
        placed = layout.put(data)
        return lambda epoch, start: iter([(steps, placed)])

    return Feed(
        count=sum(part.labels.shape[0] for part in data),
        steps=steps,
        order=order,
        batches=batches,
        shapes=lambda layout: layout.whole_shapes(data),
        open=open_,
        ahead=0,
    )


def _rows(examples: Examples, rows: Array) -> Examples:
    return jax.tree.map(lambda leaf: leaf[rows], examples)


def _examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    return Examples(images, labels.astype(np.int32))
