"""ReLU, depthwise and pointwise convolution, and the moments of what they give, as one.

A step of a supernet waits for memory. What these convolutions hand each other need not
go there: a CPU kernel of ours makes it row by row, forward and backward. Elsewhere the
primitives are lowered to the operations that they are made of.

Three primitives close under differentiation in both modes: ``separable``; its change
along tangents; and the adjoint of that, its backward pass. The change and the adjoint
are each other's transposes, and their own derivatives are those of their plain forms.

Arrays have a leading edge axis: images [edge, batch, height, width, channel], depthwise
kernels [edge, height, width, in], pointwise kernels [edge, in, out].
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array, Float

from darts_jax.native import call
from darts_jax.operations import convolution, primitives, sums
from darts_jax.operations.windows import Window, geometry_of, make_primitive, size_of

Image = Float[Array, "batch height width channel"]


def separable(
    x: Image,
    depthwise: Float[Array, "kernel_height kernel_width channel"],
    pointwise: Float[Array, "channel feature"],
    origin: Float[Array, " feature"],
    *,
    stride: int = 1,
    dilation: int = 1,
) -> tuple[Float[Array, "batch out_height out_width feature"], tuple[Array, Array]]:
    """``pointwise(depthwise(relu(x)))`` with "same" padding for an odd kernel.

    Args:
      origin: a guess of the means of what comes out, for few digits to be lost.

    Returns:
      The image, and mean and biased variance [feature] of its channels, as `moments`
      gives them: constants to whoever differentiates.
    """
    kh, kw = depthwise.shape[:2]
    padding = (dilation * (kh // 2), dilation * (kw // 2))
    window = Window(size_of(x), (kh, kw), (stride, stride), dilation, padding)
    arrays = (x, depthwise, pointwise, origin)
    y, both = separable_p.bind(*(array[None] for array in arrays), window=window)
    mean, var = both[0]
    return y[0], (mean, var)


# --- Plain forms -------------------------------------------------------------------


def _output(x: Array, depthwise: Array, pointwise: Array, *, window: Window) -> Array:
    between = primitives.output_p.bind(jax.nn.relu(x), depthwise, window=window)
    return _pointwise(between, pointwise)


def _pointwise(x: Array, kernel: Array) -> Array:
    window = Window(size_of(x[0]), (1, 1), (1, 1), 1, (0, 0))
    return convolution.output_p.bind(x, kernel[:, None, None], window=window)


def _plain(
    x: Array, depthwise: Array, pointwise: Array, origin: Array, *, window: Window
) -> list[Array]:
    y = _output(x, depthwise, pointwise, window=window)
    return [y, sums.moments_of_edges(y, origin)]


def _plain_change(*arrays: Array, window: Window) -> list[Array]:
    tangents, primals = arrays[:3], arrays[3:]
    output = functools.partial(_output, window=window)
    return [jax.jvp(output, primals, tangents)[1]]


def _plain_back(g: Array, *primals: Array, window: Window) -> list[Array]:
    output = functools.partial(_output, window=window)
    return list(jax.vjp(output, *primals)[1](g))


# --- Kernels of ours ---------------------------------------------------------------


def _native(name: str, shapes: Callable[..., Any]) -> Callable[..., list[Array]]:
    def form(*arrays: Array, window: Window) -> list[Array]:
        of = shapes(*arrays, window=window)
        return call(name, of, *arrays, geometry=geometry_of(window))

    return form


def _output_shape(x: Any, pointwise: Any, window: Window) -> tuple[int, ...]:
    return (*x.shape[:2], *window.output, pointwise.shape[-1])


def _shapes(
    x: Any, depthwise: Any, pointwise: Any, origin: Any, *, window: Window
) -> list[tuple[int, ...]]:
    moments = (x.shape[0], 2, pointwise.shape[-1])
    return [_output_shape(x, pointwise, window), moments]


def _change_shapes(*arrays: Any, window: Window) -> list[tuple[int, ...]]:
    return [_output_shape(arrays[3], arrays[5], window)]


def _back_shapes(g: Any, *primals: Any, window: Window) -> list[tuple[int, ...]]:
    del g, window
    return [array.shape for array in primals]


# --- The primitives and their rules ------------------------------------------------


def _primitive(
    name: str, shapes: Callable[..., Any], plain: Callable[..., list[Array]]
) -> Primitive:
    return make_primitive(
        name, shapes, plain, plain, _native(name, shapes), several=True
    )


separable_p = _primitive("separable", _shapes, _plain)
change_p = _primitive("separable_change", _change_shapes, _plain_change)
back_p = _primitive("separable_back", _back_shapes, _plain_back)

Arrays = Sequence[Any]


def _separable_jvp(
    primals: Arrays, tangents: Arrays, *, window: Window
) -> tuple[list[Array], list[Any]]:
    y, moments = separable_p.bind(*primals, window=window)
    inward = [ad.instantiate_zeros(t) for t in tangents[:3]]
    (change,) = change_p.bind(*inward, *primals[:3], window=window)
    return [y, moments], [change, ad.Zero(jax.typeof(moments).to_tangent_aval())]


def _jvp_of(primitive: Primitive, plain: Callable[..., list[Array]]) -> None:
    def rule(primals: Arrays, tangents: Arrays, *, window: Window) -> Any:
        along = [ad.instantiate_zeros(t) for t in tangents]
        form = functools.partial(plain, window=window)
        _, changes = jax.jvp(form, tuple(primals), tuple(along))
        return primitive.bind(*primals, window=window), changes

    ad.primitive_jvps[primitive] = rule


def _change_transpose(cts: Arrays, *arrays: Any, window: Window) -> list[Any]:
    primals = arrays[3:]
    backs = back_p.bind(cts[0], *primals, window=window)
    return [*backs, None, None, None]


def _back_transpose(cts: Arrays, g: Any, *primals: Any, window: Window) -> list[Any]:
    del g
    inward = [ad.instantiate_zeros(ct) for ct in cts]
    return [*change_p.bind(*inward, *primals, window=window), None, None, None]


ad.primitive_jvps[separable_p] = _separable_jvp
_jvp_of(change_p, _plain_change)
_jvp_of(back_p, _plain_back)
ad.primitive_transposes[change_p] = _change_transpose
ad.primitive_transposes[back_p] = _back_transpose
