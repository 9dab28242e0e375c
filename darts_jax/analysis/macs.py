"""Multiply-accumulates of a traced program, counted and not measured."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr


def count_macs(jaxpr: ClosedJaxpr | Jaxpr) -> int:
    """Multiply-accumulates of one run: of convolutions and matrix products alone.

    Every tap of a window counts, also where it lies in the padding. A loop counts as
    often as it runs, a conditional as its dearest branch. The supernet's average
    pooling is a depthwise convolution and counts.

    Args:
      jaxpr: what `jax.make_jaxpr` returns.

    Raises:
      ValueError: convolutions or products run a number of times that is not known.
    """
    return sum(map(_count, _open(jaxpr).eqns))


def _count(equation: Any) -> int:
    name = equation.primitive.name
    if name in _COUNTS:
        shapes = (v.aval.shape for v in (*equation.invars, *equation.outvars))
        return _COUNTS[name](equation.params, *shapes)
    inner = [count_macs(jaxpr) for jaxpr in _jaxprs(equation.params)]
    if name == "cond":
        return max(inner)
    if name in _UNKNOWN_TIMES and any(inner):
        raise ValueError(f"how often {name} runs its body is not known")
    times = equation.params["length"] if name == "scan" else 1
    return times * sum(inner)


def reads_an_image(equation: Any) -> bool:
    """Whether it is a convolution of ours, whose first array is an image."""
    return "window" in equation.params and equation.primitive.name in _COUNTS


_UNKNOWN_TIMES = ("while", "pallas_call", "shard_map")


def _jaxprs(params: dict[str, Any]) -> Iterator[ClosedJaxpr | Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr | Jaxpr):
                yield item


def _open(jaxpr: ClosedJaxpr | Jaxpr) -> Jaxpr:
    return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr


Shape = tuple[int, ...]


def _dot(params: dict[str, Any], left: Shape, right: Shape, result: Shape) -> int:
    del right
    (contracted, _), _ = params["dimension_numbers"]
    return math.prod(result) * math.prod(left[axis] for axis in contracted)


def _conv(params: dict[str, Any], image: Shape, kernel: Shape, result: Shape) -> int:
    del image
    # The kernel's first dimension by this specification is that of its outputs.
    features = kernel[params["dimension_numbers"].rhs_spec[0]]
    return math.prod(result) * (math.prod(kernel) // features)


# The project's own primitives have a window: every output [edge, batch, height,
# width, channel] sees each of its taps.


def _depthwise(outputs: Shape, params: dict[str, Any]) -> int:
    return math.prod(outputs) * math.prod(params["window"].kernel)


def _dense(outputs: Shape, inputs: int, params: dict[str, Any]) -> int:
    return _depthwise(outputs, params) * inputs


def _separable(
    params: dict[str, Any], outputs: Shape, kernel: Shape, times: tuple[int, int]
) -> int:
    """So many depthwise and pointwise convolutions.

    Args:
      kernel: of the pointwise one, [edge, 1, 1, in, out].
    """
    *_, between, features = kernel
    each = times[0] * math.prod(params["window"].kernel) + times[1] * features
    return math.prod(outputs[:-1]) * between * each


# Name of a primitive -> (parameters, shapes of the arguments and of the results).
_COUNTS: dict[str, Callable[..., int]] = {
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "depthwise": lambda params, x, kernel, y: _depthwise(y, params),
    "depthwise_input": lambda params, y, kernel, x: _depthwise(y, params),
    "depthwise_kernel": lambda params, x, y, kernel: _depthwise(y, params),
    "conv": lambda params, x, kernel, y: _dense(y, x[-1], params),
    "conv_input": lambda params, y, kernel, x: _dense(y, x[-1], params),
    "conv_kernel": lambda params, x, y, kernel: _dense(y, x[-1], params),
    "separable": lambda params, x, depthwise, pointwise, guess, y, moments: _separable(
        params, y, pointwise, (1, 1)
    ),
    "separable_change": lambda params, *shapes: _separable(
        params, shapes[-1], shapes[5], (3, 2)
    ),
    "separable_both": lambda params, *shapes: _separable(
        params, shapes[-2], shapes[5], (3, 3)
    ),
    "separable_image_back_both": lambda params, *shapes: _separable(
        params, shapes[4], shapes[7], (3, 3)
    ),
    "separable_back": lambda params, y, x, depthwise, pointwise, *results: _separable(
        params, y, pointwise, (3, 2)
    ),
    "separable_back_change": lambda params, *shapes: _separable(
        params, shapes[4], shapes[7], (7, 5)
    ),
    "separable_image_change": lambda params, dx, x, depthwise, pointwise, y: _separable(
        params, y, pointwise, (1, 1)
    ),
    "separable_image_back": lambda params, y, x, depthwise, pointwise, *results: (
        _separable(params, y, pointwise, (1, 1))
    ),
    "separable_image_back_change": lambda params, *shapes: _separable(
        params, shapes[4], shapes[7], (2, 3)
    ),
    "rectified_conv": lambda params, x, kernel, guess, y, moments: _dense(
        y, x[-1], params
    ),
    "rectified_conv_change": lambda params, dx, dk, x, kernel, y: (
        2 * _dense(y, x[-1], params)
    ),
    "rectified_conv_back": lambda params, y, x, kernel, *results: (
        2 * _dense(y, x[-1], params)
    ),
    "rectified_conv_image_change": lambda params, dx, x, kernel, y: _dense(
        y, x[-1], params
    ),
    "rectified_conv_image_back": lambda params, y, x, kernel, *results: _dense(
        y, x[-1], params
    ),
    "rectified_conv_image_back_change": lambda params, dy, dx, dk, y, x, *others: (
        2 * _dense(y, x[-1], params)
    ),
    "rectified_conv_back_change": lambda params, dy, dx, dk, y, x, kernel, *results: (
        4 * _dense(y, x[-1], params)
    ),
}
