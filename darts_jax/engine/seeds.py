"""The streams of random numbers that the seed of a run is split into."""

from typing import Any

import jax
from jaxtyping import Array, PRNGKeyArray

# Of each stream: the number that is folded into its key. A job of several parts of a
# data set counts on from SHUFFLE and AUGMENT, a part each.
INIT, ALPHA, STEPS, SHUFFLE = range(4)
AUGMENT = 101


def stream_key(seed: Any, stream: int) -> PRNGKeyArray:
    """The key of one stream of a seed."""
    return jax.random.fold_in(jax.random.key(seed), stream)


def raw_stream_key(seed: Any, stream: int) -> Array:
    """The same as uint32 data, as a state holds it."""
    return jax.random.key_data(stream_key(seed, stream))


def fold_stream(raw_key: Array, stream: int) -> PRNGKeyArray:
    """A stream of its own out of raw key data."""
    return jax.random.fold_in(jax.random.wrap_key_data(raw_key), stream)
