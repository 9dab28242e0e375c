"""Multiply-accumulates of a traced program."""

import math
from collections.abc import Callable

from jax.extend.core import JaxprEqn

from darts_jax.jaxprs import (
    Program,
    bodies,
    contracted_axes,
    has_window,
    is_conditional,
    mean_taps,
    open_program,
    output_features_axis,
    shapes,
    turns,
)


def count_macs(jaxpr: Program) -> int:
    """Counts the multiply-accumulates of the convolutions and matrix products of a run.

    Every tap of a window counts, also where it lies in the padding. A loop counts as
    often as it runs, a conditional as its dearest branch. The supernet's average
    pooling is a depthwise convolution and counts.

    Args:
      jaxpr: what `jax.make_jaxpr` returns.

    Raises:
      ValueError: convolutions or products run a number of times that is not known.
    """
    return sum(map(_count, open_program(jaxpr).eqns))


def _count(equation: JaxprEqn) -> int:
    name = equation.primitive.name
    if name in _COUNTS:
        return _COUNTS[name](equation, *shapes(equation))
    inner = [count_macs(body) for body in bodies(equation)]
    if is_conditional(equation):
        return max(inner)
    if name in _UNKNOWN_TURNS and any(inner):
        raise ValueError(f"how often {name} runs its body is not known")
    return turns(equation) * sum(inner)


def reads_image(equation: JaxprEqn) -> bool:
    """Returns whether an equation is a convolution of this package, of an image first.

    Args:
      equation: an equation of a traced program.
    """
    return has_window(equation) and equation.primitive.name in _COUNTS


_UNKNOWN_TURNS = ("while", "pallas_call", "shard_map")

Shape = tuple[int, ...]


def _dot(equation: JaxprEqn, left: Shape, right: Shape, result: Shape) -> int:
    del right
    summed = math.prod(left[axis] for axis in contracted_axes(equation))
    return math.prod(result) * summed


def _conv(equation: JaxprEqn, image: Shape, kernel: Shape, result: Shape) -> int:
    del image
    features = kernel[output_features_axis(equation)]
    return math.prod(result) * (math.prod(kernel) // features)


# The project's own primitives have a window: every output [edge, batch, height,
# width, channel] sees each of its taps.


def _depthwise(outputs: Shape, equation: JaxprEqn) -> int:
    return int(math.prod(outputs) * mean_taps(equation))


def _dense(outputs: Shape, inputs: int, equation: JaxprEqn) -> int:
    return _depthwise(outputs, equation) * inputs


def _separable(
    equation: JaxprEqn, outputs: Shape, kernel: Shape, times: tuple[int, int]
) -> int:
    """Counts several depthwise and pointwise convolutions.

    Args:
      equation: the equation that computes them.
      outputs: shape of the pointwise outputs.
      kernel: shape of the pointwise kernel, [edge, 1, 1, in, out].
      times: numbers of depthwise and of pointwise convolutions.
    """
    *_, between, features = kernel
    depthwise, pointwise = times
    each = depthwise * mean_taps(equation) + pointwise * features
    return int(math.prod(outputs[:-1]) * between * each)


# Name of a primitive -> (equation, shapes of the arguments and of the results).
_COUNTS: dict[str, Callable[..., int]] = {
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "depthwise": lambda equation, x, kernel, y: _depthwise(y, equation),
    "depthwise_input": lambda equation, y, kernel, x: _depthwise(y, equation),
    "depthwise_kernel": lambda equation, x, y, kernel: _depthwise(y, equation),
    "conv": lambda equation, x, kernel, y: _dense(y, x[-1], equation),
    "conv_input": lambda equation, y, kernel, x: _dense(y, x[-1], equation),
    "conv_kernel": lambda equation, x, y, kernel: _dense(y, x[-1], equation),
    "separable": lambda equation, x, depthwise, pointwise, guess, y, moments: (
        _separable(equation, y, pointwise, (1, 1))
    ),
    "separable_change": lambda equation, *shapes: _separable(
        equation, shapes[-1], shapes[5], (3, 2)
    ),
    "separable_back": lambda equation, y, x, depthwise, pointwise, *results: _separable(
        equation, y, pointwise, (3, 2)
    ),
    "separable_back_change": lambda equation, *shapes: _separable(
        equation, shapes[4], shapes[7], (7, 5)
    ),
    "separable_image_change": lambda equation, dx, x, depthwise, pointwise, y: (
        _separable(equation, y, pointwise, (1, 1))
    ),
    "separable_image_back": lambda equation, y, x, depthwise, pointwise, *results: (
        _separable(equation, y, pointwise, (1, 1))
    ),
    "separable_image_back_change": lambda equation, *shapes: _separable(
        equation, shapes[4], shapes[7], (2, 3)
    ),
    "rectified_conv": lambda equation, x, kernel, guess, y, moments: _dense(
        y, x[-1], equation
    ),
    "rectified_conv_change": lambda equation, dx, dk, x, kernel, y: (
        2 * _dense(y, x[-1], equation)
    ),
    "rectified_conv_back": lambda equation, y, x, kernel, *results: (
        2 * _dense(y, x[-1], equation)
    ),
    "rectified_conv_image_change": lambda equation, dx, x, kernel, y: _dense(
        y, x[-1], equation
    ),
    "rectified_conv_image_back": lambda equation, y, x, kernel, *results: _dense(
        y, x[-1], equation
    ),
    "rectified_conv_image_back_change": lambda equation, dy, dx, dk, y, x, *others: (
        2 * _dense(y, x[-1], equation)
    ),
    "rectified_conv_back_change": lambda equation, dy, dx, dk, y, x, kernel, *results: (
        4 * _dense(y, x[-1], equation)
    ),
}
_COUNTS |= {
    name.replace("separable", "separables"): count
    for name, count in _COUNTS.items()
    if name.startswith("separable")
}
