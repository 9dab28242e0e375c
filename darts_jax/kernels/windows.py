"""Sliding windows: their geometry, their taps, and how they run backwards.

Arrays have a leading edge axis: images are [edge, batch, height, width, channel].
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array

from darts_jax.kernels.cpu import call_kernel
from darts_jax.kernels.edges import make_primitive
from darts_jax.kernels.precision import convolution_precision

# Layouts of images, kernels and results for XLA's convolutions.
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Window:
    """Geometry of a sliding window, with symmetric padding.

    Attributes:
      image: height and width of the input, in pixels.
      kernel: height and width of the window, in taps.
      stride: down and across, in pixels.
      dilation: distance of neighbouring taps, in pixels.
      padding: rows above and below, columns left and right.
      precision: JAX's name of the precision of products; None: JAX's default.
    """

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: int
    padding: tuple[int, int]
    precision: str | None = None

    @property
    def reach(self) -> tuple[int, int]:
        """Distance from the first to the last tap, down and across."""
        kh, kw = self.kernel
        return self.dilation * (kh - 1), self.dilation * (kw - 1)

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output, in pixels."""
        height, width = (
            (size + 2 * padding - reach - 1) // stride + 1
            for size, padding, reach, stride in zip(
                self.image, self.padding, self.reach, self.stride, strict=True
            )
        )
        return height, width

    @property
    def mirrored(self) -> "Window":
        """The window over the output whose result is the input; for stride 1."""
        padding = self.reach[0] - self.padding[0], self.reach[1] - self.padding[1]
        return dataclasses.replace(self, image=self.output, padding=padding)

    @property
    def taps(self) -> tuple[tuple[int, int], ...]:
        """Row and column of every tap, in row-major order."""
        return tuple(itertools.product(range(self.kernel[0]), range(self.kernel[1])))


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of edges that slide over images of one size, all padded to "same".

    Edge ``e`` has the window ``parts[e % len(parts)]``. Their kernels are square and
    lie in an array of the largest one's size, each in its first rows and columns.

    Attributes:
      parts: of one stride and one precision.
    """

    parts: tuple[Window, ...]

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of the input, in pixels."""
        return self.parts[0].image

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output, in pixels."""
        return self.parts[0].output

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the array that holds a kernel, in taps."""
        return max(part.kernel for part in self.parts)

    @property
    def precision(self) -> str | None:
        """JAX's name of the precision of products; None: JAX's default."""
        return self.parts[0].precision

    def widen(self, kernel: Array) -> Array:
        """Returns a part's kernel [height, width, channel] in an array for any part.

        Args:
          kernel: the part's own.
        """
        sizes = zip(kernel.shape, (*self.kernel, kernel.shape[-1]), strict=True)
        return jnp.pad(kernel, [(0, large - size) for size, large in sizes])


def same_window(
    x: Array, size: tuple[int, ...], stride: tuple[int, int], dilation: int = 1
) -> Window:
    """Returns a window that is padded so that stride 1 keeps the image's size.

    Its precision is that in which convolutions are traced here.

    Args:
      x: images [..., height, width, channel].
      size: height and width of the window, odd.
      stride: down and across.
      dilation: distance of neighbouring taps.
    """
    height, width = size
    padding = dilation * (height // 2), dilation * (width // 2)
    return Window(
        (x.shape[-3], x.shape[-2]),
        (height, width),
        stride,
        dilation,
        padding,
        convolution_precision(),
    )


def pad(x: Array, window: Window, value: float = 0.0) -> Array:
    """Pads images [..., height, width, channel] as a window asks.

    Args:
      x: the images.
      window: with its padding.
      value: of the border.
    """
    rows, columns = window.padding
    border = [(rows, rows), (columns, columns), (0, 0)]
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + border, constant_values=value)


def tap_view(padded: Array, window: Window, tap: tuple[int, int]) -> Array:
    """Returns the pixels that a tap sees, one for every pixel of the output.

    Args:
      padded: images [..., height, width, channel], from `pad`.
      window: that slides over them.
      tap: row and column of the tap.
    """
    rows, columns = (
        slice(
            i * window.dilation, i * window.dilation + stride * (size - 1) + 1, stride
        )
        for i, stride, size in zip(tap, window.stride, window.output, strict=True)
    )
    return padded[..., rows, columns, :]


