"""Batch normalisation's parts: sums over the pixels of every channel.

Images are [edge, batch, height, width, channel] and a pair of sums, as the moments,
[edge, 2, channel]; where an edge stands alone neither has an edge axis.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import ad
from jaxtyping import Array, Float

from darts_jax.kernels.cpu import call_kernel
from darts_jax.kernels.derivatives import Arrays, Derivatives
from darts_jax.kernels.edges import make_primitive

BN_EPSILON = 1e-5

Moments = Float[Array, "2 channel"]


def moments(x: Float[Array, "*pixel channel"], guess: Moments) -> Moments:
    """Returns mean and biased variance of every channel, by independent reductions.

    They are constants to differentiation: `standardize` has the derivative.

    Args:
      x: images, or any array whose last axis is the channels.
      guess: of the moments. Numbers are taken relative to its mean, so that a mean far
        from zero cancels few digits of the variance.
    """
    return moments_p.bind(_image(x), guess)


def standardize(
    x: Float[Array, "*pixel channel"],
    moments: Moments,
    weight: Float[Array, " channel"] | None = None,
) -> Float[Array, "*pixel channel"]:
    """Gives every channel mean 0 and variance 1 and multiplies it by its weight.

    Differentiated by ``x`` alone, with the moments as functions of it: the derivative
    is its own transpose, and makes two reductions, where autodiff of the moments makes
    four.

    Args:
      x: images, or any array whose last axis is the channels.
      moments: of ``x`` itself.
      weight: factors of the channels; None: 1. Multiplied here, it costs the backward
        pass no memory to be read.
    """
    if weight is None:
        weight = jnp.ones_like(moments[0])
    return weighted_p.bind(_image(x), moments, weight).reshape(x.shape)


def _image(x: Array) -> Array:
    return x if x.ndim == 4 else x.reshape(-1, 1, 1, x.shape[-1])


def _flat(x: Array) -> Array:
    """Reshapes to [edge, pixel, channel]."""
    return x.reshape(len(x), -1, x.shape[-1])


def _pixels(x: Array) -> int:
    """Returns the number of pixels; an expression in an export of any batch."""
    return math.prod(x.shape[-4:-1])


def _over_pixels(of_channels: Array) -> Array:
    return of_channels[..., None, None, None, :]


def _means(*products: Array) -> list[Array]:
    """Returns the means of images over the pixels, in a form to be broadcast.

    Parts of all of them are one kernel, as they are reductions of one shape, and what
    the parts add up to is another.
    """
    edges, *_, channels = products[0].shape
    pixels = _pixels(products[0])
    tiles = 1
    if isinstance(pixels, int):
        tiles = max(n for n in range(1, math.isqrt(pixels) + 1) if pixels % n == 0)
    parts = [
        jnp.sum(product.reshape(edges, tiles, -1, channels), 2) for product in products
    ]
    means = jnp.sum(jnp.stack(parts), 2) / pixels
    return [mean[:, None, None, None] for mean in means]


# --- Moments: of an image and a guess ----------------------------------------------


def _pair_shape(x: Array, other: Array) -> tuple[int, ...]:
    del other
    return (x.shape[0], 2, x.shape[-1])


def _moments_xla(x: Array, guess: Array) -> Array:
    origin = guess[:, 0]
    shifted = _flat(x) - origin[:, None]
    mean = jnp.mean(shifted, 1)
    var = jnp.mean(jnp.square(shifted), 1) - jnp.square(mean)
    return jnp.stack([mean + origin, jnp.maximum(var, 0)], 1)


def _moments_native(x: Array, guess: Array) -> Array:
    return call_kernel("moments", _pair_shape(x, guess), _flat(x), guess)


def _moments_by_parts(x: Array, guess: Array) -> Array:
    origin = guess[:, 0]
    shifted = x - _over_pixels(origin)
    mean, square = (m[:, 0, 0, 0] for m in _means(shifted, jnp.square(shifted)))
    var = square - jnp.square(mean)
    return jnp.stack([mean + origin, jnp.maximum(var, 0)], 1)


moments_p = make_primitive(
    "moments",
    shape=_pair_shape,
    xla=_moments_by_parts,
    xla_cpu=_moments_xla,
    native_cpu=_moments_native,
)


def _moments_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    del tangents
    pair = moments_p.bind(*primals)
    return pair, ad.Zero(jax.typeof(pair).to_tangent_aval())


ad.primitive_jvps[moments_p] = _moments_jvp


# --- Sums of a and of a * b: linear in either --------------------------------------


def _sums_xla(a: Array, b: Array) -> Array:
    a = _flat(a)
    b = _flat(b)
    return jnp.stack([jnp.sum(a, 1), jnp.sum(a * b, 1)], 1)


def _sums_native(a: Array, b: Array) -> Array:
    return call_kernel("channel_sums", _pair_shape(a, b), _flat(a), _flat(b))


def _sums_change_by_b(tangent: Array, a: Array, b: Array) -> Array:
    del b
    sums = sums_p.bind(a, tangent)
    return sums * jnp.array([0, 1], sums.dtype)[:, None]


def _sums_transpose(ct: Any, a: Any, b: Any) -> tuple[Any, Any]:
    alone, product = (_over_pixels(ct[..., i, :]) for i in (0, 1))
    if ad.is_undefined_primal(a):
        return alone + product * b, None
    return None, product * a


sums_p = make_primitive(
    "channel_sums", shape=_pair_shape, xla=_sums_xla, native_cpu=_sums_native
)
ad.defjvp(sums_p, lambda tangent, a, b: sums_p.bind(tangent, b), _sums_change_by_b)
ad.primitive_transposes[sums_p] = _sums_transpose


def _mean_of_product(a: Array, b: Array) -> Array:
    return sums_p.bind(a, b)[..., 1, :] / _pixels(a)


# --- (t - mean(t) - y * mean(y * t)) * scale ---------------------------------------
#
# With normalised y, what is left of a change t of the numbers that were normalised.
# Linear in t, and its own transpose.


def _project_shape(t: Array, y: Array, scale: Array) -> tuple[int, ...]:
    del y, scale
    return t.shape


def _project_xla(t: Array, y: Array, scale: Array) -> Array:
    flat_t = _flat(t)
    flat_y = _flat(y)
    centred = flat_t - jnp.mean(flat_t, 1, keepdims=True)
    along = jnp.mean(flat_y * flat_t, 1, keepdims=True)
    return ((centred - flat_y * along) * scale[:, None]).reshape(t.shape)


def _project_native(t: Array, y: Array, scale: Array) -> Array:
    flat = _flat(t)
    return call_kernel("project", flat.shape, flat, _flat(y), scale).reshape(t.shape)


def _project_change_by_y(tangent: Array, t: Array, y: Array, scale: Array) -> Array:
    along, change = (_over_pixels(_mean_of_product(t, of)) for of in (y, tangent))
    return -(tangent * along + y * change) * _over_pixels(scale)


def _project_transpose(ct: Any, t: Any, y: Any, scale: Any) -> tuple[Any, ...]:
    if ad.is_undefined_primal(t):
        return project_p.bind(ct, y, scale), None, None
    unscaled = project_p.bind(t, y, jnp.ones(scale.aval.shape, t.dtype))
    return None, None, sums_p.bind(ct, unscaled)[..., 1, :]


project_p = make_primitive(
    "project", shape=_project_shape, xla=_project_xla, native_cpu=_project_native
)
ad.defjvp(
    project_p,
    lambda tangent, t, y, scale: project_p.bind(tangent, y, scale),
    _project_change_by_y,
    lambda tangent, t, y, scale: project_p.bind(t, y, tangent),
)
ad.primitive_transposes[project_p] = _project_transpose


# --- Standardising: (x, moments) -> it, and the former inverse deviations ----------


def _standardize_shapes(x: Array, moments: Array) -> list[tuple[int, ...]]:
    return [x.shape, moments.shape[::2]]


def _standardize_xla(x: Array, moments: Array) -> list[Array]:
    mean = moments[:, 0]
    var = moments[:, 1]
    inverse = lax.rsqrt(var + BN_EPSILON)
    return [(x - _over_pixels(mean)) * _over_pixels(inverse), inverse]


# Not a function with a `custom_jvp`: `scan` drops that rule from what it computes ahead
# of the backward pass, and moments would be constants to a derivative of second order.
standardize_p = make_primitive(
    "standardize", shape=_standardize_shapes, xla=_standardize_xla, several=True
)


def _standardize_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    y, inverse = standardize_p.bind(*primals)
    tangent = ad.instantiate_zeros(tangents[0])
    along = _mean_of_product(tangent, y)
    changes = [project_p.bind(tangent, y, inverse), -jnp.square(inverse) * along]
    return [y, inverse], changes


ad.primitive_jvps[standardize_p] = _standardize_jvp


# --- Standardised and weighted: (x, moments, weight) -> it -------------------------


def _weighted_shape(x: Array, moments: Array, weight: Array) -> tuple[int, ...]:
    del moments, weight
    return x.shape


def _weighted_xla(x: Array, moments: Array, weight: Array) -> Array:
    y, _ = standardize_p.bind(x, moments)
    return y * _over_pixels(weight)


def _weighted_change(
    t: Array, t_moments: Array, t_weight: Array, x: Array, moments: Array, weight: Array
) -> list[Array]:
    del t_moments
    y, inverse = standardize_p.bind(x, moments)
    mean, along = _means(t, t * y)
    factor = _over_pixels(weight * inverse)
    return [factor * (t - mean - y * along) + y * _over_pixels(t_weight)]


def _weighted_back(g: Array, x: Array, moments: Array, weight: Array) -> list[Array]:
    y, inverse = standardize_p.bind(x, moments)
    mean, along = _means(g, g * y)
    image = _over_pixels(weight * inverse) * (g - mean - y * along)
    by_weight = _pixels(x) * along[:, 0, 0, 0]
    return [image, jnp.zeros_like(moments), by_weight]


def _weighted_back_change(
    t_g: Array, t: Array, t_moments: Array, t_weight: Array,
    g: Array, x: Array, moments: Array, weight: Array,
) -> list[Array]:  # fmt: skip
    del t_moments
    y, inverse = standardize_p.bind(x, moments)
    factor, t_factor, inverse = map(
        _over_pixels, (weight * inverse, t_weight * inverse, inverse)
    )
    mean, along, mean_g, along_g, mean_tg, along_tg, both = _means(
        t, t * y, g, g * y, t_g, t_g * y, g * t
    )
    # The means of changes follow from these, so that numbers are read twice in all.
    t_y = inverse * (t - mean - y * along)
    t_along_g = along_tg + inverse * (both - mean * mean_g - along * along_g)
    image = (t_factor - factor * inverse * along) * (g - mean_g - y * along_g)
    image += factor * (t_g - mean_tg - t_y * along_g - y * t_along_g)
    by_weight = _pixels(x) * t_along_g[:, 0, 0, 0]
    return [image, jnp.zeros_like(moments), by_weight]


WEIGHTED = Derivatives(
    "weighted",
    _weighted_xla,
    _weighted_shape,
    constants=(("epsilon", np.float64(BN_EPSILON)),),
    closed=(
        ("change", _weighted_change),
        ("back", _weighted_back),
        ("back_change", _weighted_back_change),
    ),
)

weighted_p = make_primitive("weighted", shape=_weighted_shape, xla=_weighted_xla)


def _weighted_jvp(primals: Arrays, tangents: Arrays) -> tuple[Array, Array]:
    return weighted_p.bind(*primals), WEIGHTED.change(primals, tangents)


ad.primitive_jvps[weighted_p] = _weighted_jvp
