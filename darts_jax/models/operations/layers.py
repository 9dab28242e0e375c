"""Layers that operations are made of: ordinary Flax modules on NHWC images.

Parameters are float32 and are used in the dtype of the input; statistics are at
least float32. No layer keeps random state: keys come by Flax's named streams.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.kernels import (
    BN_EPSILON,
    Moments,
    conv,
    depthwise_conv,
    moments,
    relu_conv,
    relu_separable,
    standardize,
)
from darts_jax.models.batch_axis import count_parts, standardize_jointly

Image = Float[Array, "batch height width channel"]
Weight = Float[Array, " channel"]
"""Factors that the channels of a layer's output are multiplied by."""

STREAMS = ("noise", "drop_path", "dropout")
"""Names of Flax's streams of random numbers that a module may draw from."""

BN_MOMENTUM = 0.1
"""Share of the new batch in running moments; PyTorch's."""

MOMENTS = "moments"
"""Name, among the statistics of BN, of running mean and variance [2, channel]."""


class Uniform(nn.meta.AxisMetadata[Array], struct.PyTreeNode):
    """A parameter that is still to be drawn from U(-bound, bound).

    It is a box as Flax knows them. A supernet has hundreds of leaves. Drawn one by one
    they are hundreds of random generators to compile (14 s for two cells on CPU);
    `draw` fills all boxes at once.

    Attributes:
      bound: array of the parameter's shape.
    """

    bound: Array

    def unbox(self) -> Array:
        return self.bound

    def replace_boxed(self, val: Any) -> Any:
        return self.replace(bound=val)

    def add_axis(self, index: int, params: dict[Any, Any]) -> "Uniform":
        del index, params
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> "Uniform":
        del index, params
        return self


def window(side: int, axes: int) -> tuple[int, int]:
    """Returns height and width of a window.

    Args:
      side: along every axis that it spans.
      axes: number of these axes: 2 of an image; 1 of a signal, which is an image of one
        row; 0 of a row of a table, which is an image of one pixel.
    """
    return (side if axes == 2 else 1), (side if axes else 1)


def torch_uniform(fan_in: int) -> Callable[..., Any]:
    """Returns PyTorch's initialiser of convolutions: U(-b, b), b = 1/sqrt(fan_in).

    Args:
      fan_in: number of inputs of every output.
    """

    def init(key: PRNGKeyArray, shape: Sequence[int]) -> Uniform:
        del key
        return Uniform(jnp.full(shape, 1 / math.sqrt(fan_in), jnp.float32))

    return init


def draw(key: PRNGKeyArray, variables: Any) -> Any:
    """Replaces every `Uniform` in a tree by numbers.

    Args:
      key: consumed.
      variables: a tree of arrays and boxes.
    """

    def is_box(node: Any) -> bool:
        return isinstance(node, Uniform)

    nodes, structure = jax.tree.flatten(variables, is_leaf=is_box)
    sizes = [node.bound.size if is_box(node) else 0 for node in nodes]
    numbers = jax.random.uniform(key, (sum(sizes),), jnp.float32, -1.0, 1.0)
    begin = itertools.accumulate(sizes, initial=0)
    filled = [
        numbers[i : i + size].reshape(node.bound.shape) * node.bound if size else node
        for node, i, size in zip(nodes, begin, sizes, strict=False)
    ]
    return jax.tree.unflatten(structure, filled)


class Conv(nn.Module):
    """Dense convolution with a kernel of odd size, padded to "same".

    Attributes:
      features: number of channels of the output.
      kernel: height and width.
      stride: down and across.
      use_bias: whether there is a bias.
    """

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    use_bias: bool = False

    def __call__(self, x: Image) -> Image:
        kernel, bias = self.weights(x)
        y = conv(x, kernel, stride=self.stride)
        return y if bias is None else y + bias

    @nn.compact
    def weights(self, x: Image) -> tuple[Array, Array | None]:
        """Returns the kernel for images like ``x``, and the bias if there is one."""
        shape = (*self.kernel, x.shape[-1], self.features)
        init = torch_uniform(math.prod(shape[:3]))
        kernel = self.param("kernel", init, shape).astype(x.dtype)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", init, (self.features,)).astype(x.dtype)


