"""ReLU, depthwise and pointwise convolution as Pallas kernels, with their derivatives.

What lies between the two convolutions stays in registers. On the way back its cotangent
goes through memory, as every pixel of it reaches many of the image. Sums over pixels
are made of one part from every tile, which are added up in their order. A kernel that
is given changes of its arrays along tangents makes the changes of its results.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array

from darts_jax.kernels.gpu.sums import add_up_moments, store_deviations
from darts_jax.kernels.gpu.tiles import (
    Channels,
    Dual,
    Pixels,
    Taps,
    Tiling,
    call,
    each,
    load_row,
    load_rows,
    loop,
    matmul,
    multiply,
    pair,
    store_matrix,
    store_rows,
)
from darts_jax.kernels.windows import Window

Parts = tuple[Window, ...]

_PROGRAMS = 512  # that sums over pixels are made by: enough for every core of a card

WIDEST = 128
"""Most channels of images that the kernels serve for."""


def separable(
    x: Array,
    depthwise: Array,
    pointwise: Array,
    guess: Array,
    *,
    windows: Parts,
    interpret: bool,
) -> list[Array]:
    """Returns the images [edge, batch, *output, out], and their moments.

    Args:
      x: [group, batch, height, width, in].
      depthwise: [edge, kernel_height, kernel_width, in].
      pointwise: [edge, 1, 1, in, out].
      guess: of the moments [edge, 2, out]; numbers are taken relative to its mean.
      windows: of the depthwise convolutions; edges go through them in turn.
      interpret: whether JAX's interpreter runs the kernel, on any platform.
    """
    sizes = _Sizes.of(x, pointwise, windows)
    tiling = sizes.tiling(windows[0].output)

    def kernel(*refs: Any) -> None:
        *primals, guess_ref, y_ref, sums_ref = refs
        at = _Outputs.of(sizes, tiling, primals, pl.program_id(0))
        y = at.output(at.between()).value
        at.store(y_ref, at.outward, y)
        origin = load_row(guess_ref, at.edge, 0, at.outward)
        store_deviations(sums_ref, at.edge, at.tile, at.pixels, at.outward, y, origin)

    shape = (sizes.edges, tiling.pixels, sizes.features)
    parts = (sizes.edges, tiling.count, 2 * sizes.features)
    y, sums = call(
        kernel,
        [*sizes.flat(x, depthwise, pointwise), guess],
        [_like(x, shape), jax.ShapeDtypeStruct(parts, jnp.float32)],
        grid=(tiling.count, sizes.edges),
        interpret=interpret,
    )
    return [sizes.unflat_output(y), add_up_moments(sums, guess, tiling.pixels)]


def separable_change(*arrays: Array, windows: Parts, interpret: bool) -> list[Array]:
    """Returns the change of the images along tangents.

    Args:
      arrays: tangents of image and kernels, then these.
      windows: of the depthwise convolutions; edges go through them in turn.
      interpret: whether JAX's interpreter runs the kernel, on any platform.
    """
    changes, primals = arrays[:3], arrays[3:]
    sizes = _Sizes.of(primals[0], primals[2], windows)
    tiling = sizes.tiling(windows[0].output)

    def kernel(*refs: Any) -> None:
        *both, y_ref = refs
        at = _Outputs.of(sizes, tiling, both, pl.program_id(0))
        at.store(y_ref, at.outward, at.output(at.between()).last)

    shape = (sizes.edges, tiling.pixels, sizes.features)
    (y,) = call(
        kernel,
        [*sizes.flat(*primals), *sizes.flat(*changes)],
        [_like(primals[0], shape)],
        grid=(tiling.count, sizes.edges),
        interpret=interpret,
    )
    return [sizes.unflat_output(y)]


def separable_back(*arrays: Array, windows: Parts, interpret: bool) -> list[Array]:
    """Returns the cotangents of image and kernels, or their changes along tangents.

    Args:
      arrays: cotangent of the images that were made, image, and kernels; before these
        their tangents, where changes are wanted.
      windows: of the depthwise convolutions; edges go through them in turn.
      interpret: whether JAX's interpreter runs the kernels, on any platform.
    """
    return _back(arrays, windows, interpret, by_kernels=True)


def separable_image_back(
    *arrays: Array, windows: Parts, interpret: bool
) -> list[Array]:
    """Returns the cotangent of the image alone; arguments as of `separable_back`."""
    return _back(arrays, windows, interpret, by_kernels=False)


def fits(*arrays: Any) -> bool:
    """Returns whether the kernels can compute with these arrays.

    Args:
      arrays: of any of the kernels, whose last axes are channels.
    """
    return max(array.shape[-1] for array in arrays) <= WIDEST


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """Sizes of images [group, batch, ...] and of kernels [edge, ...]."""

    groups: int
    edges: int
    batch: int
    channels: int
    features: int
    windows: Parts

    @classmethod
    def of(cls, x: Any, pointwise: Any, windows: Parts) -> "_Sizes":
        edges, *_, channels, features = pointwise.shape
        return cls(len(x), edges, x.shape[1], channels, features, windows)

    @property
    def sharing(self) -> int:
        """Number of edges that read one image."""
        return self.edges // self.groups

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the arrays that hold the depthwise kernels."""
        heights, widths = zip(*(w.kernel for w in self.windows), strict=True)
        return max(heights), max(widths)

    @property
    def taps(self) -> int:
        """Number of taps of an array that holds a depthwise kernel."""
        return self.kernel[0] * self.kernel[1]

    def tiling(self, plane: tuple[int, int]) -> Tiling:
        """Returns tiles of images of this height and width."""
        return Tiling.of(self.batch, plane, self.channels, self.features)

    def flat(self, x: Array, depthwise: Array, pointwise: Array) -> list[Array]:
        """Returns arrays as kernels take them."""
        return [
            x.reshape(self.groups, -1, self.channels),
            depthwise.reshape(self.edges, self.taps, self.channels),
            pointwise.reshape(self.edges, self.channels, self.features),
        ]

    def unflat_output(self, y: Array) -> Array:
        """Returns images [edge, batch, *output, out]."""
        return y.reshape(self.edges, self.batch, *self.windows[0].output, self.features)


