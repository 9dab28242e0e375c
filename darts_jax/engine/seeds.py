"""Streams of random numbers that the seed of a run is split into."""

from typing import Any

import jax
from jaxtyping import Array, PRNGKeyArray

# The number of each stream, which is folded into its key. A job of several parts of a
# data set counts on from SHUFFLE and AUGMENT, a number for each part.
INIT, ALPHA, STEPS, SHUFFLE = range(4)
MIX = 91
AUGMENT = 101


def stream_key(seed: Any, stream: int) -> PRNGKeyArray:
    """Returns the key of one stream.

    Args:
      seed: of the run, int32.
      stream: number of the stream.
    """
    return jax.random.fold_in(jax.random.key(seed), stream)


def raw_stream_key(seed: Any, stream: int) -> Array:
    """Returns the key of one stream as raw uint32 data, as a state holds it.

    Args:
      seed: of the run, int32.
      stream: number of the stream.
    """
    return jax.random.key_data(stream_key(seed, stream))


def fold_stream(raw_key: Array, stream: int) -> PRNGKeyArray:
    """Returns the key of a stream that is derived from another key.

    Args:
      raw_key: raw uint32 data of that key.
      stream: number of the stream.
    """
    return jax.random.fold_in(jax.random.wrap_key_data(raw_key), stream)
