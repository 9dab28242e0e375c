"""ReLU, the convolutions behind it, and the moments of the result, in one primitive.

A step of a supernet waits for memory. The images between ReLU and convolutions need
not go there: native CPU kernels make them row by row, forward and backward. Elsewhere
these primitives are lowered to the operations that they are made of.

Arrays may have a leading edge axis: images [edge, batch, height, width, channel],
depthwise kernels [edge, height, width, in], dense ones [edge, height, width, in, out].
Where all edges of a batch read one image, it has an edge axis of 1, and its cotangent
is the sum over all of them: kernels neither copy the image nor add up cotangents in
memory.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array, Float

from darts_jax.kernels import channelwise, convolution
from darts_jax.kernels.derivatives import Arrays, Derivatives, native_results
from darts_jax.kernels.edges import PallasForm, make_primitive, spread
from darts_jax.kernels.gpu import separable
from darts_jax.kernels.sums import Moments, moments_p
from darts_jax.kernels.windows import Window, Windows, same_window

Image = Float[Array, "batch height width channel"]


def relu_separable(
    x: Image,
    depthwise: Float[Array, "kernel_height kernel_width channel"],
    pointwise: Float[Array, "1 1 channel feature"],
    guess: Moments,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> tuple[Float[Array, "batch out_height out_width feature"], Moments]:
    """Computes ``pointwise(depthwise(relu(x)))`` and the moments of the result.

    Args:
      x: images.
      depthwise: one kernel of odd size per channel, padded to "same".
      pointwise: kernel of a 1x1 convolution.
      guess: of the moments that come out, as `moments` takes it.
      stride: of the depthwise convolution, down and across.
      dilation: of the depthwise convolution, down and across.

    Returns:
      The images, and mean and biased variance [2, feature] of their channels as
      `moments` gives them, which are constants to differentiation.
    """
    window = same_window(x, depthwise.shape[:2], (stride, stride), dilation)
    y, moments = SEPARABLE.map_p.bind(x, depthwise, pointwise, guess, window=window)
    return y, moments


def relu_conv(
    x: Image,
    kernel: Float[Array, "kernel_height kernel_width channel feature"],
    guess: Moments,
    *,
    stride: tuple[int, int] = (1, 1),
) -> tuple[Float[Array, "batch out_height out_width feature"], Moments]:
    """Computes ``conv(relu(x))`` and the moments of the result.

    Args:
      x: images.
      kernel: of odd size, padded to "same".
      guess: of the moments that come out, as `moments` takes it.
      stride: down and across.

    Returns:
      As `relu_separable`.
    """
    window = same_window(x, kernel.shape[:2], stride)
    y, moments = DENSE.map_p.bind(x, kernel, guess, window=window)
    return y, moments


# --- The maps in plain operations ---------------------------------------------------


def _plain_separable(
    x: Array, depthwise: Array, pointwise: Array, *, window: Window
) -> Array:
    seen = spread(jax.nn.relu(x), depthwise)
    between = channelwise.output_p.bind(seen, depthwise, window=window)
    alone = same_window(between, (1, 1), (1, 1))
    return convolution.output_p.bind(between, pointwise, window=alone)


def _plain_dense(x: Array, kernel: Array, *, window: Window) -> Array:
    seen = spread(jax.nn.relu(x), kernel)
    return convolution.output_p.bind(seen, kernel, window=window)


def _split_separables(
    x: Array, depthwise: Array, pointwise: Array, guess: Array, *, window: Windows
) -> list[Array]:
    count = len(window.parts)
    edges = len(pointwise)
    made = []
    for i, part in enumerate(window.parts):
        height, width = part.kernel
        seen = x if len(x) < edges else x[i::count]
        of_part = (
            depthwise[i::count, :height, :width],
            pointwise[i::count],
            guess[i::count],
        )
        made.append(SEPARABLE.map_p.bind(seen, *of_part, window=part))
    return [
        jnp.stack(results, 1).reshape(edges, *results[0].shape[1:])
        for results in zip(*made, strict=True)
    ]


def _plain_separables(
    x: Array, depthwise: Array, pointwise: Array, *, window: Windows
) -> Array:
    edges, *_, features = pointwise.shape
    guess = jnp.zeros((edges, 2, features), x.dtype)
    y, _ = _split_separables(x, depthwise, pointwise, guess, window=window)
    return y


def _output_shape(x: Any, *kernels: Any, window: Window | Windows) -> tuple[int, ...]:
    edges, *_, features = kernels[-1].shape
    return (edges, x.shape[1], *window.output, features)


# --- The primitives ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Rectified(Derivatives):
    """Derivatives of a map that is linear in relu(x) and in each of its kernels.

    Attributes:
      plain_map: (x, *kernels, guess) -> [image, moments]; None: made of ``plain``.
    """

    plain_map: Callable[..., list[Array]] | None = None

    @functools.cached_property
    def of_image(self) -> Derivatives:
        """Derivatives where no kernel moves, as in a gradient by edge weights alone."""
        return Derivatives(
            f"{self.name}_image",
            self.plain,
            self.shape,
            moving=1,
            kernels=("back", "back_change") if self.kernels else (),
            pallas={
                name.removeprefix("image_"): form
                for name, form in self.pallas.items()
                if name.startswith("image_")
            },
        )

    @functools.cached_property
    def map_p(self) -> Primitive:
        """The map: (x, *kernels, guess) -> (image, moments [edge, 2, feature])."""

        def shapes(x: Any, *others: Any, window: Window) -> list[tuple[int, ...]]:
            kernels = others[:-1]
            shape = self.shape(x, *kernels, window=window)
            return [shape, (shape[0], 2, shape[-1])]

        def plain(x: Array, *others: Array, window: Window) -> list[Array]:
            *kernels, guess = others
            y = self.plain(x, *kernels, window=window)
            return [y, moments_p.bind(y, guess)]

        native = native_results(self.name, shapes) if self.kernels else None

        def jvp(primals: Arrays, tangents: Arrays, *, window: Window) -> Any:
            y, moments = primitive.bind(*primals, window=window)
            still = all(isinstance(t, ad.Zero) for t in tangents[1:-1])
            rule = self.of_image if still else self
            change = rule.change(primals[:-1], tangents[:-1], window=window)
            zero = ad.Zero(jax.typeof(moments).to_tangent_aval())
            return [y, moments], [change, zero]

        primitive = make_primitive(
            self.name,
            shape=shapes,
            xla=self.plain_map or plain,
            native_cpu=native,
            pallas=self.pallas.get(""),
            several=True,
            shares=True,
        )
        ad.primitive_jvps[primitive] = jvp
        return primitive


def _pallas_separable(kernel: Callable[..., list[Array]]) -> PallasForm:
    def form(*arrays: Array, window: Window | Windows, interpret: bool) -> list[Array]:
        windows = window.parts if isinstance(window, Windows) else (window,)
        return kernel(*arrays, windows=windows, interpret=interpret)

    return PallasForm(form, separable.fits)


_PALLAS_SEPARABLE = {
    "": _pallas_separable(separable.separable),
    "change": _pallas_separable(separable.separable_change),
    "back": _pallas_separable(separable.separable_back),
    "back_change": _pallas_separable(separable.separable_back),
    "image_back": _pallas_separable(separable.separable_image_back),
    "image_back_change": _pallas_separable(separable.separable_image_back),
}

SEPARABLE = Rectified(
    "separable", _plain_separable, _output_shape, pallas=_PALLAS_SEPARABLE
)
DENSE = Rectified("rectified_conv", _plain_dense, _output_shape)
SEPARABLES = Rectified(
    "separables",
    _plain_separables,
    _output_shape,
    kernels=(),
    pallas=_PALLAS_SEPARABLE,
    plain_map=_split_separables,
)
"""Separable convolutions that differ in their windows, `Windows`, from edge to edge."""
