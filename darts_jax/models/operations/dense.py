"""Layers of multilayer perceptrons, as operations of an edge.

``dense_relu``: a linear map, BN and an activation. ``residual_relu`` computes the same,
which its caller adds to its input, see `add_residual`.
"""

from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn

from darts_jax.models.operations.layers import BatchNorm, Conv, Image

ACTIVATIONS: dict[str, Callable[[Image], Image]] = {
    "relu": nn.relu,
    "swish": nn.swish,
    "tanh": jnp.tanh,
}
"""Activations of a layer, by the last part of its name."""


class DenseLayer(nn.Module):
    """Linear map of every pixel's channels, BN, activation.

    Attributes:
      channels: number of units.
      activation: a name of ``ACTIVATIONS``.
      adds_input: whether the layer is residual.
      affine: whether BN has a scale and a bias.
    """

    takes_parts: ClassVar[bool] = True

    channels: int
    activation: str
    adds_input: bool
    affine: bool

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        y = BatchNorm(self.affine)(Conv(self.channels)(x), train)
        return ACTIVATIONS[self.activation](y)


def _layer(activation: str, adds_input: bool) -> Callable[[int, int, bool], nn.Module]:
    def make(channels: int, stride: int, discrete: bool) -> nn.Module:
        del stride  # A chain on a table has none.
        return DenseLayer(channels, activation, adds_input, affine=discrete)

    return make


DENSE_LAYERS = {
    f"{family}_{activation}": _layer(activation, adds_input)
    for family, adds_input in (("dense", False), ("residual", True))
    for activation in ACTIVATIONS
}
"""Name -> maker of the module of an operation of one edge."""
