"""ReLU, the convolutions behind it, and the moments of what they give, as one.

A step of a supernet waits for memory. What ReLU and convolutions hand each other need
not go there: CPU kernels of ours make it row by row, forward and backward. Elsewhere
these primitives are lowered to the operations that they are made of.

Four primitives of a kind serve both modes to second order: the map itself, its change
along tangents, the adjoint of that, which is the backward pass, and the change of the
backward pass. Change and adjoint are each other's transposes; what no primitive is
there for has the derivative of its plain form.

Arrays may have a leading edge axis: images [edge, batch, height, width, channel],
depthwise kernels [edge, height, width, in], dense ones [edge, height, width, in, out].
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array, Float

from darts_jax.native import call
from darts_jax.operations import convolution, primitives
from darts_jax.operations.sums import Moments, moments_p
from darts_jax.operations.windows import (
    Window,
    geometry_of,
    make_primitive,
    same_window,
)

Image = Float[Array, "batch height width channel"]


def separable(
    x: Image,
    depthwise: Float[Array, "kernel_height kernel_width channel"],
    pointwise: Float[Array, "1 1 channel feature"],
    origin: Float[Array, " feature"],
    *,
    stride: int = 1,
    dilation: int = 1,
) -> tuple[Float[Array, "batch out_height out_width feature"], Moments]:
    """``pointwise(depthwise(relu(x)))`` with "same" padding for an odd kernel.

    Args:
      origin: a guess of the means of what comes out, for few digits to be lost.

    Returns:
      The image, and mean and biased variance of its channels, as `moments` gives
      them: constants to whoever differentiates.
    """
    window = same_window(x, depthwise.shape[:2], (stride, stride), dilation)
    y, moments = _SEPARABLE.map_p.bind(x, depthwise, pointwise, origin, window=window)
    return y, moments


def dense(
    x: Image,
    kernel: Float[Array, "kernel_height kernel_width channel feature"],
    origin: Float[Array, " feature"],
    *,
    stride: tuple[int, int] = (1, 1),
) -> tuple[Float[Array, "batch out_height out_width feature"], Moments]:
    """``conv(relu(x))``, else as `separable`."""
    window = same_window(x, kernel.shape[:2], stride)
    y, moments = _DENSE.map_p.bind(x, kernel, origin, window=window)
    return y, moments


# --- What the maps are made of -----------------------------------------------------


def _separable_of(
    x: Array, depthwise: Array, pointwise: Array, window: Window
) -> Array:
    between = primitives.output_p.bind(x, depthwise, window=window)
    alone = same_window(between, (1, 1), (1, 1))
    return convolution.output_p.bind(between, pointwise, window=alone)


def _dense_of(x: Array, kernel: Array, window: Window) -> Array:
    return convolution.output_p.bind(x, kernel, window=window)


# --- The primitives and their rules ------------------------------------------------

Arrays = Sequence[Any]


@dataclasses.dataclass(frozen=True)
class Rectified:
    """A map, linear in relu(x) and in each of its kernels, and its derivatives.

    Attributes:
      name: of its kernels of ours.
      linear: (relu(x), *kernels, window) -> the map.
    """

    name: str
    linear: Callable[..., Array]

    @functools.cached_property
    def map_p(self) -> Primitive:
        """(x, *kernels, origin) -> (image, moments [edge, 2, feature])."""

        def shapes(x: Any, *others: Any, window: Window) -> list[tuple[int, ...]]:
            *kernels, _ = others
            moments = (x.shape[0], 2, kernels[-1].shape[-1])
            return [_output_shape(x, kernels, window), moments]

        def plain(x: Array, *others: Array, window: Window) -> list[Array]:
            *kernels, origin = others
            y = self._plain(x, *kernels, window=window)
            return [y, moments_p.bind(y, origin)]

        def jvp(primals: Arrays, tangents: Arrays, *, window: Window) -> Any:
            y, moments = primitive.bind(*primals, window=window)
            inward = [ad.instantiate_zeros(t) for t in tangents[:-1]]
            (change,) = self.change_p.bind(*inward, *primals[:-1], window=window)
            zero = ad.Zero(jax.typeof(moments).to_tangent_aval())
            return [y, moments], [change, zero]

        primitive = self._primitive("", shapes, plain)
        ad.primitive_jvps[primitive] = jvp
        return primitive

    @functools.cached_property
    def change_p(self) -> Primitive:
        """(*tangents, x, *kernels) -> (the image's change)."""

        def shapes(*arrays: Any, window: Window) -> list[tuple[int, ...]]:
            x, *kernels = _later_half(arrays)
            return [_output_shape(x, kernels, window)]

        def plain(*arrays: Array, window: Window) -> list[Array]:
            primals = _later_half(arrays)
            form = functools.partial(self._plain, window=window)
            return [jax.jvp(form, primals, arrays[: len(primals)])[1]]

        def transpose(cts: Arrays, *arrays: Any, window: Window) -> list[Any]:
            primals = _later_half(arrays)
            backs = self.back_p.bind(cts[0], *primals, window=window)
            return [*backs, *[None] * len(primals)]

        primitive = self._primitive("_change", shapes, plain)
        ad.primitive_jvps[primitive] = _jvp_by(primitive, plain)
        ad.primitive_transposes[primitive] = transpose
        return primitive

    @functools.cached_property
    def back_p(self) -> Primitive:
        """(the image's cotangent, x, *kernels) -> those of x and of the kernels."""

        def shapes(g: Any, *primals: Any, window: Window) -> list[tuple[int, ...]]:
            del g, window
            return [array.shape for array in primals]

        def transpose(cts: Arrays, g: Any, *primals: Any, window: Window) -> list[Any]:
            del g
            inward = [ad.instantiate_zeros(ct) for ct in cts]
            (change,) = self.change_p.bind(*inward, *primals, window=window)
            return [change, *[None] * len(primals)]

        def jvp(primals: Arrays, tangents: Arrays, *, window: Window) -> Any:
            along = [ad.instantiate_zeros(t) for t in tangents]
            change = self.back_change_p.bind(*along, *primals, window=window)
            return primitive.bind(*primals, window=window), change

        primitive = self._primitive("_back", shapes, self._plain_back)
        ad.primitive_jvps[primitive] = jvp
        ad.primitive_transposes[primitive] = transpose
        return primitive

    @functools.cached_property
    def back_change_p(self) -> Primitive:
        """(*tangents, the image's cotangent, x, *kernels) -> the change of those."""

        def shapes(*arrays: Any, window: Window) -> list[tuple[int, ...]]:
            del window
            return [array.shape for array in _later_half(arrays)[1:]]

        def plain(*arrays: Array, window: Window) -> list[Array]:
            primals = _later_half(arrays)
            form = functools.partial(self._plain_back, window=window)
            return jax.jvp(form, primals, arrays[: len(primals)])[1]

        def transpose(cts: Arrays, *arrays: Any, window: Window) -> list[Any]:
            primals = _later_half(arrays)

            def linear(*tangents: Array) -> list[Array]:
                return plain(*tangents, *primals, window=window)

            back = jax.linear_transpose(linear, *primals)
            ct = [ad.instantiate_zeros(ct) for ct in cts]
            return [*back(ct), *[None] * len(primals)]

        primitive = self._primitive("_back_change", shapes, plain)
        ad.primitive_jvps[primitive] = _jvp_by(primitive, plain)
        ad.primitive_transposes[primitive] = transpose
        return primitive

    def _plain(self, x: Array, *kernels: Array, window: Window) -> Array:
        return self.linear(jax.nn.relu(x), *kernels, window)

    def _plain_back(self, g: Array, *primals: Array, window: Window) -> list[Array]:
        form = functools.partial(self._plain, window=window)
        return list(jax.vjp(form, *primals)[1](g))

    def _primitive(
        self, suffix: str, shapes: Callable[..., Any], plain: Callable[..., Any]
    ) -> Primitive:
        name = self.name + suffix

        def native(*arrays: Array, window: Window) -> list[Array]:
            of = shapes(*arrays, window=window)
            return call(name, of, *arrays, geometry=geometry_of(window))

        return make_primitive(name, shapes, plain, plain, native, several=True)


def _output_shape(x: Any, kernels: Arrays, window: Window) -> tuple[int, ...]:
    return (*x.shape[:2], *window.output, kernels[-1].shape[-1])


def _later_half(arrays: Arrays) -> tuple[Any, ...]:
    return tuple(arrays[len(arrays) // 2 :])


def _jvp_by(primitive: Primitive, plain: Callable[..., Any]) -> Callable[..., Any]:
    def rule(primals: Arrays, tangents: Arrays, *, window: Window) -> Any:
        along = tuple(ad.instantiate_zeros(t) for t in tangents)
        form = functools.partial(plain, window=window)
        _, changes = jax.jvp(form, tuple(primals), along)
        return primitive.bind(*primals, window=window), changes

    return rule


_SEPARABLE = Rectified("separable", _separable_of)
_DENSE = Rectified("rectified_conv", _dense_of)
KINDS = (_SEPARABLE, _DENSE)