class DepthwiseConv(nn.Module):
    """Convolution of every channel with its own kernel, padded to "same", no bias.

    Attributes:
      kernel: height and width of the kernel, odd.
      stride: down and across.
      dilation: down and across.
    """

    kernel: tuple[int, int]
    stride: int = 1
    dilation: int = 1

    def __call__(self, x: Image) -> Image:
        return depthwise_conv(
            x, self.weights(x), stride=self.stride, dilation=self.dilation
        )

    @nn.compact
    def weights(self, x: Image) -> Array:
        """Returns the kernel for images like ``x``."""
        shape = (*self.kernel, x.shape[-1])
        init = torch_uniform(math.prod(self.kernel))
        return self.param("kernel", init, shape).astype(x.dtype)


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's constants.

    In train mode the batch's own moments normalise (biased variance), and the running
    ones move by a tenth towards them (unbiased variance); else the running ones
    normalise. They live in the collection ``batch_stats``, as one array: a search has
    hundreds of them to trace.

    Attributes:
      affine: whether a scale and a bias follow.
    """

    affine: bool

    @nn.compact
    def __call__(
        self,
        x: Image,
        train: bool,
        moments_of_x: Moments | None = None,
        weight: Weight | None = None,
    ) -> Image:
        """Normalises images.

        Args:
          x: the images.
          train: whether by the batch's own moments.
          moments_of_x: mean and biased variance of every channel, if they are known;
            of a part of a batch they are of no use.
          weight: factors of the output's channels.
        """
        running = self.variable("batch_stats", MOMENTS, _standard_moments, x.shape[-1])
        wide = x.astype(at_least_float32(x.dtype))
        weight, bias = self._weighed(x.shape[-1], wide.dtype, weight)
        if train:
            guess = self.guess(x.shape[-1], wide.dtype)
            parts = count_parts()
            if parts > 1:
                y, moments_of_x = standardize_jointly(wide, guess, weight)
            else:
                if moments_of_x is None:
                    moments_of_x = moments(wide, guess)
                y = standardize(wide, moments_of_x, weight)
            if not self.is_initializing():
                pixels = parts * (x.size // x.shape[-1])
                running.value = _moved(running.value, moments_of_x, pixels)
        else:
            mean, var = jnp.unstack(running.value.astype(wide.dtype))
            inverse = lax.rsqrt(var + BN_EPSILON)
            y = (wide - mean) * (inverse if weight is None else inverse * weight)
        return (y if bias is None else y + bias).astype(x.dtype)

    def guess(self, channels: int, dtype: Any) -> Moments:
        """Returns a guess of the batch's moments: the running ones."""
        if not self.has_variable("batch_stats", MOMENTS):
            return _standard_moments(channels).astype(dtype)
        running: Moments = self.get_variable("batch_stats", MOMENTS)
        return running.astype(dtype)

    def _weighed(
        self, channels: int, dtype: Any, weight: Weight | None
    ) -> tuple[Weight | None, Weight | None]:
        """Returns factors of the normalised channels, and what is added then."""
        if weight is not None:
            weight = weight.astype(dtype)
        if not self.affine:
            return weight, None
        scale = self.param("scale", nn.initializers.ones, (channels,)).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,)).astype(dtype)
        if weight is None:
            return scale, bias
        return scale * weight, bias * weight


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """Returns the dtype for sums over many numbers.

    Args:
      dtype: of the numbers.
    """
    return jnp.dtype(dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32)


def _standard_moments(channels: int) -> Moments:
    rows = np.array([[0], [1]], np.float32).repeat(channels, axis=1)
    return jnp.asarray(rows)


def _moved(running: Moments, of_batch: Moments, pixels: int) -> Moments:
    """Returns running moments after a batch of that many pixels, in few equations."""
    unbiased = np.array([1, pixels / max(pixels - 1, 1)])[:, None]
    share = (BN_MOMENTUM * unbiased).astype(running.dtype)
    return running * (1 - BN_MOMENTUM) + of_batch.astype(running.dtype) * share


