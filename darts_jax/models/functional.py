"""The seam: a network module as pure functions of plain trees of arrays.

Nothing outside this folder knows Flax's variables; nothing inside it knows how an
architecture is learned.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.models.network import Logits, Network
from darts_jax.models.operations.layers import STREAMS, Image, draw
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import Space
from darts_jax.types import Mixture, Params, Stats


class Apply(Protocol):
    """``(params, stats, mixture, images, key, train) -> (logits, new stats)``.

    In train mode BN normalises by the batch and the new statistics have moved towards
    it; else they come back as they were. The key feeds random operations.
    """

    def __call__(
        self,
        params: Params,
        stats: Stats,
        mixture: Mixture,
        images: Image,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Float[Array, "batch class"], Stats]: ...


class Initialized(NamedTuple):
    params: Params
    stats: Stats


def initialize(module: nn.Module, key: PRNGKeyArray, *example: Any) -> Initialized:
    """Parameters and statistics of a network; the key is consumed.

    Args:
      example: arguments of the network, of which only shapes matter.
    """

    def init(key: PRNGKeyArray) -> Any:
        streams = dict.fromkeys(("params", *STREAMS), key)
        return draw(key, module.init(streams, *example, False))

    variables = jax.jit(init)(key)
    return Initialized(variables["params"], variables.get("batch_stats", {}))


def initialize_supernet(
    net: Supernet, key: PRNGKeyArray, image_shape: tuple[int, int, int]
) -> Initialized:
    """`initialize` for images [height, width, channel]."""
    return initialize(net, key, jnp.zeros((2, *image_shape)), zero_mixture(net.space))


def zero_mixture(space: Space) -> Mixture:
    """Returns the mixture of a space in which every operation weighs 0, float32."""
    return Mixture({k: jnp.zeros(cell.shape) for k, cell in space.cells.items()})


def supernet_apply(net: Supernet) -> Apply:
    """The supernet's forward pass."""

    def apply(
        params: Params,
        stats: Stats,
        mixture: Mixture,
        images: Image,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Float[Array, "batch class"], Stats]:
        variables = {"params": params, "batch_stats": stats}
        return stack.apply(net, variables, key, images, mixture, train=train)

    return apply


def network_apply(net: Network) -> Callable[..., tuple[Logits, Stats]]:
    """The forward pass of a genotype's network.

    Returns:
      ``(params, stats, images, drop_rate, key, *, train) -> (logits, new stats)``; the
      key feeds drop path and random operations.
    """

    def apply(
        params: Params,
        stats: Stats,
        images: Image,
        drop_rate: Float[Array, ""],
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Logits, Stats]:
        variables = {"params": params, "batch_stats": stats}
        logits, changed = stack.apply(
            net, variables, key, images, drop_rate, train=train
        )
        # Statistics of what did not run, the auxiliary head, stay as they were.
        return logits, {**stats, **changed}

    return apply


def count_parameters(params: Params) -> int:
    """Number of trainable scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
