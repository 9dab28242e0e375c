"""Dense convolution whose gradients have their own CPU forms.

XLA's CPU backend runs a convolution well and its gradients badly: the one by the input
fifteen times slower than the convolution that it is, the one by the kernel a hundred
times slower inside a loop. There they are a mirrored convolution and matrix products
of shifted slices, and a 1x1 convolution is a matrix product throughout. Other
platforms keep XLA's convolutions.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from darts_jax.kernels.windows import (
    DIMENSIONS,
    Form,
    View,
    Window,
    make_window_products,
    pad,
    same_window,
    tap_view,
    transpose_window,
)


def conv(
    x: Float[Array, "batch height width channel"],
    kernel: Float[Array, "kernel_height kernel_width channel feature"],
    *,
    stride: tuple[int, int] = (1, 1),
) -> Float[Array, "batch out_height out_width feature"]:
    """Computes the cross-correlation with a kernel of odd size, padded to "same".

    Args:
      x: images.
      kernel: of odd size.
      stride: down and across.
    """
    window = same_window(x, kernel.shape[:2], stride)
    return output_p.bind(x, kernel, window=window)


def _product(views: Sequence[Array], kernels: Sequence[Array]) -> Array:
    """Returns the sum over taps of views [edge, *image, m] times [edge, m, n]."""
    result = _matmul(_side_by_side(views), jnp.concatenate(kernels, axis=1))
    return result.reshape(*views[0].shape[:-1], -1)


def _matmul(a: Array, b: Array) -> Array:
    # A plain product where it is alone: XLA transposes the operands of a batched one.
    return (a[0] @ b[0])[None] if len(a) == 1 else a @ b


def _side_by_side(views: Sequence[Array]) -> Array:
    """Returns views as [edge, pixel, tap * channel]."""
    joined = jnp.concatenate(views, axis=-1)
    return joined.reshape(joined.shape[0], -1, joined.shape[-1])


def _output_cpu(x: Array, kernel: Array, *, window: Window) -> Array:
    if window.kernel == (1, 1):
        return _product([tap_view(x, window, (0, 0))], [kernel[:, 0, 0]])
    return _output_xla(x, kernel, window=window)


def _input_cpu(y: Array, kernel: Array, *, window: Window) -> Array:
    if window.kernel != (1, 1) and window.stride == (1, 1):
        # XLA's own gradient is fifteen times slower than this convolution.
        mirrored = jnp.swapaxes(kernel[:, ::-1, ::-1], -1, -2)
        return _output_xla(y, mirrored, window=window.mirrored)

    def gather(kernel: Array, views: Sequence[View]) -> Array:
        matrices = [jnp.swapaxes(kernel[:, i, j], 1, 2) for (i, j), _ in views]
        return _product([seen for _, (seen,) in views], matrices)

    return transpose_window(window, gather, kernel, y)


def _kernel_cpu(x: Array, y: Array, *, window: Window) -> Array:
    if window.kernel != (1, 1) and window.stride == (1, 1):
        return _kernel_by_rows(x, y, window)
    padded = pad(x, window)
    views = [tap_view(padded, window, tap) for tap in window.taps]
    pixels = _side_by_side([y])
    gradient = _matmul(jnp.swapaxes(_side_by_side(views), 1, 2), pixels)
    return gradient.reshape(len(x), *window.kernel, x.shape[-1], y.shape[-1])


def _kernel_by_rows(x: Array, y: Array, window: Window) -> Array:
    """Computes, per row of taps, one product of the image with y for all columns."""
    kh, kw = window.kernel
    ph, pw = window.padding
    height, out_width = window.output
    width = window.image[1]
    margin = (kw - 1 - pw, width + pw - out_width)
    wide_y = jnp.pad(y, ((0, 0), (0, 0), (0, 0), margin, (0, 0)))
    columns = _side_by_side(
        [wide_y[:, :, :, kw - 1 - j : kw - 1 - j + width] for j in range(kw)]
    )
    padded = jnp.pad(x, ((0, 0), (0, 0), (ph, ph), (0, 0), (0, 0)))
    rows = [_side_by_side([padded[:, :, i : i + height]]) for i in range(kh)]
    products = [_matmul(jnp.swapaxes(row, 1, 2), columns) for row in rows]
    stacked = jnp.stack(products, axis=1)  # [edge, row, channel, column * feature]
    split = stacked.reshape(*stacked.shape[:3], kw, -1)
    return jnp.swapaxes(split, 2, 3)


def _output_xla(x: Array, kernel: Array, *, window: Window) -> Array:
    if window.kernel == (1, 1):
        return jnp.einsum(
            "enhwc,ecf->enhwf", tap_view(x, window, (0, 0)), kernel[:, 0, 0]
        )

    if len(x) == 1:
        return _conv_xla(x[0], kernel[0], window)[None]
    return jax.vmap(lambda x, kernel: _conv_xla(x, kernel, window))(x, kernel)


def _output_gpu(x: Array, kernel: Array, *, window: Window) -> Array:
    """Computes a convolution for every edge: cuDNN is slow at those of groups."""
    if window.kernel == (1, 1) or len(x) == 1:
        return _output_xla(x, kernel, window=window)
    pairs = zip(x, kernel, strict=True)
    return jnp.stack([_conv_xla(*pair, window) for pair in pairs])


def _conv_xla(x: Array, kernel: Array, window: Window) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=window.stride,
        padding=[(p, p) for p in window.padding],
        dimension_numbers=DIMENSIONS,
    )


def _output_shape(x: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*x.shape[:2], *window.output, kernel.shape[-1])


def _input_shape(y: Array, kernel: Array, *, window: Window) -> tuple[int, ...]:
    return (*y.shape[:2], *window.image, kernel.shape[-2])


def _kernel_shape(x: Array, y: Array, *, window: Window) -> tuple[int, ...]:
    return (x.shape[0], *window.kernel, x.shape[-1], y.shape[-1])


output_p, input_p, kernel_p = make_window_products(
    "conv",
    _output_xla,
    output=Form(_output_shape, _output_cpu),
    by_input=Form(_input_shape, _input_cpu),
    by_kernel=Form(_kernel_shape, _kernel_cpu),
    xla_gpu=_output_gpu,
)