def relu_separable_bn(
    x: Image,
    depthwise: DepthwiseConv,
    pointwise: Conv,
    normalize: BatchNorm,
    train: bool,
    weight: Weight | None = None,
) -> Image:
    """Applies ReLU, two convolutions and BN, and multiplies by a weight.

    Args:
      x: images.
      depthwise: the first convolution.
      pointwise: the second, 1x1.
      normalize: BN.
      train: whether BN normalises by the batch.
      weight: factors of the output's channels.
    """
    kernel = depthwise.weights(x)
    matrix, _ = pointwise.weights(x)
    guess = normalize.guess(pointwise.features, x.dtype)
    y, moments_of_y = relu_separable(
        x, kernel, matrix, guess, stride=depthwise.stride, dilation=depthwise.dilation
    )
    return normalize(y, train, _exact(moments_of_y), weight)


def _exact(of_convolution: Moments) -> Moments | None:
    """Returns moments that a convolution gave, None if they have too few digits."""
    dtype = of_convolution.dtype
    return of_convolution if at_least_float32(dtype) == dtype else None


class ReLUConvBN(nn.Module):
    """ReLU, dense convolution, BN.

    Attributes:
      channels: number of channels of the output.
      kernel: height and width.
      stride: down and across.
      affine: whether BN has a scale and a bias.
      use_bias: whether the convolution has a bias.
    """

    takes_weight: ClassVar[bool] = True
    takes_parts: ClassVar[bool] = True

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    affine: bool = True
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Image, train: bool, weight: Weight | None = None) -> Image:
        stride = (self.stride, self.stride)
        convolution = Conv(self.channels, self.kernel, stride, self.use_bias)
        normalize = BatchNorm(self.affine)
        kernel, bias = convolution.weights(x)
        guess = normalize.guess(self.channels, x.dtype)
        y, moments_of_y = relu_conv(x, kernel, guess, stride=stride)
        if bias is not None:
            y = y + bias
            moments_of_y = moments_of_y.at[0].add(lax.stop_gradient(bias))
        return normalize(y, train, _exact(moments_of_y), weight)


def mean_pool_2x2(x: Image) -> Image:
    """Returns means of 2x2 blocks, at an odd border of the pixels that there are.

    Args:
      x: images [batch, height, width, channel].
    """
    odd_rows, odd_columns = (size % 2 for size in x.shape[1:3])
    if odd_rows or odd_columns:
        # The last row or column once more leaves the mean as it is.
        x = jnp.pad(x, ((0, 0), (0, odd_rows), (0, odd_columns), (0, 0)), "edge")
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return blocks.mean((2, 4))


class FactorizedReduce(nn.Module):
    """Halves the image by two 1x1 convolutions, the second one pixel further on.

    Behind the last row and column of an odd image there are zeros. An image of one row
    is halved across only.

    Attributes:
      channels: number of channels of the output.
      affine: whether BN has a scale and a bias.
    """

    takes_weight: ClassVar[bool] = True
    takes_parts: ClassVar[bool] = True

    channels: int
    affine: bool = True

    @nn.compact
    def __call__(self, x: Image, train: bool, weight: Weight | None = None) -> Image:
        half = self.channels // 2
        normalize = BatchNorm(self.affine)
        guess = normalize.guess(self.channels, x.dtype)
        odd_rows, odd_columns = (size % 2 for size in x.shape[1:3])
        further = min(1, x.shape[1] - 1)
        even = jnp.pad(x, ((0, 0), (0, odd_rows * further), (0, odd_columns), (0, 0)))
        next_pixels = even[:, further::2, 1::2]
        parts = (
            (half, x, (2, 2), guess[:, :half]),
            (self.channels - half, next_pixels, (1, 1), guess[:, half:]),
        )
        images: list[Image] = []
        of_images: list[Moments] = []
        for features, image, stride, near in parts:
            kernel, _ = Conv(features, stride=stride).weights(image)
            y, moments_of_y = relu_conv(image, kernel, near, stride=stride)
            images.append(y)
            of_images.append(moments_of_y)
        joined = jnp.concatenate(images, -1)
        moments_of_joined = jnp.concatenate(of_images, -1)
        return normalize(joined, train, _exact(moments_of_joined), weight)


class Linear(nn.Module):
    """Fully connected layer with bias, initialised as PyTorch does.

    Attributes:
      features: number of outputs.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch feature"]) -> Float[Array, "batch out"]:
        init = torch_uniform(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        return x @ kernel.astype(x.dtype) + bias.astype(x.dtype)
