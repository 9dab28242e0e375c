"""The operations of cells on images and signals, as in DARTS and NAS-Bench-201.

`Operation` says what an entry of `OPERATIONS` is. In the discrete network BN is affine
and pooling stands alone; in the supernet BN is not affine and follows pooling. The
choice of a cell's width is no entry, as whoever plans the cell carries it out.

A signal is an image of one row. Its operations are those of images with windows along
one axis, and their names have one number: ``sep_conv_3`` beside ``sep_conv_3x3``.
"""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.kernels import avg_pool, max_pool
from darts_jax.models.batch_axis import draw_for_images
from darts_jax.models.operations.dense import DENSE_LAYERS
from darts_jax.models.operations.layers import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    FactorizedReduce,
    Image,
    ReLUConvBN,
    Weight,
    mean_pool_2x2,
    relu_separable_bn,
    window,
)
from darts_jax.models.operations.mobile import BLOCKS
from darts_jax.models.operations.operation import Operation
from darts_jax.spaces.signal import window_name
from darts_jax.spaces.widths import is_structural


class Zero(nn.Module):
    """No connection."""

    takes_parts: ClassVar[bool] = True

    stride: int

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        del train
        return jnp.zeros_like(x[:, :: self.stride, :: self.stride])


class Identity(nn.Module):
    """The input itself."""

    edge_independent: ClassVar[bool] = True
    takes_parts: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        del train
        return x


class Noise(nn.Module):
    """Standard normal noise in place of the input (Zela et al., 2020, space S4).

    Takes a key from the stream ``noise``.
    """

    takes_parts: ClassVar[bool] = True

    stride: int

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        del train
        shape = x[:, :: self.stride, :: self.stride].shape
        key = self.make_rng("noise")
        return draw_for_images(
            lambda shape: jax.random.normal(key, shape, x.dtype), shape
        )


class Pool(nn.Module):
    """A pooling of width 3, with BN behind it in a supernet."""

    edge_independent: ClassVar[bool] = True
    takes_parts: ClassVar[bool] = True

    pool: Callable[..., Image]
    stride: int
    normalize: bool
    axes: int = 2

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        y = self.pool(x, size=window(3, self.axes), stride=self.stride)
        return BatchNorm(affine=False)(y, train) if self.normalize else y


class _SizedConv(nn.Module):
    """Convolutions of one width whose last BN takes the mixture's weight."""

    takes_weight: ClassVar[bool] = True
    takes_parts: ClassVar[bool] = True

    channels: int
    kernel: int
    stride: int
    affine: bool
    axes: int = 2


class SepConv(_SizedConv):
    """Twice: ReLU, depthwise (the first time with the stride), pointwise, BN."""

    @nn.compact
    def __call__(self, x: Image, train: bool, weight: Weight | None = None) -> Image:
        for stride, by in ((self.stride, None), (1, weight)):
            depthwise = DepthwiseConv(window(self.kernel, self.axes), stride)
            pointwise = Conv(self.channels)
            normalize = BatchNorm(self.affine)
            x = relu_separable_bn(x, depthwise, pointwise, normalize, train, by)
        return x


class DilConv(_SizedConv):
    """ReLU, depthwise with dilation 2, pointwise, BN."""

    @nn.compact
    def __call__(self, x: Image, train: bool, weight: Weight | None = None) -> Image:
        kernel = window(self.kernel, self.axes)
        depthwise = DepthwiseConv(kernel, self.stride, dilation=2)
        pointwise = Conv(self.channels)
        normalize = BatchNorm(self.affine)
        return relu_separable_bn(x, depthwise, pointwise, normalize, train, weight)


class CrossConv(_SizedConv):
    """ReLU, a 1xk convolution, a kx1 convolution, BN; the stride is shared out."""

    @nn.compact
    def __call__(self, x: Image, train: bool, weight: Weight | None = None) -> Image:
        x = nn.relu(x)
        x = Conv(self.channels, (1, self.kernel), (1, self.stride))(x)
        x = Conv(self.channels, (self.kernel, 1), (self.stride, 1))(x)
        return BatchNorm(self.affine)(x, train, weight=weight)


class ConvBNReLU(_SizedConv):
    """Dense convolution, BN, ReLU, as in NAS-Bench-101 (Ying et al., 2019)."""

    # The ReLU comes last: a weight below 0 would change what it lets through.
    takes_weight: ClassVar[bool] = False

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        kernel = window(self.kernel, self.axes)
        y = Conv(self.channels, kernel, (self.stride, self.stride))(x)
        return nn.relu(BatchNorm(self.affine)(y, train))


class ProjectedSkip(nn.Module):
    """The input itself, or where the width changes a 1x1 convolution of it and BN."""

    takes_parts: ClassVar[bool] = True

    channels: int
    affine: bool

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        if x.shape[-1] == self.channels:
            return x
        return BatchNorm(self.affine)(Conv(self.channels)(x), train)


