"""Depthwise convolution and pooling: operations on every channel by itself.

XLA's CPU backend runs depthwise convolutions and pooling windows, and above all
their transposes, tens of times slower than a sum of shifted slices; and autodiff
of such a sum makes pads that are slow to compile and to run. Both operations are
linear in the argument that is differentiated, so their derivatives close over a
few primitives, each of which is lowered by platform: shifted slices on CPU, XLA's
convolutions elsewhere. Forward and reverse mode, any order, `vmap` and `jit` follow
from the rules below.

Images are [edge, batch, height, width, channel] and kernels
[edge, height, width, channel]: one convolution per edge, in one operation.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array, Float

from darts_jax.kernels.edges import make_primitive
from darts_jax.kernels.windows import (
    DIMENSIONS,
    Form,
    View,
    Window,
    call_unfused,
    make_window_products,
    pad,
    same_window,
    tap_view,
    transpose_window,
)


def depthwise_conv(
    x: Float[Array, "batch height width channel"],
    kernel: Float[Array, "kernel_height kernel_width channel"],
    *,
    stride: int = 1,
    dilation: int = 1,
    same: bool = True,
) -> Float[Array, "batch out_height out_width channel"]:
    """Convolves every channel with its own kernel.

    Args:
      x: images.
      kernel: one for every channel; of odd size where ``same``.
      stride: down and across.
      dilation: distance of neighbouring taps.
      same: whether the image is padded with zeros so that stride 1 keeps its size; else
        it is not padded.
    """
    window = same_window(x, kernel.shape[:2], (stride, stride), dilation)
    if not same:
        window = dataclasses.replace(window, padding=(0, 0))
    return output_p.bind(x, kernel, window=window)


def max_pool(
    x: Float[Array, "batch height width channel"],
    *,
    size: tuple[int, int],
    stride: int,
) -> Float[Array, "batch out_height out_width channel"]:
    """Returns the largest value of every window, padded to "same" with minus infinity.

    The gradient goes to the first largest value of a window, in row-major order.

    Args:
      x: images.
      size: height and width of the window, odd.
      stride: down and across.
    """
    return _max_pool(x, same_window(x, size, (stride, stride)))


def _max_pool(x: Array, window: Window) -> Array:
    y, _ = _pool_p.bind(x, window=window)
    return y


def max_pool_2x2(
    x: Float[Array, "batch height width channel"],
) -> Float[Array, "batch half_height half_width channel"]:
    """Returns the largest value of every 2x2 block.

    Args:
      x: images; the last row or column of an odd one is a block by itself.
    """
    height, width = x.shape[1:3]
    even = height + height % 2, width + width % 2
    window = Window(even, (2, 2), (2, 2), 1, (0, 0))
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return _max_pool(jnp.pad(x, odd, constant_values=-jnp.inf), window)


def avg_pool(
    x: Float[Array, "batch height width channel"],
    *,
    size: tuple[int, int],
    stride: int,
) -> Float[Array, "batch out_height out_width channel"]:
    """Returns the mean of every window over those of its pixels that are in the image.

    Args:
      x: images.
      size: height and width of the window, odd.
      stride: down and across.
    """
    taps = jnp.ones((*size, x.shape[-1]), x.dtype)
    pixels = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    count = depthwise_conv(pixels, taps[..., :1], stride=stride)
    return depthwise_conv(x, taps, stride=stride) / count


# --- Shifted slices: the CPU forms -------------------------------------------------


def _weighted_sum(views: Sequence[Array], taps: Sequence[Array]) -> Array:
    terms = (v * t[:, None, None, None] for v, t in zip(views, taps, strict=True))
    return functools.reduce(operator.add, terms)


def _output_slices(x: Array, kernel: Array, *, window: Window) -> Array:
    def tap_sum(padded: Array, kernel: Array) -> Array:
        views = [tap_view(padded, window, tap) for tap in window.taps]
        return _weighted_sum(views, [kernel[:, i, j] for i, j in window.taps])

    # Padding stays outside: it fuses with what makes x.
    return call_unfused(tap_sum, pad(x, window), kernel)


def _input_slices(y: Array, kernel: Array, *, window: Window) -> Array:
    def gather(kernel: Array, views: Sequence[View]) -> Array:
        taps = [kernel[:, i, j] for (i, j), _ in views]
        return _weighted_sum([seen for _, (seen,) in views], taps)

    return transpose_window(window, gather, kernel, y)


def _kernel_slices(x: Array, y: Array, *, window: Window) -> Array:
    down, across = window.stride
    kh, kw = window.kernel
    height, width = window.output
    d = window.dilation
    padded = pad(x, window)
    sizes = (*x.shape[:2], down * (height - 1) + 1, *padded.shape[3:])
    terms = _largest_divisor(x.shape[1], _TERMS)
    grouped_y = _groups(y, terms)

    def row(i: Array) -> Array:
        zero = jnp.zeros_like(i)
        seen = lax.dynamic_slice(padded, (zero, zero, i * d, zero, zero), sizes)
        columns = (
            seen[:, :, ::down, j * d : j * d + across * (width - 1) + 1 : across]
            for j in range(kw)
        )
        # A sum of a few products in one fused loop, then the rest of the sum: half the
        # time of a product and a reduction of all of it.
        partial = jnp.stack([_dot_terms(_groups(c, terms), grouped_y) for c in columns])
        return jnp.sum(partial, axis=(2, 3)).sum(axis=2)

    # One row's code for all: the slices of a loop compile once.
    gradient = lax.map(row, jnp.arange(kh, dtype=jnp.int32))
    return jnp.moveaxis(gradient, 2, 0)


_TERMS = 8
"""Products that one fused loop adds up; the fastest of 4, 8 and 16."""


def _largest_divisor(n: int, limit: int) -> int:
    return max(d for d in range(1, limit + 1) if n % d == 0)


def _groups(x: Array, terms: int) -> Array:
    edges, batch = x.shape[:2]
    return x.reshape(edges, batch // terms, terms, *x.shape[2:])


def _dot_terms(x: Array, y: Array) -> Array:
    """Returns the sum of products over the third axis, term by term."""
    terms = (x[:, :, t] * y[:, :, t] for t in range(x.shape[2]))
    return functools.reduce(operator.add, terms)


def _max_and_index(x: Array, *, window: Window) -> list[Array]:
    """Returns the largest value, and the first tap that sees it as uint8."""
    padded = pad(x, window, -jnp.inf)
    best = tap_view(padded, window, window.taps[0])
    index = jnp.zeros(best.shape, jnp.uint8)
    for t, tap in enumerate(window.taps[1:], start=1):
        seen = tap_view(padded, window, tap)
        index = jnp.where(seen > best, jnp.uint8(t), index)
        best = jnp.maximum(seen, best)
    return [best, index]


def _select_slices(x: Array, index: Array, *, window: Window) -> Array:
    def select(padded: Array, index: Array) -> Array:
        taps = (
            jnp.where(index == t, tap_view(padded, window, tap), 0)
            for t, tap in enumerate(window.taps)
        )
        return functools.reduce(operator.add, taps)

    return call_unfused(select, pad(x, window), index)


def _scatter_slices(y: Array, index: Array, *, window: Window) -> Array:
    def gather(_: Array, views: Sequence[View]) -> Array:
        number = {tap: t for t, tap in enumerate(window.taps)}
        taps = (jnp.where(i == number[tap], seen, 0) for tap, (seen, i) in views)
        return functools.reduce(operator.add, taps)

    return transpose_window(window, gather, y, y, index, fills=(0, len(window.taps)))


# --- XLA's convolutions: every other platform --------------------------------------


def _to_channels(x: Array) -> Array:
    """Reshapes [edge, batch, h, w, channel] to [batch, h, w, edge * channel]."""
    edges, batch, height, width, channels = x.shape
    moved = jnp.moveaxis(x, 0, 3)
    return moved.reshape(batch, height, width, edges * channels)


def _from_channels(x: Array, edges: int) -> Array:
    return jnp.moveaxis(x.reshape(*x.shape[:3], edges, -1), 3, 0)


def _kernel_to_channels(kernel: Array) -> Array:
    edges, height, width, channels = kernel.shape
    return jnp.moveaxis(kernel, 0, 2).reshape(height, width, 1, edges * channels)


def _output_xla(x: Array, kernel: Array, *, window: Window) -> Array:
    features = _to_channels(x)
    result = lax.conv_general_dilated(
        features,
        _kernel_to_channels(kernel),
        window_strides=window.stride,
        padding=[(p, p) for p in window.padding],
        rhs_dilation=(window.dilation, window.dilation),
        dimension_numbers=DIMENSIONS,
        feature_group_count=features.shape[-1],
    )
    return _from_channels(result, x.shape[0])


# --- The primitives and their rules ------------------------------------------------


def _output_shape(x: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*x.shape[:2], *window.output, x.shape[-1])


def _input_shape(y: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*y.shape[:2], *window.image, y.shape[-1])


def _kernel_shape(x: Array, y: Array, *, window: Window) -> tuple[int, ...]:
    return (x.shape[0], *window.kernel, x.shape[-1])


def _pool_shapes(x: Array, *, window: Window) -> list[jax.ShapeDtypeStruct]:
    shape = _output_shape(x, x, window=window)
    return [jax.ShapeDtypeStruct(shape, dtype) for dtype in (x.dtype, jnp.uint8)]


output_p, input_p, kernel_p = make_window_products(
    "depthwise",
    _output_xla,
    output=Form(_output_shape, _output_slices),
    by_input=Form(_input_shape, _input_slices),
    by_kernel=Form(_kernel_shape, _kernel_slices),
)

_pool_p = make_primitive(
    "max_pool", shape=_pool_shapes, xla=_max_and_index, several=True
)
_select_p = make_primitive("max_pool_select", shape=_output_shape, xla=_select_slices)
_scatter_p = make_primitive("max_pool_scatter", shape=_input_shape, xla=_scatter_slices)


def _define_adjoints(primitive: Primitive, adjoint: Primitive) -> None:
    """Defines derivatives by the first array; the second, of taps, has no tangent."""
    ad.defjvp(
        primitive,
        lambda g, x, index, *, window: primitive.bind(g, index, window=window),
        None,
    )
    ad.primitive_transposes[primitive] = lambda ct, x, index, *, window: (
        adjoint.bind(ct, index, window=window),
        None,
    )


_define_adjoints(_select_p, _scatter_p)
_define_adjoints(_scatter_p, _select_p)


def _pool_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, window: Window
) -> Any:
    y, index = _pool_p.bind(*primals, window=window)
    change = _select_p.bind(ad.instantiate_zeros(tangents[0]), index, window=window)
    zero = ad.Zero(jax.typeof(index).to_tangent_aval())
    return [y, index], [change, zero]


ad.primitive_jvps[_pool_p] = _pool_jvp
