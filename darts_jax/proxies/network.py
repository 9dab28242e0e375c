"""An untrained network as proxies see it, and measures that several of them share."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from darts_jax.types import Examples, Params, Stats


class Apply(Protocol):
    """Forward pass of a network, a pure function.

    Args:
      params: weights.
      stats: running statistics.
      images: as the network takes them [batch, height, width, channel].
      train: True normalizes by the batch, False by the statistics.

    Returns:
      Logits [batch, class].
    """

    def __call__(
        self, params: Params, stats: Stats, images: Array, *, train: bool
    ) -> Float[Array, "batch class"]: ...


class UntrainedNetwork(NamedTuple):
    """A network with its parameters; all that a proxy knows besides a batch.

    Attributes:
      apply: forward pass.
      params: parameters; 0 where they are not used.
      stats: running statistics.
      used: tree of the shapes of ``params``; False for the parameters of operations
        that the architecture does not have. None: all are used.
      macs: multiply-accumulates of one image, if they are known.
    """

    apply: Apply
    params: Params
    stats: Stats
    used: Params | None = None
    macs: Float[Array, ""] | float | None = None


class Proxy(Protocol):
    """Score of an untrained network.

    Args:
      network: the network.
      batch: images as the network takes them, and their labels.

    Returns:
      A scalar; higher for the network that is expected to be better, unless the paper
      has it otherwise. NaN where the formula has no value.
    """

    def __call__(
        self, network: UntrainedNetwork, batch: Examples
    ) -> Float[Array, ""]: ...


def cross_entropy(
    network: UntrainedNetwork, params: Params, batch: Examples
) -> Float[Array, ""]:
    """Returns the mean cross-entropy of a batch; BN normalizes by the batch.

    Args:
      network: the network.
      params: in place of its own.
      batch: images and labels.
    """
    images = jnp.asarray(batch.images)
    logits = network.apply(params, network.stats, images, train=True)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.labels[:, None], 1)
    return -jnp.mean(chosen)


def loss_gradient(
    network: UntrainedNetwork,
) -> Callable[[Params, Examples], Params]:
    """Returns the gradient of the mean cross-entropy by the parameters.

    Args:
      network: the network.

    Returns:
      (parameters, batch) -> gradient, a tree of the shapes of the parameters.
    """
    return jax.grad(lambda params, batch: cross_entropy(network, params, batch))


def in_double(value: Any) -> Array:
    """Returns an array in double precision where JAX has it enabled.

    Args:
      value: an array.
    """
    wanted = jax.dtypes.canonicalize_dtype(jnp.float64)
    return jnp.asarray(value).astype(wanted)