class PooledProjection(nn.Module):
    """2x2 mean pooling and a 1x1 convolution, beside NAS-Bench-201's reductions."""

    takes_parts: ClassVar[bool] = True

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        del train
        if self.stride != 2:
            raise InputError(
                "pool_and_project halves height and width: want stride 2, not "
                f"{self.stride}"
            )
        return Conv(self.channels)(mean_pool_2x2(x))


def _skip(channels: int, stride: int, discrete: bool) -> nn.Module:
    return Identity() if stride == 1 else FactorizedReduce(channels, affine=discrete)


def keep_width(channels: int, stride: int, discrete: bool) -> nn.Module:
    """Makes the module of an edge that chooses its cell's width: the identity.

    Args:
      channels: not used.
      stride: not used; it is 1.
      discrete: not used.
    """
    del channels, stride, discrete
    return Identity()


def _pool(pool: Callable[..., Image], axes: int, normalize: bool = True) -> Operation:
    def make(channels: int, stride: int, discrete: bool) -> nn.Module:
        del channels
        return Pool(pool, stride, normalize and not discrete, axes)

    return make


def _sized(module: Callable[..., nn.Module], kernel: int, axes: int = 2) -> Operation:
    def make(channels: int, stride: int, discrete: bool) -> nn.Module:
        return module(channels, kernel, stride, affine=discrete, axes=axes)

    return make


def _nor_conv(kernel: int, axes: int, biased: bool = False) -> Operation:
    def make(channels: int, stride: int, discrete: bool) -> nn.Module:
        bias = biased and not discrete
        return ReLUConvBN(channels, window(kernel, axes), stride, discrete, bias)

    return make


def _windowed(axes: int) -> dict[str, Operation]:
    """Returns the operations whose windows span that many axes, by their names."""
    one, three, five, seven = (window_name(side, axes) for side in (1, 3, 5, 7))
    return {
        f"max_pool_{three}": _pool(max_pool, axes),
        f"max_pool_{three}_plain": _pool(max_pool, axes, normalize=False),
        f"avg_pool_{three}": _pool(avg_pool, axes),
        f"avg_pool_{three}_plain": _pool(avg_pool, axes, normalize=False),
        f"sep_conv_{three}": _sized(SepConv, 3, axes),
        f"sep_conv_{five}": _sized(SepConv, 5, axes),
        f"sep_conv_{seven}": _sized(SepConv, 7, axes),
        f"dil_conv_{three}": _sized(DilConv, 3, axes),
        f"dil_conv_{five}": _sized(DilConv, 5, axes),
        f"conv_bn_relu_{one}": _sized(ConvBNReLU, 1, axes),
        f"conv_bn_relu_{three}": _sized(ConvBNReLU, 3, axes),
        f"nor_conv_{one}": _nor_conv(1, axes),
        f"nor_conv_{three}": _nor_conv(3, axes),
        f"nor_conv_{one}_biased": _nor_conv(1, axes, biased=True),
        f"nor_conv_{three}_biased": _nor_conv(3, axes, biased=True),
    }


OPERATIONS: dict[str, Operation] = {
    "none": lambda channels, stride, discrete: Zero(stride),
    "skip_connect": _skip,
    "noise": lambda channels, stride, discrete: Noise(stride),
    **_windowed(2),
    **_windowed(1),
    "conv_3x1_1x3": _sized(CrossConv, 3),
    "conv_7x1_1x7": _sized(CrossConv, 7),
    "skip_or_project": lambda channels, stride, discrete: ProjectedSkip(
        channels, affine=discrete
    ),
    "pool_and_project": lambda channels, stride, discrete: PooledProjection(
        channels, stride
    ),
    **BLOCKS,
    **DENSE_LAYERS,
}
"""Name -> maker of the module of an operation of one edge."""


def make_operation(
    name: str, channels: int, stride: int, *, discrete: bool
) -> nn.Module:
    """Returns the module of one edge.

    Args:
      name: of the operation.
      channels: number of channels that leave it.
      stride: 1 or 2, down and across.
      discrete: whether it is part of a genotype's network, not of a supernet.

    Raises:
      InputError: the name is unknown.
    """
    return get_operation(name)(channels, stride, discrete)


def get_operation(name: str) -> Operation:
    """Returns the function that makes an operation's module.

    Args:
      name: an entry of `OPERATIONS`, or a choice of a width or a column.

    Raises:
      InputError: the name is unknown.
    """
    require_operation(name)
    return OPERATIONS.get(name, keep_width)


def require_operation(name: str) -> None:
    """Raises InputError, with the nearest name, unless the operation is known.

    Args:
      name: an entry of `OPERATIONS`, or a choice of a width or a column.
    """
    if name not in OPERATIONS and not is_structural(name):
        raise unknown_name_error("operation", name, list(OPERATIONS))
