"""Feeds of a stream: batches of some steps at a time; the next are read meanwhile."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Int

from darts_jax.data.random_crop import RandomCrop
from darts_jax.data.stream import (
    PADDING,
    Batch,
    Source,
    StreamedDataset,
    batches,
    require_grain,
)
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Chunks, Feed
from darts_jax.types import AnyArray, Examples


class Chunk(struct.PyTreeNode):
    """Batches of consecutive steps.

    Attributes:
      first: step of the epoch that the first batches are for.
      parts: batches of each part of the data set [step, batch, ...].
    """

    first: Int[AnyArray, ""]
    parts: tuple[Examples, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Streamed:
    """A set of images that is read as it is needed; a `Supply`.

    Attributes:
      dataset: sources of the images.
      seed: number that, with epoch and part, fixes the order.
      chunk: number of steps whose batches are put on the devices at once.
      workers: processes that decode; 0 for threads.
      crop_area: share of a training image that is cropped at random and scaled, at
        least; 1 for no such crop.
    """

    dataset: StreamedDataset
    seed: int
    chunk: int
    workers: int
    crop_area: float = 1.0

    @property
    def images(self) -> int:
        return len(self.dataset.train)

    def training(self, parts: Sequence[np.ndarray], size: int) -> Feed:
        source = self.dataset.train
        readers = [
            _Reader(
                source,
                rows,
                size,
                self._seed(part),
                self.workers,
                crop_area=self.crop_area,
            )
            for part, rows in enumerate(parts)
        ]
        return self._feed(readers)

    def held_out(self, rows: np.ndarray, size: int) -> Feed:
        return self._once(self.dataset.train, rows, size)

    def test(self, size: int) -> Feed:
        rows = np.arange(len(self.dataset.test))
        return self._once(self.dataset.test, rows, size)

    def _once(self, source: Source, rows: np.ndarray, size: int) -> Feed:
        reader = _Reader(source, rows, size, 0, self.workers, fill_last=True)
        return self._feed([reader])

    def _seed(self, part: int) -> int:
        words = np.random.SeedSequence([self.seed, seeds.SHUFFLE + part])
        return int(words.generate_state(1)[0])

    def _feed(self, readers: Sequence["_Reader"]) -> Feed:
        steps = readers[0].steps
        chunk = min(self.chunk, steps)
        shape = self.dataset.image_shape

        def open_(layout: Layout) -> Chunks:
            require_grain()
            share = layout.share()
            return lambda epoch, start: _read_ahead(
                _chunks(readers, layout, share, chunk, epoch, range(start, steps))
            )

        return Feed(
            count=sum(len(reader.rows) for reader in readers),
            unit="images",
            steps=steps,
            per_step=sum(reader.size for reader in readers),
            order=lambda key, epoch: (),
            batches=_batches_of_step,
            shapes=lambda layout: _chunk_shapes(readers, layout, chunk, shape),
            open=open_,
            ahead=1,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Reader:
    """A reader of one part of a pass over a stream."""

    source: Source
    rows: np.ndarray
    size: int
    seed: int
    workers: int
    fill_last: bool = False
    crop_area: float = 1.0

    @property
    def steps(self) -> int:
        whole, rest = divmod(len(self.rows), self.size)
        return whole + (self.fill_last and rest > 0)

    def read(
        self, epoch: int, start: int, share: tuple[int, int], ahead: int
    ) -> Iterator[Batch]:
        """Yields this process's share of the batches from ``start`` on, without end."""
        first_pass, start = divmod(start, self.steps)
        for pass_ in itertools.count(first_pass):
            yield from batches(
                self.source,
                seed=self.seed,
                epoch=epoch,
                start=start,
                batch_size=self.size,
                process_index=share[0],
                process_count=share[1],
                workers=self.workers,
                prefetch=ahead,
                rows=self.rows,
                fill_last=self.fill_last,
                crop=self._crop(epoch, pass_),
            )
            start = 0

    def _crop(self, epoch: int, pass_: int) -> RandomCrop | None:
        if self.crop_area == 1:
            return None
        return RandomCrop(self.crop_area, (self.seed, epoch, pass_))


def _chunk_shapes(
    readers: Sequence[_Reader], layout: Layout, chunk: int, shape: tuple[int, ...]
) -> Any:
    """Returns the shapes of a `Chunk`."""
    # Pages that nobody writes to take no memory.
    parts = tuple(
        Examples(
            np.empty((chunk, reader.size, *shape), np.uint8),
            np.empty((chunk, reader.size), np.int32),
        )
        for reader in readers
    )
    first = layout.whole_shapes(np.zeros((), np.int32))
    return Chunk(first, layout.step_shapes(parts))


def _batches_of_step(data: Chunk, order: Any, i: Any) -> Batches:
    del order  # It is that of reading.

    def step_of(leaf: Array) -> Array:
        return lax.dynamic_index_in_dim(leaf, i - data.first, keepdims=False)

    return jax.tree.map(step_of, data.parts)


def _chunks(
    readers: Sequence[_Reader],
    layout: Layout,
    share: tuple[int, int],
    chunk: int,
    epoch: int,
    steps: range,
) -> Iterator[tuple[int, Chunk]]:
    streams = [reader.read(epoch, steps.start, share, chunk) for reader in readers]
    for first in steps[::chunk]:
        stop = min(first + chunk, steps.stop)
        parts = tuple(
            layout.put_steps(
                _stack_batches(itertools.islice(stream, stop - first), chunk)
            )
            for stream in streams
        )
        yield stop, Chunk(np.asarray(first, np.int32), parts)


def _stack_batches(read: Iterator[Batch], chunk: int) -> Examples:
    """Stacks batches to [step, batch, ...]; the last chunk has the shape of all."""
    every = list(read)
    images = [batch[0] for batch in every]
    labels = [batch[1] for batch in every]
    lacking = chunk - len(every)
    images += [np.zeros_like(images[0])] * lacking
    labels += [np.full_like(labels[0], PADDING)] * lacking
    return Examples(np.stack(images), np.stack(labels))


def _read_ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Yields items; a thread makes the next while one is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
