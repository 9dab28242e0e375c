"""Depthwise convolution and max pooling with their own derivative and CPU forms.

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

import functools
import operator

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array, Float

from darts_jax.operations.windows import (
    Window,
    close_under_transposition,
    make_primitive,
    pad,
    size_of,
    spread,
    tap_of,
)

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


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
      same: whether zeros surround the image (kernels of odd size), or none do.
    """
    kh, kw = kernel.shape[:2]
    padding = (dilation * (kh // 2), dilation * (kw // 2)) if same else (0, 0)
    window = Window(size_of(x), (kh, kw), stride, dilation, padding)
    return _output_p.bind(x[None], kernel[None], window=window)[0]


def max_pool(
    x: Float[Array, "batch height width channel"], *, size: int, stride: int
) -> Float[Array, "batch out_height out_width channel"]:
    """Largest value of every window, padded to "same" with minus infinity.

    The gradient goes to the first largest value of a window, in row-major order.
    """
    padding = (size // 2, size // 2)
    window = Window(size_of(x), (size, size), stride, 1, padding)
    return _max_pool(x, window)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _max_pool(x: Array, window: Window) -> Array:
    return _max_and_index(x, window)[0]


@_max_pool.defjvp
def _max_pool_jvp(
    window: Window, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    index = _max_and_index(lax.stop_gradient(x), window)[1]
    selected = _select_p.bind(tangent[None], index[None], window=window)[0]
    return _max_pool(x, window), selected


def max_pool_2x2(
    x: Float[Array, "batch height width channel"],
) -> Float[Array, "batch half_height half_width channel"]:
    """Largest value of every 2x2 block; an odd image's last row or column is one."""
    height, width = x.shape[1:3]
    window = Window((height + height % 2, width + width % 2), (2, 2), 2, 1, (0, 0))
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return _max_pool(jnp.pad(x, odd, constant_values=-jnp.inf), window)


def avg_pool(
    x: Float[Array, "batch height width channel"], *, size: int, stride: int
) -> Float[Array, "batch out_height out_width channel"]:
    """Mean of every window over the pixels inside the image (padding not counted)."""
    taps = jnp.ones((size, size, x.shape[-1]), x.dtype)
    pixels = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    count = depthwise_conv(pixels, taps[..., :1], stride=stride)
    return depthwise_conv(x, taps, stride=stride) / count


# --- Shifted slices: the CPU forms -------------------------------------------------


def _output_slices(x: Array, kernel: Array, *, window: Window) -> Array:
    padded = pad(x, window)
    taps = (
        tap_of(padded, window, (i, j)) * kernel[:, None, None, None, i, j]
        for i, j in window.taps
    )
    return functools.reduce(operator.add, taps)


def _input_slices(y: Array, kernel: Array, *, window: Window) -> Array:
    flipped = kernel[:, ::-1, ::-1]
    return _output_slices(spread(y, window), flipped, window=window.adjoint)


def _kernel_slices(x: Array, y: Array, *, window: Window) -> Array:
    padded = pad(x, window)
    (height, width), s, d = window.output, window.stride, window.dilation
    sizes = (*x.shape[:2], s * (height - 1) + 1, s * (width - 1) + 1, x.shape[-1])

    def tap(index: Array) -> Array:
        i, j = index // window.kernel[1], index % window.kernel[1]
        zero = jnp.zeros_like(i)
        seen = lax.dynamic_slice(padded, (zero, zero, i * d, j * d, zero), sizes)
        # Rows first: the long inner axis [width * channel] fills the vectors.
        return jnp.sum(seen[:, :, ::s, ::s] * y, axis=(1, 2)).sum(axis=1)

    # One tap's code for all: the slices of a loop compile once.
    gradient = lax.map(tap, jnp.arange(len(window.taps), dtype=jnp.int32))
    return jnp.moveaxis(gradient, 0, 1).reshape(x.shape[0], *window.kernel, -1)


def _max_and_index(x: Array, window: Window) -> tuple[Array, Array]:
    """The largest value and the first tap that sees it."""
    padded = pad(x, window, -jnp.inf)
    best = tap_of(padded, window, window.taps[0])
    index = jnp.zeros(best.shape, jnp.uint8)
    for t, tap in enumerate(window.taps[1:], start=1):
        seen = tap_of(padded, window, tap)
        index = jnp.where(seen > best, jnp.uint8(t), index)
        best = jnp.maximum(seen, best)
    return best, index


def _select_slices(x: Array, index: Array, *, window: Window) -> Array:
    padded = pad(x, window)
    taps = (
        jnp.where(index == t, tap_of(padded, window, tap), 0)
        for t, tap in enumerate(window.taps)
    )
    return functools.reduce(operator.add, taps)


def _scatter_slices(y: Array, index: Array, *, window: Window) -> Array:
    nowhere = len(window.taps)
    spread_y = spread(y, window)
    spread_index = spread(index, window, nowhere)
    taps = []
    for t, (i, j) in enumerate(window.taps):
        mirrored = (window.kernel[0] - 1 - i, window.kernel[1] - 1 - j)
        here = tap_of(spread_index, window.adjoint, mirrored) == t
        taps.append(jnp.where(here, tap_of(spread_y, window.adjoint, mirrored), 0))
    return functools.reduce(operator.add, taps)


# --- XLA's convolutions: every other platform --------------------------------------


def _to_channels(x: Array) -> Array:
    """[edge, batch, h, w, channel] -> [batch, h, w, edge * channel]."""
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
        window_strides=(window.stride, window.stride),
        padding=[(p, p) for p in window.padding],
        rhs_dilation=(window.dilation, window.dilation),
        dimension_numbers=_DIMENSIONS,
        feature_group_count=features.shape[-1],
    )
    return _from_channels(result, x.shape[0])


def _input_xla(y: Array, kernel: Array, *, window: Window) -> Array:
    shape = (*y.shape[:2], *window.image, y.shape[-1])
    like = jax.ShapeDtypeStruct(shape, y.dtype)
    transpose = jax.linear_transpose(
        lambda x: _output_xla(x, kernel, window=window), like
    )
    return transpose(y)[0]


def _kernel_xla(x: Array, y: Array, *, window: Window) -> Array:
    shape = (x.shape[0], *window.kernel, x.shape[-1])
    like = jax.ShapeDtypeStruct(shape, x.dtype)
    transpose = jax.linear_transpose(lambda k: _output_xla(x, k, window=window), like)
    return transpose(y)[0]


# --- The primitives and their rules ------------------------------------------------


def _output_shape(x: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*x.shape[:2], *window.output, x.shape[-1])


def _input_shape(y: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*y.shape[:2], *window.image, y.shape[-1])


def _kernel_shape(x: Array, y: Array, *, window: Window) -> tuple[int, ...]:
    return (x.shape[0], *window.kernel, x.shape[-1])


_output_p = make_primitive("depthwise", _output_shape, _output_slices, _output_xla)
_input_p = make_primitive("depthwise_input", _input_shape, _input_slices, _input_xla)
_kernel_p = make_primitive(
    "depthwise_kernel", _kernel_shape, _kernel_slices, _kernel_xla
)

close_under_transposition(_output_p, _input_p, _kernel_p)

_select_p = make_primitive(
    "max_pool_select", _output_shape, _select_slices, _select_slices
)
_scatter_p = make_primitive(
    "max_pool_scatter", _input_shape, _scatter_slices, _scatter_slices
)


def _define_adjoints(primitive: Primitive, adjoint: Primitive) -> None:
    """Linear in the first array; the second one, taps as integers, has no tangent."""
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
