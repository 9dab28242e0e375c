"""Feeds of texts: rows of tokens on the devices, windows of them step after step."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Chunks, Feed
from darts_jax.types import Text

Rows = Int[np.ndarray, "row token"]
_SHORT = 0.05  # of windows that are half as long (Merity et al., 2018)
_LEAST = 5


@dataclasses.dataclass(frozen=True)
class Windows:
    """How long the windows are that a text is read by (Merity et al., 2018).

    Attributes:
      base: length of 95 % of them before they vary; the others' is half of it.
      jitter: standard deviation of the lengths around it; 0 for none.
      longest: bound of every length, which all arrays have.
    """

    base: int
    jitter: float
    longest: int

    @property
    def mean(self) -> float:
        return (1 - _SHORT) * self.base + _SHORT * (self.base // 2)

    def draw(self, key: Array, count: int) -> Int[Array, " window"]:
        """Lengths of so many windows; the key is consumed."""
        short, vary = jax.random.split(key)
        halved = jax.random.bernoulli(short, _SHORT, (count,))
        centre = jnp.where(halved, self.base // 2, self.base)
        noise = self.jitter * jax.random.normal(vary, (count,))
        least = min(_LEAST, self.base) if self.jitter else 1
        lengths = jnp.floor(centre + noise).astype(jnp.int32)
        return jnp.clip(lengths, least, self.longest)


def running(parts: Sequence[Rows], windows: Windows) -> Feed:
    """Texts of which every step reads a window of each, on from the one before.

    The number of windows of an epoch is fixed, and their lengths are drawn: an epoch
    leaves out as much of the end as others find nothing left there.
    """
    counts = [math.ceil((part.shape[1] - 1) / windows.mean) for part in parts]

    def order(key: Array, epoch: Any) -> tuple[Any, ...]:
        return tuple(
            _places(
                jax.random.fold_in(seeds.fold_stream(key, seeds.SHUFFLE + p), epoch), p
            )
            for p in range(len(parts))
        )

    def _places(key: Array, part: int) -> tuple[Array, Array]:
        total = parts[part].shape[1] - 1
        lengths = windows.draw(key, counts[part])
        ends = jnp.minimum(jnp.cumsum(lengths), total)
        starts = jnp.concatenate([jnp.zeros(1, ends.dtype), ends[:-1]])
        return starts, ends - starts

    def batches(data: Any, order: Any, i: Any) -> Batches:
        return tuple(
            _window(rows, starts[j], lengths[j], windows.longest, j == 0, p)
            for p, (rows, (starts, lengths)) in enumerate(zip(data, order, strict=True))
            for j in [i % counts[p]]
        )

    return _feed(parts, counts[0], windows.longest, order, batches)


def once(rows: Rows, length: int) -> Feed:
    """A text from its beginning to its end, by windows of one length."""
    total = rows.shape[1] - 1

    def order(key: Array, epoch: Any) -> tuple[()]:
        del key, epoch
        return ()

    def batches(data: Any, order: Any, i: Any) -> Batches:
        del order
        start = i * length
        there = jnp.minimum(length, total - start)
        return (_window(data[0], start, there, length, i == 0, 0),)

    return _feed([rows], math.ceil(total / length), length, order, batches)


def _window(
    rows: Array, start: Any, length: Any, longest: int, first: Any, stream: int
) -> Text:
    batch = rows.shape[0]
    zero = jnp.zeros((), jnp.int32)
    start = jnp.asarray(start, jnp.int32)
    some = lax.dynamic_slice(rows, (zero, start), (batch, longest + 1))
    present = jnp.arange(longest) < length
    return Text(
        tokens=some[:, :-1],
        targets=some[:, 1:],
        present=jnp.broadcast_to(present, (batch, longest)),
        fresh=jnp.broadcast_to(first, (batch,)),
        stream=jnp.full((batch,), stream, jnp.int32),
    )


def _feed(
    parts: Sequence[Rows], steps: int, longest: int, order: Any, batches: Any
) -> Feed:
    # A slice at the end reads on into nothing, or it would begin earlier.
    data = tuple(np.pad(part, ((0, 0), (0, longest + 1))) for part in parts)

    def open_(layout: Layout) -> Chunks:
        placed = layout.put(data)
        return lambda epoch, start: iter([(steps, placed)])

    return Feed(
        count=sum(part.shape[0] * (part.shape[1] - 1) for part in parts),
        steps=steps,
        order=order,
        batches=batches,
        shapes=lambda layout: layout.whole_shapes(data),
        open=open_,
        ahead=0,
    )
