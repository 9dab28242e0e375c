"""Perplexity of a text that is read from its beginning to its end."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from darts_jax.engine.job import Score
from darts_jax.engine.program import Examination
from darts_jax.models.language import HIDDEN, Reading
from darts_jax.tasks.language.criterion import sum_losses
from darts_jax.types import Metrics, Stats, Text

_LARGEST_LOSS = 700.0  # its exponential is finite in float64


def sum_text_losses(
    forward: Callable[[Any, Stats, Text], tuple[Reading, Stats]], batch: int
) -> Examination:
    """Makes the test that adds up the losses of a text, window after window.

    Hidden states are carried from one window to the next.

    Args:
      forward: (model, statistics with hidden states, window) -> outputs and new
        statistics.
      batch: rows of the text.

    Returns:
      The test; its sums are ``loss`` and ``count``.
    """

    def begin(model: Any) -> tuple[Stats, Metrics]:
        zero = jnp.zeros((), jnp.float32)
        return _with_blank_hidden(model.stats, batch), {"loss": zero, "count": zero}

    def examine(
        model: Any, carried: tuple[Stats, Metrics], text: Text, i: Any
    ) -> tuple[Stats, Metrics]:
        del i
        stats, sums = carried
        reading, stats = forward(model, stats, text)
        found = sum_losses(reading, text)
        return stats, {name: sums[name] + found[name] for name in sums}

    return Examination(begin, examine, lambda carried: carried[1])


def _with_blank_hidden(stats: Stats, batch: int) -> Stats:
    """Returns statistics with blank hidden states of another batch size."""

    def leaf(path: Any, value: Array) -> Array:
        return (
            jnp.zeros((batch, *value.shape[1:]), value.dtype)
            if path[-1].key == HIDDEN
            else value
        )

    return jax.tree_util.tree_map_with_path(leaf, stats)


def _mean_loss(sums: Any, count: int) -> float:
    del count  # It is that of all rows' tokens; the sums have those that were read.
    return sums["loss"] / sums["count"]


def _perplexity(sums: Any, count: int) -> float:
    return math.exp(min(_mean_loss(sums, count), _LARGEST_LOSS))


PERPLEXITY = Score(
    name="perplexity", compute=_perplexity, more_is_better=False, loss=_mean_loss
)
