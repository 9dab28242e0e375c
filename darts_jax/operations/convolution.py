"""Dense convolution with its own CPU form: patches times a matrix.

XLA's CPU backend is slow at convolutions of few channels, above all inside loops. On
CPU a convolution is a matrix product of shifted slices, side by side, with the kernel;
so are both of its gradients. Other platforms keep XLA's convolutions.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from darts_jax.operations.windows import (
    DIMENSIONS,
    View,
    Window,
    close_under_transposition,
    gradients_of,
    make_primitive,
    pad,
    size_of,
    tap_of,
    transposed,
)


def conv(
    x: Float[Array, "batch height width channel"],
    kernel: Float[Array, "kernel_height kernel_width channel feature"],
    *,
    stride: tuple[int, int] = (1, 1),
) -> Float[Array, "batch out_height out_width feature"]:
    """Cross-correlation with an odd-sized kernel, padded to "same"."""
    kh, kw = kernel.shape[:2]
    window = Window(size_of(x), (kh, kw), stride, 1, (kh // 2, kw // 2))
    return _output_p.bind(x[None], kernel[None], window=window)[0]


def _product(views: Sequence[Array], kernels: Sequence[Array]) -> Array:
    """Sum over taps of images [edge, *image, m] times matrices [edge, m, n]."""
    a, b = _side_by_side(views), jnp.concatenate(kernels, axis=1)
    result = (a[0] @ b[0])[None] if len(a) == 1 else a @ b
    return result.reshape(*views[0].shape[:-1], -1)


def _side_by_side(views: Sequence[Array]) -> Array:
    """[edge, pixel, tap * channel]."""
    joined = jnp.concatenate(views, axis=-1)
    return joined.reshape(joined.shape[0], -1, joined.shape[-1])


def _output_slices(x: Array, kernel: Array, *, window: Window) -> Array:
    padded = pad(x, window)
    views = [tap_of(padded, window, tap) for tap in window.taps]
    return _product(views, [kernel[:, i, j] for i, j in window.taps])


def _input_slices(y: Array, kernel: Array, *, window: Window) -> Array:
    def gather(views: Sequence[View]) -> Array:
        matrices = [jnp.swapaxes(kernel[:, i, j], 1, 2) for (i, j), _ in views]
        return _product([seen for _, (seen,) in views], matrices)

    return transposed(window, gather, y)


def _kernel_slices(x: Array, y: Array, *, window: Window) -> Array:
    padded = pad(x, window)
    views = [tap_of(padded, window, tap) for tap in window.taps]
    a = jnp.swapaxes(_side_by_side(views), 1, 2)
    b = y.reshape(len(y), -1, y.shape[-1])
    # A plain product where it is alone: XLA transposes the operands of a batched one.
    gradient = (a[0] @ b[0])[None] if len(a) == 1 else a @ b
    return gradient.reshape(len(x), *window.kernel, x.shape[-1], y.shape[-1])


def _output_xla(x: Array, kernel: Array, *, window: Window) -> Array:
    if window.kernel == (1, 1):
        return jnp.einsum(
            "enhwc,ecf->enhwf", tap_of(x, window, (0, 0)), kernel[:, 0, 0]
        )

    def one(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides=window.stride,
            padding=[(p, p) for p in window.padding],
            dimension_numbers=DIMENSIONS,
        )

    return jax.vmap(one)(x, kernel)


def _output_shape(x: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*x.shape[:2], *window.output, kernel.shape[-1])


def _input_shape(y: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*y.shape[:2], *window.image, kernel.shape[-2])


def _kernel_shape(x: Array, y: Array, *, window: Window) -> tuple[int, ...]:
    return (x.shape[0], *window.kernel, x.shape[-1], y.shape[-1])


_input_xla, _kernel_xla = gradients_of(_output_xla, _input_shape, _kernel_shape)
_output_p = make_primitive("conv", _output_shape, _output_slices, _output_xla)
_input_p = make_primitive("conv_input", _input_shape, _input_slices, _input_xla)
_kernel_p = make_primitive("conv_kernel", _kernel_shape, _kernel_slices, _kernel_xla)
close_under_transposition(_output_p, _input_p, _kernel_p)
