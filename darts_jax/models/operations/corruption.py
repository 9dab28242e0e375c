"""Corruptions of the outputs of chosen operations, which make these less easy.

A corruption is ``(key, output, strength) -> output``, applied in training alone; the
key is consumed, and strength 0 returns the output's values. To add one:
``CORRUPTIONS["mine"] = mine``, and ``SAME_FOR_EDGE.add(mine)`` if all operations of an
edge share one draw.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models.batch_axis import draw_for_images, mean_over_parts
from darts_jax.models.operations.layers import Image

Corruption = Callable[[PRNGKeyArray, Image, Float[Array, ""]], Image]


def dropout(key: PRNGKeyArray, output: Image, strength: Float[Array, ""]) -> Image:
    """Sets values to 0 with a probability and divides the others by its complement.

    P-DARTS (Chen et al., 2019, section 3.3), on skip connections.

    Args:
      key: consumed.
      output: of an operation.
      strength: the probability, in [0, 1).
    """
    return _drop(key, output, strength, output.shape)


def gaussian(key: PRNGKeyArray, output: Image, strength: Float[Array, ""]) -> Image:
    """Adds normal noise of mean 0, in proportion to the output's standard deviation.

    NoisyDARTS (Chu et al., 2020), on skip connections.

    Args:
      key: consumed.
      output: of an operation.
      strength: standard deviation of the noise over that of the output's values.
    """
    noise = draw_for_images(
        lambda shape: jax.random.normal(key, shape, output.dtype), output.shape
    )
    values = jax.lax.stop_gradient(output).astype(strength.dtype)
    centred = values - mean_over_parts(jnp.mean(values))
    width = strength * jnp.sqrt(mean_over_parts(jnp.mean(jnp.square(centred))))
    return output + width.astype(output.dtype) * noise


def drop_path(key: PRNGKeyArray, output: Image, strength: Float[Array, ""]) -> Image:
    """Applies `dropout` to whole images (Larsson et al., 2017), as NASNet and DARTS do.

    In the search of R-DARTS (Zela et al., 2020) it drops all that an edge gives.

    Args:
      key: consumed.
      output: of an operation [batch, height, width, channel].
      strength: the probability, in [0, 1).
    """
    return _drop(key, output, strength, (output.shape[0], 1, 1, 1))


CORRUPTIONS: dict[str, Corruption] = {
    "dropout": dropout,
    "drop_path": drop_path,
    "gaussian": gaussian,
}
SAME_FOR_EDGE: set[Corruption] = {drop_path}
"""Corruptions of which all operations of an edge have the same draw."""
TAKES_PARTS: set[Corruption] = {dropout, drop_path, gaussian}
"""Corruptions that go by `models.batch_axis`; see `operation.Traits.takes_parts`."""


def _drop(
    key: PRNGKeyArray,
    output: Image,
    strength: Float[Array, ""],
    shape: tuple[int, ...],
) -> Image:
    """Drops with a draw for every entry of a shape that broadcasts to the output's."""
    kept = draw_for_images(
        lambda shape: jax.random.bernoulli(key, 1 - strength, shape), shape
    )
    scaled = output / (1 - strength).astype(output.dtype)
    return jnp.where(kept, scaled, jnp.zeros_like(output))
