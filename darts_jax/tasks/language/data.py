"""Texts for networks: rows of tokens on the devices, read window after window."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int
from ml_collections import ConfigDict

from darts_jax.data.sources import find_data_directory
from darts_jax.data.text import Corpus, load_text
from darts_jax.engine import seeds
from darts_jax.engine.feed import Batches, Feed
from darts_jax.engine.resident_feed import resident_feed
from darts_jax.types import Text

Rows = Int[np.ndarray, "row token"]
_SHORT = 0.05  # share of windows that are half as long (Merity et al., 2018)
_LEAST = 5


@dataclasses.dataclass(frozen=True)
class Windows:
    """Random lengths of the windows by which a text is read (Merity et al., 2018).

    Attributes:
      base: length, in tokens, of 95 % of them before they vary; that of the others is
        half of it.
      jitter: standard deviation of the lengths around it; 0 for none.
      longest: bound of every length; all arrays have this length.
    """

    base: int
    jitter: float
    longest: int

    @classmethod
    def from_config(cls, config: ConfigDict, jitter: float) -> Self:
        """Returns the windows of a run's text.

        Args:
          config: settings of the run.
          jitter: of the network that reads.
        """
        base = config.language.window
        longest = base + (config.language.longer if jitter else 0)
        return cls(base, jitter, longest)

    @property
    def mean(self) -> float:
        """Mean length before it varies, in tokens."""
        return (1 - _SHORT) * self.base + _SHORT * (self.base // 2)

    def draw(self, key: Array, count: int) -> Int[Array, " window"]:
        """Draws the lengths of ``count`` windows; the key is consumed."""
        short, vary = jax.random.split(key)
        halved = jax.random.bernoulli(short, _SHORT, (count,))
        centre = jnp.where(halved, self.base // 2, self.base)
        noise = self.jitter * jax.random.normal(vary, (count,))
        least = min(_LEAST, self.base) if self.jitter else 1
        lengths = jnp.floor(centre + noise).astype(jnp.int32)
        return jnp.clip(lengths, least, self.longest)


def load_corpus(config: ConfigDict) -> Corpus:
    """Loads the text that a config names, whole or its beginning.

    Args:
      config: settings of a run.

    Raises:
      InputError: the name is unknown, or the text is missing or damaged.
    """
    settings = config.language
    corpus = load_text(
        config.data.name,
        find_data_directory(config.data.directory),
        settings.valid_fraction,
        settings.test_fraction,
    )
    return corpus.first(settings.tokens, settings.held_out)


def window_feed(parts: Sequence[Rows], windows: Windows) -> Feed:
    """Returns windows of texts; those of a step follow those of the step before.

    The number of windows of an epoch is fixed, and their lengths are drawn. So some
    epochs leave out the end of a text, and others have empty windows there.

    Args:
      parts: texts, int32 [row, token]; the first fixes the steps.
      windows: distribution of the windows' lengths.
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

    return resident_feed(
        _pad_ends(parts, windows.longest),
        count=_count_tokens(parts),
        unit="tokens",
        steps=counts[0],
        per_step=round(len(parts) * parts[0].shape[0] * windows.mean),
        order=order,
        batches=batches,
    )


def text_feed(rows: Rows, length: int) -> Feed:
    """Returns a text from its beginning to its end, by windows of one length.

    Args:
      rows: the text, int32 [row, token].
      length: tokens of a window.
    """
    total = rows.shape[1] - 1

    def batches(data: Any, order: Any, i: Any) -> Batches:
        del order
        start = i * length
        there = jnp.minimum(length, total - start)
        return (_window(data[0], start, there, length, i == 0, 0),)

    return resident_feed(
        _pad_ends([rows], length),
        count=_count_tokens([rows]),
        unit="tokens",
        steps=math.ceil(total / length),
        per_step=rows.shape[0] * length,
        order=lambda key, epoch: (),
        batches=batches,
    )


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


def _pad_ends(parts: Sequence[Rows], longest: int) -> tuple[Rows, ...]:
    # A slice at the end reads on into nothing, or it would begin earlier.
    return tuple(np.pad(part, ((0, 0), (0, longest + 1))) for part in parts)


def _count_tokens(parts: Sequence[Rows]) -> int:
    return sum(part.shape[0] * (part.shape[1] - 1) for part in parts)
