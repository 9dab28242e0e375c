"""The part that a program works on: a tile of pixels by channels, in Pallas.

All images of a batch are one row of pixels, so that tiles do not depend on the height
and width of an image. Sides of a tile are powers of two; what lies beyond the border is
masked. Arrays are flat: images [edge, pixel, channel], depthwise kernels
[edge, tap, channel]. Numbers are float32 in registers, whatever they are in memory.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Bool, Float, Int

from darts_jax.kernels.windows import Window

_NUMBERS = 2048  # of a tile: 16 for every thread of four warps
_LEAST = 16  # side of the smallest matrix that tensor cores multiply


def side_of(count: int) -> int:
    """Returns the side of a tile that has at least that many rows or columns.

    Args:
      count: rows or columns that are there.
    """
    return max(_LEAST, pl.next_power_of_2(count))


@dataclasses.dataclass(frozen=True)
class Tiling:
    """A cut of the pixels of a batch into tiles.

    Attributes:
      batch: number of images.
      plane: height and width of an image.
      size: pixels of a tile.
    """

    batch: int
    plane: tuple[int, int]
    size: int

    @classmethod
    def of(cls, batch: int, plane: tuple[int, int], *channels: int) -> "Tiling":
        """Returns tiles of a fit size for images of so many channels."""
        widest = side_of(max(channels))
        return cls(batch, plane, max(_NUMBERS // widest, _LEAST))

    @property
    def pixels(self) -> int:
        """Number of pixels of all images."""
        return self.batch * self.plane[0] * self.plane[1]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return -(-self.pixels // self.size)


class Channels(NamedTuple):
    """The channels of a tile: their numbers, and whether there are such."""

    number: Int[Array, " channel"]
    inside: Bool[Array, " channel"]

    @classmethod
    def of(cls, count: int) -> "Channels":
        """Returns the first channels, that many."""
        number = lax.iota(jnp.int32, side_of(count))
        return cls(number, number < count)


class Pixels(NamedTuple):
    """The pixels of a tile: their numbers, whether there are such, and their places."""

    number: Int[Array, " pixel"]
    inside: Bool[Array, " pixel"]
    image: Int[Array, " pixel"]
    row: Int[Array, " pixel"]
    column: Int[Array, " pixel"]

    @classmethod
    def of(cls, tiling: Tiling, tile: Int[Array, ""]) -> "Pixels":
        """Returns the pixels of a tile of this number."""
        height, width = map(jnp.int32, tiling.plane)
        number = tile * jnp.int32(tiling.size) + lax.iota(jnp.int32, tiling.size)
        line = lax.div(number, width)
        return cls(
            number=number,
            inside=number < tiling.pixels,
            image=lax.div(line, height),
            row=lax.rem(line, height),
            column=lax.rem(number, width),
        )

    def seen(self, taps: "Taps", tap: Int[Array, ""]) -> tuple[Array, Array]:
        """Returns which pixels of the images a tap sees from these outputs.

        Args:
          taps: of the window that slides over the images.
          tap: number of the tap.

        Returns:
          The pixels' numbers, and whether there are such.
        """
        row, column = (
            at * stride + shift
            for at, stride, shift in zip(
                (self.row, self.column), taps.stride, taps.shifts(tap), strict=True
            )
        )
        return self._numbers(row, column, taps.image, self.inside)

    def reached(self, taps: "Taps", tap: Int[Array, ""]) -> tuple[Array, Array]:
        """Returns which outputs a tap sees these pixels of the images from.

        Args:
          taps: of the window that slides over the images.
          tap: number of the tap.

        Returns:
          The outputs' numbers, and whether there are such.
        """
        inside = self.inside
        places = []
        for at, stride, shift in zip(
            (self.row, self.column), taps.stride, taps.shifts(tap), strict=True
        ):
            distance = at - shift
            by = jnp.int32(stride)
            inside &= (distance >= 0) & (lax.rem(distance, by) == 0)
            places.append(lax.div(distance, by))
        row, column = places
        return self._numbers(row, column, taps.output, inside)

    def _numbers(
        self, row: Array, column: Array, plane: tuple[int, int], inside: Array
    ) -> tuple[Array, Array]:
        height, width = plane
        inside &= (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return (self.image * height + row) * width + column, inside


@dataclasses.dataclass(frozen=True)
class Taps:
    """The taps of an edge's window, where edges may have windows of several kinds.

    Attributes:
      kernel: height and width of the window.
      dilation: distance of neighbouring taps.
      padding: rows above, columns left.
      width: of the array that holds the kernel, which may be wider.
      stride: down and across.
      image: height and width of the images.
      output: height and width of the outputs.
    """

    kernel: tuple[Any, Any]
    dilation: Any
    padding: tuple[Any, Any]
    width: int
    stride: tuple[int, int]
    image: tuple[int, int]
    output: tuple[int, int]

    @classmethod
    def of(cls, windows: Sequence[Window], edge: Int[Array, ""]) -> "Taps":
        """Returns the taps of an edge, which go through the windows in turn.

        Args:
          windows: of one stride, over images of one size.
          edge: number of the edge.
        """

        def choose(numbers: Sequence[int]) -> Any:
            chosen: Any = jnp.int32(numbers[-1])
            for i, number in enumerate(numbers[:-1]):
                here = lax.rem(edge, jnp.int32(len(numbers))) == i
                chosen = jnp.where(here, jnp.int32(number), chosen)
            return chosen

        first = windows[0]
        return cls(
            kernel=(
                choose([w.kernel[0] for w in windows]),
                choose([w.kernel[1] for w in windows]),
            ),
            dilation=choose([w.dilation for w in windows]),
            padding=(
                choose([w.padding[0] for w in windows]),
                choose([w.padding[1] for w in windows]),
            ),
            width=max(w.kernel[1] for w in windows),
            stride=first.stride,
            image=first.image,
            output=first.output,
        )

    @property
    def count(self) -> Int[Array, ""]:
        """Number of taps."""
        return self.kernel[0] * self.kernel[1]

    def place(self, tap: Int[Array, ""]) -> Int[Array, ""]:
        """Returns the place of a tap in the array that holds the kernel."""
        across = self.kernel[1]
        return lax.div(tap, across) * self.width + lax.rem(tap, across)

    def shifts(self, tap: Int[Array, ""]) -> tuple[Array, Array]:
        """Returns how far down and across a tap is from its window's first pixel."""
        across = self.kernel[1]
        return (
            lax.div(tap, across) * self.dilation - self.padding[0],
            lax.rem(tap, across) * self.dilation - self.padding[1],
        )


