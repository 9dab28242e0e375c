"""Sliding windows: their geometry, their taps, and how they run backwards.

Arrays have a leading edge axis: images are [edge, batch, height, width, channel].
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array

from darts_jax.kernels.cpu import call_kernel

# Layouts of images, kernels and results for XLA's convolutions.
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Window:
    """Geometry of a sliding window, with symmetric padding.

    Attributes:
      image: height and width of the input.
      kernel: height and width of the window.
      stride: down and across.
      dilation: down and across.
      padding: rows above and below, columns left and right.
    """

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
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
            (size + 2 * pad - reach - 1) // stride + 1
            for size, pad, reach, stride in zip(
                self.image, self.padding, self.reach, self.stride, strict=True
            )
        )
        return height, width

    @property
    def mirrored(self) -> "Window":
        """For stride 1: the window that slides over the output to give the input."""
        padding = self.reach[0] - self.padding[0], self.reach[1] - self.padding[1]
        return dataclasses.replace(self, image=self.output, padding=padding)

    @property
    def taps(self) -> tuple[tuple[int, int], ...]:
        return tuple(itertools.product(range(self.kernel[0]), range(self.kernel[1])))


def same_window(
    x: Array, size: tuple[int, ...], stride: tuple[int, int], dilation: int = 1
) -> Window:
    """The window of an odd size that is padded so that stride 1 keeps the image's."""
    height, width = size
    padding = dilation * (height // 2), dilation * (width // 2)
    return Window(
        (x.shape[-3], x.shape[-2]), (height, width), stride, dilation, padding
    )


def pad(x: Array, window: Window, value: float = 0.0) -> Array:
    (ph, pw), rank = window.padding, x.ndim
    widths = [(0, 0)] * (rank - 3) + [(ph, ph), (pw, pw), (0, 0)]
    return jnp.pad(x, widths, constant_values=value)


def tap_of(padded: Array, window: Window, tap: tuple[int, int]) -> Array:
    """What tap (i, j) of the window sees at every position of the output."""
    rows, columns = (
        slice(
            i * window.dilation, i * window.dilation + stride * (size - 1) + 1, stride
        )
        for i, stride, size in zip(tap, window.stride, window.output, strict=True)
    )
    return padded[..., rows, columns, :]


View = tuple[tuple[int, int], tuple[Array, ...]]
"""A tap, and what lies at the outputs where it sees the pixels in question."""


def transposed(
    window: Window,
    gather: Callable[[Array, Sequence[View]], Array],
    kernel: Array,
    *outputs: Array,
    fills: Sequence[float] = (0.0,),
) -> Array:
    """Runs a window backwards: for every pixel, from the outputs that saw it.

    Pixels that are a stride apart are seen by the same taps, so the image is computed
    phase by phase and then interleaved: no work is spent on gaps between outputs.

    Args:
      gather: makes pixels [edge, batch, rows, columns, channel] of a kernel and of
        their views.
      outputs: arrays at the outputs, [edge, batch, out_height, out_width, channel].
      fills: what stands in each array's place outside.
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

        return alone(pixels, kernel, *padded)

    phases = [
        [phase(rows, columns) for columns in across.phases] for rows in down.phases
    ]
    (first, *_), *_ = phases
    if window.stride == (1, 1) and first is not None:
        return first
    some = next(p for p in itertools.chain(*phases) if p is not None)
    grid = [[jnp.zeros_like(some) if p is None else p for p in row] for row in phases]
    image = jnp.stack([jnp.stack(row, axis=4) for row in grid], axis=3)
    edges, batch, height, sh, width, sw, channels = image.shape
    image = image.reshape(edges, batch, height * sh, width * sw, channels)
    return image[:, :, : window.image[0], : window.image[1]]


_Seen = tuple[int, slice]  # a tap, and the outputs where it sees a phase's pixels


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One axis of a window run backwards.

    Attributes:
      size: pixels of a phase.
      margin: how far the taps reach beyond the outputs, before and behind.
      phases: by the pixels' rest modulo the stride.
    """

    size: int
    margin: tuple[int, int]
    phases: tuple[tuple[_Seen, ...], ...]

    @classmethod
    def of(cls, window: Window, axis: int) -> "_Axis":
        stride, padding = window.stride[axis], window.padding[axis]
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


def alone(function: Callable[..., Array], *arrays: Array) -> Array:
    """Calls a function that XLA's CPU backend shall not fuse with its surroundings.

    It would fuse the slices of a whole mixed operation into one loop of a hundred
    inputs, which is neither vectorised nor run in parallel: ten times slower. A
    conditional is a border that fusion can't cross (an optimization barrier is gone
    before fusion begins); this one's other branch is never taken. Other platforms call
    the function.
    """
    result = jax.eval_shape(function, *arrays)

    def fenced(*arrays: Array) -> Array:
        # From the middle: the compiler knows what lies in a padded border. Of the
        # smallest array, a kernel that every device holds, so that a divided batch
        # needs no message.
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


def native_form(
    name: str, shape: Callable[..., tuple[int, ...]]
) -> Callable[..., Array]:
    """The kernel of that name, for primitives that slide a window."""

    def form(a: Array, b: Array, *, window: Window) -> Array:
        result = shape(a, b, window=window)
        return call_kernel(name, result, a, b, geometry=geometry_of(window))

    return form


def geometry_of(window: Window) -> np.ndarray:
    """What a kernel is told of a window; the rest it sees in the arrays' shapes."""
    return np.array((*window.stride, window.dilation, *window.padding), np.int64)


def gradients_of(
    output: Callable[..., Array],
    input_shape: Callable[..., tuple[int, ...]],
    kernel_shape: Callable[..., tuple[int, ...]],
) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Transposes of ``output(x, kernel, window)`` by either array.

    Returns:
      ``by_input(y, kernel, window)`` and ``by_kernel(x, y, window)``.
    """

    def by_input(y: Array, kernel: Array, *, window: Window) -> Array:
        like = jax.ShapeDtypeStruct(input_shape(y, kernel, window=window), y.dtype)
        return jax.linear_transpose(lambda x: output(x, kernel, window=window), like)(
            y
        )[0]

    def by_kernel(x: Array, y: Array, *, window: Window) -> Array:
        like = jax.ShapeDtypeStruct(kernel_shape(x, y, window=window), x.dtype)
        return jax.linear_transpose(lambda k: output(x, k, window=window), like)(y)[0]

    return by_input, by_kernel


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
