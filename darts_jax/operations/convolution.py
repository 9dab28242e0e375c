"""Dense convolution with its own CPU form: patches times a matrix.

XLA's CPU backend is slow at convolutions of few channels, above all inside loops. On
CPU a convolution is a matrix product of shifted slices, side by side, with the kernel;
so are both of its gradients. Other platforms keep XLA's convolutions.
"""

import jax
import jax.numpy as jnp
from jax import lax
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


def conv(
    x: Float[Array, "batch height width channel"],
    kernel: Float[Array, "kernel_height kernel_width channel feature"],
    *,
    stride: int = 1,
) -> Float[Array, "batch out_height out_width feature"]:
    """Cross-correlation with an odd-sized kernel, padded to "same"."""
    kh, kw = kernel.shape[:2]
    window = Window(size_of(x), (kh, kw), stride, 1, (kh // 2, kw // 2))
    return _output_p.bind(x[None], kernel[None], window=window)[0]


def _patches(padded: Array, window: Window) -> Array:
    """[edge, batch * out_height * out_width, tap * channel]."""
    taps = [tap_of(padded, window, tap) for tap in window.taps]
    joined = jnp.concatenate(taps, axis=-1)
    return joined.reshape(joined.shape[0], -1, joined.shape[-1])


def _output_slices(x: Array, kernel: Array, *, window: Window) -> Array:
    edges, features = kernel.shape[0], kernel.shape[-1]
    matrix = kernel.reshape(edges, -1, features)
    result = _patches(pad(x, window), window) @ matrix
    return result.reshape(*x.shape[:2], *window.output, features)


def _input_slices(y: Array, kernel: Array, *, window: Window) -> Array:
    flipped = jnp.swapaxes(kernel[:, ::-1, ::-1], -1, -2)
    return _output_slices(spread(y, window), flipped, window=window.adjoint)


def _kernel_slices(x: Array, y: Array, *, window: Window) -> Array:
    edges, features = x.shape[0], y.shape[-1]
    patches = _patches(pad(x, window), window)
    gradient = jnp.swapaxes(patches, 1, 2) @ y.reshape(edges, -1, features)
    return gradient.reshape(edges, *window.kernel, x.shape[-1], features)


def _output_xla(x: Array, kernel: Array, *, window: Window) -> Array:
    def one(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(window.stride, window.stride),
            padding=[(p, p) for p in window.padding],
            dimension_numbers=_DIMENSIONS,
        )

    return jax.vmap(one)(x, kernel)


def _input_xla(y: Array, kernel: Array, *, window: Window) -> Array:
    like = jax.ShapeDtypeStruct(_input_shape(y, kernel, window=window), y.dtype)
    return jax.linear_transpose(lambda x: _output_xla(x, kernel, window=window), like)(
        y
    )[0]


def _kernel_xla(x: Array, y: Array, *, window: Window) -> Array:
    like = jax.ShapeDtypeStruct(_kernel_shape(x, y, window=window), x.dtype)
    return jax.linear_transpose(lambda k: _output_xla(x, k, window=window), like)(y)[0]


def _output_shape(x: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*x.shape[:2], *window.output, kernel.shape[-1])


def _input_shape(y: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*y.shape[:2], *window.image, kernel.shape[-2])


def _kernel_shape(x: Array, y: Array, *, window: Window) -> tuple[int, ...]:
    return (x.shape[0], *window.kernel, x.shape[-1], y.shape[-1])


_output_p = make_primitive("conv", _output_shape, _output_slices, _output_xla)
_input_p = make_primitive("conv_input", _input_shape, _input_slices, _input_xla)
_kernel_p = make_primitive("conv_kernel", _kernel_shape, _kernel_slices, _kernel_xla)
close_under_transposition(_output_p, _input_p, _kernel_p)