View = tuple[tuple[int, int], tuple[Array, ...]]
"""A tap, and the values of arrays at the outputs where it sees the wanted pixels."""


def transpose_window(
    window: Window,
    gather: Callable[[Array, Sequence[View]], Array],
    kernel: Array,
    *outputs: Array,
    fills: Sequence[float] = (0.0,),
) -> Array:
    """Computes every pixel of an image from the outputs whose window saw it.

    Pixels that are a stride apart are seen by the same taps, so the image is computed
    phase by phase and then interleaved: no work is spent on gaps between outputs.

    Args:
      window: that has slid over the image.
      gather: makes pixels [edge, batch, rows, columns, channel] of a kernel and of
        their views.
      kernel: for ``gather``.
      outputs: arrays at the outputs, [edge, batch, out_height, out_width, channel].
      fills: value of each array beyond its border.

    Returns:
      [edge, batch, height, width, channel].
    """
    down, across = (_Axis.of(window, axis) for axis in (0, 1))
    padded = [
        jnp.pad(y, ((0, 0), (0, 0), down.margin, across.margin, (0, 0)), "constant",
                constant_values=fill)
        for y, fill in zip(outputs, fills, strict=True)
    ]  # fmt: skip

    def phase(rows: Sequence[_Seen], columns: Sequence[_Seen]) -> Array | None:
        places = tuple(itertools.product(rows, columns))
        if not places:
            return None

        def pixels(kernel: Array, *padded: Array) -> Array:
            views = [
                ((i, j), tuple(y[:, :, row, column] for y in padded))
                for (i, row), (j, column) in places
            ]
            return gather(kernel, views)

        return call_unfused(pixels, kernel, *padded)

    phases = [
        [phase(rows, columns) for columns in across.phases] for rows in down.phases
    ]
    first = phases[0][0]
    if window.stride == (1, 1) and first is not None:
        return first
    some = next(p for p in itertools.chain(*phases) if p is not None)
    grid = [[jnp.zeros_like(some) if p is None else p for p in row] for row in phases]
    image = jnp.stack([jnp.stack(row, axis=4) for row in grid], axis=3)
    edges, batch, height, sh, width, sw, channels = image.shape
    image = image.reshape(edges, batch, height * sh, width * sw, channels)
    return image[:, :, : window.image[0], : window.image[1]]


