"""Sliding windows: their geometry, their taps, and primitives made of them.

Arrays have a leading edge axis: images are [edge, batch, height, width, channel]. A
primitive's batching rule extends that axis, so `vmap` over edges costs no transpose.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


@dataclasses.dataclass(frozen=True)
class Window:
    """Geometry of a sliding window, with symmetric padding.

    Attributes:
      image: height and width of the input.
      kernel: height and width of the window.
    """

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: int
    dilation: int
    padding: tuple[int, int]

    @property
    def reach(self) -> tuple[int, int]:
        """Distance from the first to the last tap."""
        kh, kw = self.kernel
        return self.dilation * (kh - 1), self.dilation * (kw - 1)

    @property
    def output(self) -> tuple[int, int]:
        height, width = (
            (size + 2 * pad - reach - 1) // self.stride + 1
            for size, pad, reach in zip(
                self.image, self.padding, self.reach, strict=True
            )
        )
        return height, width

    @property
    def taps(self) -> tuple[tuple[int, int], ...]:
        return tuple(itertools.product(range(self.kernel[0]), range(self.kernel[1])))

    @property
    def adjoint(self) -> "Window":
        """The stride-1 window that slides over a dilated output to the input."""
        height, width = self.image
        return Window(
            (height + self.reach[0], width + self.reach[1]),
            self.kernel,
            stride=1,
            dilation=self.dilation,
            padding=(0, 0),
        )


def size_of(x: Array) -> tuple[int, int]:
    return x.shape[1], x.shape[2]


def pad(x: Array, window: Window, value: float = 0.0) -> Array:
    (ph, pw), rank = window.padding, x.ndim
    widths = [(0, 0)] * (rank - 3) + [(ph, ph), (pw, pw), (0, 0)]
    return jnp.pad(x, widths, constant_values=value)


def tap_of(padded: Array, window: Window, tap: tuple[int, int]) -> Array:
    """What tap (i, j) of the window sees at every position of the output."""
    s, d = window.stride, window.dilation
    (i, j), (height, width) = tap, window.output
    rows = slice(i * d, i * d + s * (height - 1) + 1, s)
    columns = slice(j * d, j * d + s * (width - 1) + 1, s)
    return padded[..., rows, columns, :]


def spread(y: Array, window: Window, value: float = 0.0) -> Array:
    """Places outputs where the window's adjoint reads them: strides become gaps."""
    s = window.stride
    sizes = zip(window.image, window.reach, window.padding, window.output, strict=True)
    spatial = []
    for size, reach, pad, out in sizes:
        low = reach - pad
        spatial.append((low, size + reach - low - (out - 1) * s - 1, s - 1))
    config = [(0, 0, 0)] * (y.ndim - 3) + [*spatial, (0, 0, 0)]
    return lax.pad(y, jnp.array(value, y.dtype), config)


def make_primitive(
    name: str,
    shape: Callable[..., tuple[int, ...]],
    cpu: Callable[..., Array],
    other: Callable[..., Array],
) -> Primitive:
    """A primitive of two arrays with a leading edge axis, which batching extends."""
    primitive = Primitive(name)
    compiled = jax.jit(primitive.bind, static_argnames="window")
    primitive.def_impl(lambda *arrays, window: compiled(*arrays, window=window))

    def abstract(a: Array, b: Array, *, window: Window) -> jax.core.ShapedArray:
        return jax.core.ShapedArray(shape(a, b, window=window), a.dtype)

    def batch(
        arrays: Sequence[Array], axes: Sequence[int | None], *, window: Window
    ) -> tuple[Array, int]:
        size = next(
            a.shape[axis]
            for a, axis in zip(arrays, axes, strict=True)
            if axis is not None
        )
        merged = []
        for array, axis in zip(arrays, axes, strict=True):
            if axis is None:
                leading = jnp.broadcast_to(array, (size, *array.shape))
            else:
                leading = jnp.moveaxis(array, axis, 0)
            merged.append(leading.reshape(-1, *leading.shape[2:]))
        result = primitive.bind(*merged, window=window)
        return result.reshape(size, -1, *result.shape[1:]), 0

    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(other, multiple_results=False))
    lower_cpu = mlir.lower_fun(cpu, multiple_results=False)
    mlir.register_lowering(primitive, lower_cpu, platform="cpu")
    return primitive


def close_under_transposition(
    output: Primitive, by_input: Primitive, by_kernel: Primitive
) -> None:
    """Derivatives of the three maps of a trilinear form, by each other.

    With ``T(x, k, y) = sum(y * output(x, k))`` they are ``output(x, k) = dT/dy``,
    ``by_input(y, k) = dT/dx`` and ``by_kernel(x, y) = dT/dk``: each is linear in both
    arguments, and its transposes are the other two.
    """
    ad.defbilinear(
        output,
        lambda ct, x, k, *, window: by_input.bind(ct, k, window=window),
        lambda ct, x, k, *, window: by_kernel.bind(x, ct, window=window),
    )
    ad.defbilinear(
        by_input,
        lambda ct, y, k, *, window: output.bind(ct, k, window=window),
        lambda ct, y, k, *, window: by_kernel.bind(ct, y, window=window),
    )
    ad.defbilinear(
        by_kernel,
        lambda ct, x, y, *, window: by_input.bind(y, ct, window=window),
        lambda ct, x, y, *, window: output.bind(x, ct, window=window),
    )