@dataclasses.dataclass(frozen=True)
class _Outputs:
    """A program's tile of an edge's outputs, and references to what they are made of.

    Attributes:
      inward: channels that enter.
      outward: channels that leave.
    """

    sizes: _Sizes
    edge: Any
    tile: Any
    pixels: Pixels
    inward: Channels
    outward: Channels
    taps: Taps
    x: Dual
    depthwise: Dual
    pointwise: Dual

    @classmethod
    def of(
        cls, sizes: _Sizes, tiling: Tiling, refs: Sequence[Any], tile: Any
    ) -> "_Outputs":
        edge = pl.program_id(1)
        x, depthwise, pointwise = pair(refs, 3)
        return cls(
            sizes=sizes,
            edge=edge,
            tile=tile,
            pixels=Pixels.of(tiling, tile),
            inward=Channels.of(sizes.channels),
            outward=Channels.of(sizes.features),
            taps=Taps.of(sizes.windows, edge),
            x=x,
            depthwise=depthwise,
            pointwise=pointwise,
        )

    def moved(self, tiling: Tiling, tile: Any) -> "_Outputs":
        """Returns another tile of the edge's outputs."""
        return dataclasses.replace(self, tile=tile, pixels=Pixels.of(tiling, tile))

    def seen(self, tap: Any) -> Dual:
        """Returns what a tap sees of the image behind ReLU [pixel, in]."""
        rows, inside = self.pixels.seen(self.taps, tap)
        group = self.edge // self.sizes.sharing
        x = each(lambda ref: load_rows(ref, group, rows, inside, self.inward), self.x)
        return _rectify(x)

    def between(self) -> Dual:
        """Returns what lies between the convolutions [pixel, in]."""

        def add(tap: Any, total: Dual) -> Dual:
            term = multiply(_by_channel, self.seen(tap), self.kernel(tap))
            return each(operator.add, total, term)

        return loop(self.taps.count, add, self.nothing())

    def kernel(self, tap: Any) -> Dual:
        """Returns a tap of the depthwise kernel [in]."""
        place = self.taps.place(tap)
        return each(
            lambda ref: load_row(ref, self.edge, place, self.inward), self.depthwise
        )

    def nothing(self) -> Dual:
        """Returns zeros [pixel, in]."""
        shape = (len(self.pixels.number), len(self.inward.number))
        return each(lambda _: jnp.zeros(shape, jnp.float32), self.x)

    def matrix(self) -> Dual:
        """Returns the pointwise kernel [in, out]."""
        number, inside = self.inward
        return each(
            lambda ref: load_rows(ref, self.edge, number, inside, self.outward),
            self.pointwise,
        )

    def output(self, between: Dual) -> Dual:
        """Returns the product with the pointwise kernel [pixel, out]."""
        product = functools.partial(matmul, dtype=self.x.value.dtype)
        return multiply(product, between, self.matrix())

    def kernel_sums(
        self, g: Dual, back: Dual, total: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """Adds a tile's part of the kernels' cotangents, or of the changes of these.

        Args:
          g: cotangent of the outputs [pixel, out].
          back: that of what lies between [pixel, in].
          total: by the depthwise kernel [tap, in] and by the pointwise one [in, out].
        """
        by_taps, by_matrix = total
        places = lax.iota(jnp.int32, len(by_taps))[:, None]

        def add(tap: Any, sums: tuple[Dual, Array]) -> tuple[Dual, Array]:
            between, by_taps = sums
            seen = self.seen(tap)
            part = jnp.sum(multiply(operator.mul, seen, back).last, 0)
            here = places == self.taps.place(tap)
            term = multiply(_by_channel, seen, self.kernel(tap))
            return each(operator.add, between, term), by_taps + jnp.where(
                here, part[None, :], 0
            )

        start = (self.nothing(), by_taps)
        between, by_taps = loop(self.taps.count, add, start)
        dtype = self.x.value.dtype
        part = multiply(lambda z, g: matmul(z.T, g, dtype), between, g).last
        return by_taps, by_matrix + part

    def load(self, ref: Any, channels: Channels) -> Array:
        return load_rows(
            ref, self.edge, self.pixels.number, self.pixels.inside, channels
        )

    def store(self, ref: Any, channels: Channels, numbers: Array) -> None:
        pixels = self.pixels
        store_rows(ref, self.edge, pixels.number, pixels.inside, channels, numbers)


def _rectify(x: Dual) -> Dual:
    """Returns ReLU, which lets NaN through; a GPU's maximum would not."""
    change = None if x.change is None else jnp.where(x.value > 0, x.change, 0)
    return Dual(jnp.where(x.value < 0, 0, x.value), change)


def _by_channel(rows: Array, factors: Array) -> Array:
    return rows * factors[None, :]


def _back(
    arrays: Sequence[Array], windows: Parts, interpret: bool, *, by_kernels: bool
) -> list[Array]:
    _, x, depthwise, pointwise = arrays[-4:]
    sizes = _Sizes.of(x, pointwise, windows)
    flat: list[Array] = []
    for some in (arrays[-4:], arrays[:-4]):
        if some:
            g, *primals = some
            flat += [g.reshape(sizes.edges, -1, sizes.features), *sizes.flat(*primals)]
    betweens, sums = _between_back(sizes, flat, interpret, by_kernels=by_kernels)
    x_back = _image_back(sizes, flat, betweens, interpret).reshape(x.shape)
    if sums is None:
        return [x_back]
    total = jnp.sum(sums, 1).astype(x.dtype)
    of_taps, of_matrix = jnp.split(total, [sizes.taps * sizes.channels], axis=1)
    return [
        x_back,
        of_taps.reshape(depthwise.shape),
        of_matrix.reshape(pointwise.shape),
    ]


def _between_back(
    sizes: _Sizes, flat: Sequence[Array], interpret: bool, *, by_kernels: bool
) -> tuple[list[Array], Array | None]:
    """Returns cotangents of what lies between, and parts of those of the kernels.

    The parts are [edge, part, number]: depthwise kernels, then pointwise ones; of their
    changes, where changes are given, which cotangents have beside them.
    """
    tiling = sizes.tiling(sizes.windows[0].output)
    run = -(-tiling.count * sizes.edges // _PROGRAMS)
    dtype = flat[0].dtype
    moving = len(flat) > 4
    of_taps = sizes.taps * sizes.channels

    def kernel(*refs: Any) -> None:
        arrays, results = refs[: len(flat)], refs[len(flat) :]
        (g_ref, *primals), changes = arrays[:4], arrays[4:]
        part = pl.program_id(0)
        first = _Outputs.of(sizes, tiling, [*primals, *changes[1:]], part * run)
        matrix = first.matrix()

        def add_tile(number: Any, total: tuple[Array, Array]) -> tuple[Array, Array]:
            at = first.moved(tiling, part * run + number)
            g = each(lambda ref: at.load(ref, at.outward), Dual(g_ref, *changes[:1]))
            back = multiply(lambda g, m: matmul(g, m.T, dtype), g, matrix)
            for ref, numbers in zip(results, back[: 1 + moving], strict=False):
                at.store(ref, at.inward, numbers)
            return at.kernel_sums(g, back, total) if by_kernels else total

        taps, inward, outward = (
            len(channels.number)
            for channels in (Channels.of(sizes.taps), first.inward, first.outward)
        )
        nothing = (
            jnp.zeros((taps, inward), jnp.float32),
            jnp.zeros((inward, outward), jnp.float32),
        )
        by_taps, by_matrix = loop(jnp.int32(run), add_tile, nothing)
        if not by_kernels:
            return
        places = ((0, sizes.channels), (of_taps, sizes.features))
        rows = (Channels.of(sizes.taps), first.inward)
        columns = (first.inward, first.outward)
        for (start, width), down, across, numbers in zip(
            places, rows, columns, (by_taps, by_matrix), strict=True
        ):
            beginnings = start + down.number * width
            store_matrix(
                results[-1], first.edge, part, beginnings, down, across, numbers
            )

    shape = (sizes.edges, tiling.pixels, sizes.channels)
    results = [jax.ShapeDtypeStruct(shape, dtype)] * (1 + moving)
    count = -(-tiling.count // run)
    if by_kernels:
        numbers = of_taps + sizes.channels * sizes.features
        parts = (sizes.edges, count, numbers)
        results.append(jax.ShapeDtypeStruct(parts, jnp.float32))
    made = call(kernel, flat, results, grid=(count, sizes.edges), interpret=interpret)
    return made[: 1 + moving], made[-1] if by_kernels else None


def _image_back(
    sizes: _Sizes, flat: Sequence[Array], betweens: Sequence[Array], interpret: bool
) -> Array:
    """Returns the cotangent of the image, or its change: the sum over its edges."""
    tiling = Tiling.of(sizes.batch, sizes.windows[0].image, sizes.channels)
    x, depthwise = flat[1], flat[2::4]

    def kernel(*refs: Any) -> None:
        x_ref, *others, result = refs
        tile, group = pl.program_id(0), pl.program_id(1)
        pixels = Pixels.of(tiling, tile)
        channels = Channels.of(sizes.channels)
        between, depthwise = pair(others, 2)

        def add_edge(number: Any, total: Array) -> Array:
            edge = group * sizes.sharing + number
            taps = Taps.of(sizes.windows, edge)

            def add_tap(tap: Any, total: Array) -> Array:
                rows, inside = pixels.reached(taps, tap)
                place = taps.place(tap)
                back = each(
                    lambda r: load_rows(r, edge, rows, inside, channels), between
                )
                by = each(lambda r: load_row(r, edge, place, channels), depthwise)
                return total + multiply(_by_channel, back, by).last

            return loop(taps.count, add_tap, total)

        start = jnp.zeros((tiling.size, len(channels.number)), jnp.float32)
        total = loop(sizes.sharing, add_edge, start)
        gate = load_rows(x_ref, group, pixels.number, pixels.inside, channels) > 0
        numbers = jnp.where(gate, total, 0)
        store_rows(result, group, pixels.number, pixels.inside, channels, numbers)

    (made,) = call(
        kernel,
        [x, *betweens[:1], *depthwise[:1], *betweens[1:], *depthwise[1:]],
        [_like(x, x.shape)],
        grid=(tiling.count, sizes.groups),
        interpret=interpret,
    )
    return made


def _like(x: Array, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, x.dtype)