_Seen = tuple[int, slice]
"""A tap, and the outputs where it sees a phase's pixels."""


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Geometry of a transposed window along an axis.

    Attributes:
      size: number of pixels of a phase.
      margin: how many outputs taps reach before the first and behind the last.
      phases: taps that see the pixels of a phase, by the pixels' rest modulo the
        stride.
    """

    size: int
    margin: tuple[int, int]
    phases: tuple[tuple[_Seen, ...], ...]

    @classmethod
    def of(cls, window: Window, axis: int) -> "_Axis":
        stride = window.stride[axis]
        padding = window.padding[axis]
        size = -(-window.image[axis] // stride)
        shifts = {
            (phase, tap): (phase + padding - tap * window.dilation) // stride
            for phase in range(stride)
            for tap in range(window.kernel[axis])
            if (phase + padding - tap * window.dilation) % stride == 0
        }
        before = max(0, -min(shifts.values()))
        behind = max(0, max(shifts.values()) + size - window.output[axis])
        phases = tuple(
            tuple(
                (tap, slice(before + shift, before + shift + size))
                for (of, tap), shift in shifts.items()
                if of == phase
            )
            for phase in range(stride)
        )
        return cls(size, (before, behind), phases)


def call_unfused(function: Callable[..., Array], *arrays: Array) -> Array:
    """Calls a function that XLA's CPU backend shall not fuse with its surroundings.

    It would fuse the slices of a whole mixed operation into one loop of a hundred
    inputs, which is neither vectorised nor run in parallel: ten times slower. A
    conditional is a border that fusion can't cross (an optimization barrier is gone
    before fusion begins); this one's other branch is never taken. Other platforms call
    the function.

    Args:
      function: of the arrays.
      arrays: its arguments.
    """
    result = jax.eval_shape(function, *arrays)

    def fenced(*arrays: Array) -> Array:
        # A number from the middle, as the compiler knows what lies in a padded border;
        # and of the smallest array, a kernel that every device holds, so that a divided
        # batch needs no message.
        witness = min(arrays, key=lambda array: array.size)
        middle = tuple(size // 2 for size in witness.shape)
        number = lax.convert_element_type(witness[middle], jnp.int32)
        return lax.cond(
            (number | 1) != 0,  # always, but the compiler does not know
            function,
            lambda *_: jnp.zeros(result.shape, result.dtype),
            *arrays,
        )

    return lax.platform_dependent(*arrays, cpu=fenced, default=function)


def geometry_of(window: Window) -> np.ndarray:
    """Returns a window's numbers that a kernel cannot read from the arrays' shapes.

    Args:
      window: the window.

    Returns:
      int64 [5]: stride, dilation, padding.
    """
    return np.array((*window.stride, window.dilation, *window.padding), np.int64)


class Form(NamedTuple):
    """Two parts of a map of images and kernels whose edges have a leading axis.

    Attributes:
      shape: returns the shape of the result.
      xla_cpu: the map by XLA's operations on CPU.
    """

    shape: Callable[..., tuple[int, ...]]
    xla_cpu: Callable[..., Array]


def make_window_products(
    name: str,
    xla: Callable[..., Array],
    *,
    output: Form,
    by_input: Form,
    by_kernel: Form,
    xla_gpu: Callable[..., Array] | None = None,
) -> tuple[Primitive, Primitive, Primitive]:
    """Makes the primitives of a product of images and kernels, and of its transposes.

    With ``T(x, k, y) = sum(y * output(x, k))`` they are ``output(x, k) = dT/dy``,
    ``by_input(y, k) = dT/dx`` and ``by_kernel(x, y) = dT/dk``: each is linear in both
    arguments, and its transposes are the other two.

    Args:
      name: of the first primitive, and of its native kernel.
      xla: the product by XLA's operations, where a platform has no form of its own.
      output: the product.
      by_input: its transpose by the images.
      by_kernel: its transpose by the kernels.
      xla_gpu: the product by XLA's operations on GPUs; None: all three have the forms
        there that they have on CPU.

    Returns:
      The primitives in this order.
    """

    def make(
        name: str,
        form: Form,
        xla: Callable[..., Array],
        xla_gpu: Callable[..., Array],
    ) -> Primitive:
        return make_primitive(
            name,
            shape=form.shape,
            xla=xla,
            xla_cpu=form.xla_cpu,
            native_cpu=_native_form(name, form.shape),
            xla_gpu=xla_gpu,
        )

    def all_by(product: Callable[..., Array]) -> tuple[Callable[..., Array], ...]:
        return product, *_transposes(product, by_input.shape, by_kernel.shape)

    forms = (output, by_input, by_kernel)
    names = (name, f"{name}_input", f"{name}_kernel")
    on_gpu = all_by(xla_gpu) if xla_gpu else [form.xla_cpu for form in forms]
    output_p, input_p, kernel_p = map(make, names, forms, all_by(xla), on_gpu)
    _close_under_transposition(output_p, input_p, kernel_p)
    return output_p, input_p, kernel_p


def _native_form(
    name: str, shape: Callable[..., tuple[int, ...]]
) -> Callable[..., Array]:
    def form(a: Array, b: Array, *, window: Window) -> Array:
        result = shape(a, b, window=window)
        return call_kernel(name, result, a, b, geometry=geometry_of(window))

    return form


def _transposes(
    output: Callable[..., Array],
    input_shape: Callable[..., tuple[int, ...]],
    kernel_shape: Callable[..., tuple[int, ...]],
) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Returns the transposes of ``output(x, kernel, window)`` by either array."""

    def by_input(y: Array, kernel: Array, *, window: Window) -> Array:
        like = jax.ShapeDtypeStruct(input_shape(y, kernel, window=window), y.dtype)
        back = jax.linear_transpose(lambda x: output(x, kernel, window=window), like)
        return back(y)[0]

    def by_kernel(x: Array, y: Array, *, window: Window) -> Array:
        like = jax.ShapeDtypeStruct(kernel_shape(x, y, window=window), x.dtype)
        back = jax.linear_transpose(lambda k: output(x, k, window=window), like)
        return back(y)[0]

    return by_input, by_kernel


def _close_under_transposition(
    output: Primitive, by_input: Primitive, by_kernel: Primitive
) -> None:
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
