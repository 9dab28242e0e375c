"""What a search may do to the outputs of chosen operations, to make them less easy.

``(key, output, strength) -> output``, in training alone; the key is consumed. Strength
0 returns the output's values. To add one: ``CORRUPTIONS["mine"] = mine``, and where an
edge's operations have one draw together ``OF_EDGES.add(mine)``.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models.operations.layers import Image

Corruption = Callable[[PRNGKeyArray, Image, Float[Array, ""]], Image]


def dropout(key: PRNGKeyArray, output: Image, strength: Float[Array, ""]) -> Image:
    """Every value is 0 with probability ``strength``, else divided by its complement.

    P-DARTS (Chen et al., 2019, section 3.3), on skip connections.

    Args:
      strength: in [0, 1).
    """
    return _dropped(key, output, strength, output.shape)


def gaussian(key: PRNGKeyArray, output: Image, strength: Float[Array, ""]) -> Image:
    """Adds normal noise of mean 0, ``strength`` times as wide as the output's numbers.

    NoisyDARTS (Chu et al., 2020), on skip connections.
    """
    noise = jax.random.normal(key, output.shape, output.dtype)
    width = strength * jnp.std(jax.lax.stop_gradient(output), dtype=strength.dtype)
    return output + width.astype(output.dtype) * noise


def drop_path(key: PRNGKeyArray, output: Image, strength: Float[Array, ""]) -> Image:
    """`dropout` of an image's whole output (Larsson et al., 2017).

    In the search of R-DARTS (Zela et al., 2020), of all that an edge gives.
    """
    return _dropped(key, output, strength, (output.shape[0], 1, 1, 1))


CORRUPTIONS: dict[str, Corruption] = {
    "dropout": dropout,
    "drop_path": drop_path,
    "gaussian": gaussian,
}
OF_EDGES: set[Corruption] = {drop_path}
"""Those of which all operations of an edge have the same draw."""


def _dropped(
    key: PRNGKeyArray,
    output: Image,
    strength: Float[Array, ""],
    shape: tuple[int, ...],
) -> Image:
    """With a draw for every entry of a shape that broadcasts to the output's."""
    kept = jax.random.bernoulli(key, 1 - strength, shape)
    scaled = output / (1 - strength).astype(output.dtype)
    return jnp.where(kept, scaled, jnp.zeros_like(output))
