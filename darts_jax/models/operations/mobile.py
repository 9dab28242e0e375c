"""Inverted-residual blocks (Sandler et al., 2018), by names with a grammar.

``mb6_5x5_se_swish``: a family, an expansion, a kernel, and options.

- ``mb`` expands by a 1x1 convolution where the expansion is above 1, and has ReLU6
  (MobileNetV2, ProxylessNAS, EfficientNet); ``ir`` expands always, and has ReLU
  (FBNet);
- a kernel of one number, ``mb6_5``, is of a signal: an image of one row;
- ``_se``: squeeze-and-excitation between the two last convolutions;
- ``_swish``: x * sigmoid(x) in place of the family's activation.

`BLOCKS` holds every name of the grammar. A block computes what is added to its input
where both have one shape; the caller adds it, see `add_residual`.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn

from darts_jax.errors import InputError
from darts_jax.models.operations.layers import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    Image,
    window,
)
from darts_jax.spaces.signal import window_name


def relu6(x: Image) -> Image:
    """Returns ``min(max(x, 0), 6)``.

    Args:
      x: images.
    """
    return jnp.minimum(nn.relu(x), jnp.asarray(6, x.dtype))


BLOCK_ACTIVATIONS: dict[str, Callable[[Image], Image]] = {
    "": lambda x: x,
    "relu": nn.relu,
    "relu6": relu6,
    "swish": nn.swish,
}


class SqueezeExcite(nn.Module):
    """Weights of channels computed from their means over all pixels (Hu et al., 2018).

    Attributes:
      squeezed: number of channels in between. As EfficientNet counts, it is a quarter
        of the block's input, not of the expanded state.
      activation: of the layer in between, a name of `BLOCK_ACTIVATIONS`.
    """

    squeezed: int
    activation: str

    @nn.compact
    def __call__(self, x: Image) -> Image:
        pooled = x.mean((1, 2), keepdims=True)
        y = Conv(self.squeezed, use_bias=True)(pooled)
        y = Conv(x.shape[-1], use_bias=True)(BLOCK_ACTIVATIONS[self.activation](y))
        return x * nn.sigmoid(y)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution with the stride, 1x1 projection.

    BN follows each, the activation all but the last.

    Attributes:
      channels: number of channels of the output.
      stride: of the depthwise convolution.
      expansion: width of the depthwise convolution over that of the input.
      kernel: height and width of the depthwise convolution's kernel.
      expands: whether there is a convolution that expands.
      excites: whether there is a `SqueezeExcite`.
      activation: a name of `BLOCK_ACTIVATIONS`.
      affine: whether BN has a scale and a bias.
    """

    adds_input: ClassVar[bool] = True
    takes_parts: ClassVar[bool] = True

    channels: int
    stride: int
    expansion: int
    kernel: tuple[int, int]
    expands: bool
    excites: bool
    activation: str
    affine: bool

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        width = x.shape[-1]
        act = BLOCK_ACTIVATIONS[self.activation]
        if self.expands:
            x = Conv(width * self.expansion, name="expand")(x)
            x = act(BatchNorm(self.affine, name="expand_norm")(x, train))
        x = DepthwiseConv(self.kernel, self.stride, name="depthwise")(x)
        x = act(BatchNorm(self.affine, name="depthwise_norm")(x, train))
        if self.excites:
            squeezed = max(1, width // 4)
            x = SqueezeExcite(squeezed, self.activation, name="excite")(x)
        x = Conv(self.channels, name="project")(x)
        return BatchNorm(self.affine, name="project_norm")(x, train)


@dataclasses.dataclass(frozen=True)
class Family:
    """Properties of the blocks whose names begin with the same letters.

    Attributes:
      activation: unless the name has another.
      always_expands: whether a block of expansion 1 has a convolution that expands.
    """

    activation: str
    always_expands: bool


FAMILIES: Mapping[str, Family] = {
    "mb": Family("relu6", always_expands=False),
    "ir": Family("relu", always_expands=True),
}
_EXPANSIONS = (1, 2, 3, 4, 6)
_KERNELS = (3, 5, 7)
_NAME = re.compile(r"([a-z]+)(\d+)_(\d+)(x\3)?(_se)?(_swish)?")


def make_block(name: str) -> Callable[[int, int, bool], nn.Module]:
    """Returns the operation of a name of the grammar.

    Args:
      name: such as ``mb6_5x5_se_swish``.

    Raises:
      InputError: the name is none of the grammar.
    """
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in FAMILIES:
        raise InputError(f"no block {name!r}; want a name such as mb6_5x5_se_swish")
    family = FAMILIES[match[1]]
    expansion = int(match[2])
    kernel = window(int(match[3]), axes=2 if match[4] else 1)
    activation = "swish" if match[6] else family.activation

    def make(channels: int, stride: int, discrete: bool) -> nn.Module:
        return InvertedResidual(
            channels,
            stride,
            expansion,
            kernel,
            expands=family.always_expands or expansion > 1,
            excites=bool(match[5]),
            activation=activation,
            affine=discrete,
        )

    return make


BLOCKS = {
    name: make_block(name)
    for name in (
        f"{family}{e}_{window_name(k, axes)}{se}{swish}"
        for axes, family, e, k, se, swish in itertools.product(
            (2, 1), FAMILIES, _EXPANSIONS, _KERNELS, ("", "_se"), ("", "_swish")
        )
    )
}
