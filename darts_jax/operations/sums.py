"""Sums over the pixels of every channel, which batch normalisation is made of.

Arrays are [edge, pixel, channel]; a pair of sums is [edge, 2, channel].
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad
from jaxtyping import Array, Float

from darts_jax.native import call
from darts_jax.operations.windows import make_primitive

BN_EPSILON = 1e-5


def moments(
    x: Float[Array, "*pixel channel"], origin: Float[Array, " channel"]
) -> tuple[Float[Array, " channel"], Float[Array, " channel"]]:
    """Mean and biased variance of every channel, by two independent reductions.

    It has no derivative: see `layers` for one with fewer reductions than its own.

    Args:
      origin: a guess of the mean. Numbers are taken relative to it, so that a mean far
        from zero cancels few digits of the variance.
    """
    mean, var = moments_of_edges(x[None], origin[None])[0]
    return mean, var


def moments_of_edges(
    x: Float[Array, "edge *pixel channel"], origin: Float[Array, "edge channel"]
) -> Float[Array, "edge 2 channel"]:
    """`moments` of every edge."""
    return _moments_p.bind(x.reshape(len(x), -1, x.shape[-1]), origin)


def channel_sums(
    a: Float[Array, "*pixel channel"], b: Float[Array, "*pixel channel"]
) -> tuple[Float[Array, " channel"], Float[Array, " channel"]]:
    """Sums of ``a`` and of ``a * b`` over all pixels; linear in either array."""
    alone, product = _sums_p.bind(_flat(a), _flat(b))[0]
    return alone, product


def project(
    t: Float[Array, "*pixel channel"],
    y: Float[Array, "*pixel channel"],
    scale: Float[Array, " channel"],
) -> Float[Array, "*pixel channel"]:
    """``(t - mean(t) - y * mean(y * t)) * scale``, means by channel.

    With normalised ``y``, what is left of a change of the numbers that were normalised.
    Linear in ``t``, and its own transpose.
    """
    return _project_p.bind(_flat(t), _flat(y), scale[None]).reshape(t.shape)


def standardize(
    x: Float[Array, "*pixel channel"],
    mean: Float[Array, " channel"],
    var: Float[Array, " channel"],
) -> Float[Array, "*pixel channel"]:
    """Every channel with mean 0 and variance 1.

    Differentiated by ``x`` alone, with ``mean`` and ``var`` as functions of it: its
    derivative is its own transpose, and makes two reductions, where autodiff of the
    moments makes four.

    Args:
      mean: of ``x`` itself, and ``var``, its biased variance, too.
    """
    y, _ = _standardize_p.bind(_flat(x), mean[None], var[None])
    return y.reshape(x.shape)


def _flat(x: Array) -> Array:
    return x.reshape(1, -1, x.shape[-1])


def _shape(a: Array, b: Array) -> tuple[int, ...]:
    return (a.shape[0], 2, a.shape[-1])


def _moments_xla(x: Array, origin: Array) -> Array:
    shifted = x - origin[:, None]
    mean = jnp.mean(shifted, 1)
    var = jnp.mean(jnp.square(shifted), 1) - jnp.square(mean)
    return jnp.stack([mean + origin, jnp.maximum(var, 0)], 1)


def _sums_xla(a: Array, b: Array) -> Array:
    return jnp.stack([jnp.sum(a, 1), jnp.sum(a * b, 1)], 1)


def _moments_native(x: Array, origin: Array) -> Array:
    return call("moments", _shape(x, origin), x, origin)


def _sums_native(a: Array, b: Array) -> Array:
    return call("channel_sums", _shape(a, b), a, b)


def _project_shape(t: Array, y: Array, scale: Array) -> tuple[int, ...]:
    del y, scale
    return t.shape


def _project_xla(t: Array, y: Array, scale: Array) -> Array:
    centred = t - jnp.mean(t, 1, keepdims=True)
    along = jnp.mean(y * t, 1, keepdims=True)
    return (centred - y * along) * scale[:, None]


def _project_native(t: Array, y: Array, scale: Array) -> Array:
    return call("project", t.shape, t, y, scale)


_moments_p = make_primitive(
    "moments", _shape, _moments_xla, _moments_xla, _moments_native
)
_sums_p = make_primitive("channel_sums", _shape, _sums_xla, _sums_xla, _sums_native)


def _tangent_of_b(tangent: Array, a: Array, b: Array) -> Array:
    del b
    sums = _sums_p.bind(a, tangent)
    return sums * jnp.array([0, 1], sums.dtype)[:, None]


def _transpose(ct: Any, a: Any, b: Any) -> tuple[Any, Any]:
    if ad.is_undefined_primal(a):
        return ct[:, :1] + ct[:, 1:] * b, None
    return None, ct[:, 1:] * a


ad.defjvp(
    _sums_p,
    lambda tangent, a, b: _sums_p.bind(tangent, b),
    _tangent_of_b,
)
ad.primitive_transposes[_sums_p] = _transpose


_project_p = make_primitive(
    "project", _project_shape, _project_xla, _project_xla, _project_native
)


def _change_of_y(tangent: Array, t: Array, y: Array, scale: Array) -> Array:
    pixels = t.shape[1]
    along, change = (_sums_p.bind(t, other)[:, 1:] / pixels for other in (y, tangent))
    return -(tangent * along + y * change) * scale[:, None]


def _project_transpose(ct: Any, t: Any, y: Any, scale: Any) -> tuple[Any, ...]:
    if ad.is_undefined_primal(t):
        return _project_p.bind(ct, y, scale), None, None
    unscaled = _project_p.bind(t, y, jnp.ones(t.shape[::2], t.dtype))
    return None, None, _sums_p.bind(ct, unscaled)[:, 1]


ad.defjvp(
    _project_p,
    lambda tangent, t, y, scale: _project_p.bind(tangent, y, scale),
    _change_of_y,
    lambda tangent, t, y, scale: _project_p.bind(t, y, tangent),
)
ad.primitive_transposes[_project_p] = _project_transpose


def _standardize_shapes(x: Array, mean: Array, var: Array) -> list[tuple[int, ...]]:
    del var
    return [x.shape, mean.shape]


def _standardize_xla(x: Array, mean: Array, var: Array) -> list[Array]:
    # With the inverse deviations, which its derivative is made of.
    inverse = lax.rsqrt(var + BN_EPSILON)
    return [(x - mean[:, None]) * inverse[:, None], inverse]


# Not a function with a `custom_jvp`: `scan` drops that rule from what it computes ahead
# of the backward pass, and moments would be constants to a derivative of second order.
_standardize_p = make_primitive(
    "standardize",
    _standardize_shapes,
    _standardize_xla,
    _standardize_xla,
    several=True,
)


def _standardize_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    x, *_ = primals
    y, inverse = _standardize_p.bind(*primals)
    tangent = ad.instantiate_zeros(tangents[0])
    along = _sums_p.bind(tangent, y)[:, 1] / x.shape[1]
    changes = [_project_p.bind(tangent, y, inverse), -jnp.square(inverse) * along]
    return [y, inverse], changes


ad.primitive_jvps[_standardize_p] = _standardize_jvp