def loop(count: Any, body: Callable[[Any, Any], Any], start: Any) -> Any:
    """Returns what is left of ``start`` after so many calls of a body.

    A loop of the kernel, as compilers take seconds for the code of every tap.

    Args:
      count: number of calls.
      body: (number of the call, what was left) -> what is left.
      start: what the first call is given.
    """
    return lax.fori_loop(jnp.int32(0), count, body, start)


def matmul(
    a: Float[Array, "m k"], b: Float[Array, "k n"], dtype: Any
) -> Float[Array, "m n"]:
    """Multiplies matrices, whose numbers are first cast, with sums in float32."""
    return jnp.dot(a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.float32)


# --- Memory ------------------------------------------------------------------------


def load_rows(
    ref: Any, edge: Any, rows: Array, inside: Array, channels: Channels
) -> Float[Array, "row channel"]:
    """Returns rows of an edge's array [edge, row, channel], else zeros."""
    numbers = triton.load(
        ref.at[edge, rows[:, None], channels.number[None, :]],
        mask=inside[:, None] & channels.inside[None, :],
        other=0.0,
    )
    return numbers.astype(jnp.float32)


def store_rows(
    ref: Any, edge: Any, rows: Array, inside: Array, channels: Channels, numbers: Array
) -> None:
    """Writes those rows of an edge's array [edge, row, channel] that there are."""
    triton.store(
        ref.at[edge, rows[:, None], channels.number[None, :]],
        numbers.astype(ref.dtype),
        mask=inside[:, None] & channels.inside[None, :],
    )


def load_row(
    ref: Any, edge: Any, row: Any, channels: Channels
) -> Float[Array, " channel"]:
    """Returns a row of an edge's array [edge, row, channel]."""
    at = ref.at[edge, row, channels.number]
    return triton.load(at, mask=channels.inside, other=0.0).astype(jnp.float32)


def store_row(
    ref: Any, edge: Any, tile: Any, first: Any, channels: Channels, numbers: Array
) -> None:
    """Writes a row of a tile's part of an array [edge, tile, number].

    Args:
      ref: to the array.
      edge: its number.
      tile: its number.
      first: place of the first number.
      channels: of the row.
      numbers: [channel].
    """
    triton.store(
        ref.at[edge, tile, first + channels.number], numbers, mask=channels.inside
    )


def store_matrix(
    ref: Any,
    edge: Any,
    tile: Any,
    places: Array,
    rows: Channels,
    columns: Channels,
    numbers: Array,
) -> None:
    """Writes a matrix into a tile's part of an array [edge, tile, number].

    Args:
      ref: to the array.
      edge: its number.
      tile: its number.
      places: of every row's first number [row].
      rows: of the matrix.
      columns: of the matrix.
      numbers: [row, column].
    """
    triton.store(
        ref.at[edge, tile, places[:, None] + columns.number[None, :]],
        numbers,
        mask=rows.inside[:, None] & columns.inside[None, :],
    )


# --- Changes along tangents --------------------------------------------------------


class Dual(NamedTuple):
    """Anything, and its change along tangents; None: it has none."""

    value: Any
    change: Any = None

    @property
    def last(self) -> Any:
        """The change if there is one, else the value."""
        return self.value if self.change is None else self.change


def pair(refs: Sequence[Any], count: int) -> list[Dual]:
    """Returns so many references, with their changes if these follow."""
    if len(refs) == count:
        return [Dual(ref) for ref in refs]
    return [Dual(*both) for both in zip(refs[:count], refs[count:], strict=True)]


def each(function: Callable[..., Any], *of: Dual) -> Dual:
    """Returns a linear function of values and of their changes."""
    value = function(*(dual.value for dual in of))
    if of[0].change is None:
        return Dual(value)
    return Dual(value, function(*(dual.change for dual in of)))


def multiply(product: Callable[[Any, Any], Any], a: Dual, b: Dual) -> Dual:
    """Returns a product of two that is linear in both, with its change."""
    value = product(a.value, b.value)
    if a.change is None:
        return Dual(value)
    return Dual(value, product(a.change, b.value) + product(a.value, b.change))


# --- Calls -------------------------------------------------------------------------


def call(
    kernel: Callable[..., None],
    arrays: Sequence[Array],
    results: Sequence[jax.ShapeDtypeStruct],
    *,
    grid: tuple[int, int],
    interpret: bool,
) -> list[Array]:
    """Runs a kernel for every place of a grid.

    Args:
      kernel: of references to all arrays and results.
      arrays: the arguments.
      results: shapes and dtypes of the results.
      grid: numbers of tiles, or of runs of tiles, and of edges.
      interpret: whether JAX's interpreter runs the kernel, on any platform.
    """
    return pl.pallas_call(
        kernel,
        grid=grid,
        out_shape=list(results),
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
    )(*arrays)
