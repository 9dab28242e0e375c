"""The cost of any module, from its trace: exact, and nothing is compiled."""

import collections
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Jaxpr, Literal

from darts_jax.cost.dependence import dependent_results, without_fixed_factors
from darts_jax.cost.macs import count_macs, reads_an_image
from darts_jax.models import stack
from darts_jax.models.functional import count_parameters
from darts_jax.models.operations.layers import STREAMS, draw

ImageShape = tuple[int, int, int]


class Cost(NamedTuple):
    """Of a network or a part of it; of many of them, arrays.

    Attributes:
      parameters: trainable scalars.
      macs: multiply-accumulates of the forward pass on one image, as papers count
        them: of convolutions and the classifier. Every tap counts, in the padding
        too; pooling, BN, biases and sums do not.
      activation_bytes: what the backward pass, by parameters and images, reads of the
        forward pass, per image: inputs of convolutions, normalised values of BN, one
        byte for the sign at a ReLU and for the place of a maximum. A depthwise and a
        pointwise convolution with the ReLU before them have one input. Of values that
        depend on the image alone, each once, or once for each convolution that reads
        it, for parts to add up; a compiler may hold less.
    """

    parameters: Any
    macs: Any
    activation_bytes: Any


def traced_cost(
    net: nn.Module,
    shapes: tuple[ImageShape, ...],
    others: tuple[Any, ...] = (),
    dtype: str = "float32",
) -> Cost:
    """Of a module called as ``(*images, *others, train)``, in train mode.

    Args:
      shapes: [height, width, channel] of each of its images.
      others: arrays.
      dtype: of the images.

    Raises:
      ValueError: a loop runs a number of times that is not known.
    """
    forward, params, stats, key = _forward(net, shapes, others, dtype)
    macs = _macs(forward, params, _images(shapes, 1, dtype), stats, key)

    def held(batch: int) -> int:
        return _held_bytes(forward, params, _images(shapes, batch, dtype), stats, key)

    # The difference: statistics of a batch are held once for all its images.
    return Cost(count_parameters(params), macs, held(2) - held(1))


def traced_macs(net: nn.Module, *shapes: ImageShape) -> int:
    """The multiply-accumulates of `traced_cost` alone, for a fifth of the time."""
    forward, *arguments = _forward(net, shapes, (), "float32")
    params, stats, key = arguments
    return _macs(forward, params, _images(shapes, 1, "float32"), stats, key)


def _forward(
    net: nn.Module,
    shapes: tuple[ImageShape, ...],
    others: tuple[Any, ...],
    dtype: str,
) -> tuple[Callable[..., Any], Any, Any, Any]:
    """``(params, images, stats, key) -> outputs``, and what its arguments look like."""
    key = jax.eval_shape(lambda: jax.random.key(0))

    def begin(key: Any, images: Any) -> Any:
        streams = dict.fromkeys(("params", *STREAMS), key)
        return draw(key, net.init(streams, *images, *others, False))

    made = jax.eval_shape(begin, key, _images(shapes, 1, dtype))
    params, stats = made.get("params", {}), made.get("batch_stats", {})

    def forward(params: Any, images: Any, stats: Any, key: Any) -> Any:
        variables = {"params": params, "batch_stats": stats}
        return stack.call(net, variables, key, *images, *others, train=True)[0]

    return forward, params, stats, key


def _macs(
    forward: Callable[..., Any], params: Any, images: Any, stats: Any, key: Any
) -> int:
    program = jax.make_jaxpr(forward)(params, images, stats, key)
    given = [True] * len(program.jaxpr.invars)
    return count_macs(without_fixed_factors(program, given))


def _images(shapes: tuple[ImageShape, ...], batch: int, dtype: str) -> Any:
    whole = ((batch, *shape) for shape in shapes)
    return tuple(jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for shape in whole)


def _held_bytes(
    forward: Callable[..., Any], params: Any, images: Any, stats: Any, key: Any
) -> int:
    """What reverse mode keeps for the way back, where it depends on the images."""

    def keep(images: Any, params: Any, stats: Any, key: Any) -> Any:
        _, back = jax.vjp(lambda p, x: forward(p, x, stats, key), params, images)
        return jax.tree.leaves(back)

    program = jax.make_jaxpr(keep)(images, params, stats, key)
    results = program.jaxpr.outvars
    given = [i < len(images) for i in range(len(program.jaxpr.invars))]
    depends = dependent_results(program, given)
    # One value may be kept for several uses, in several shapes.
    same = _same_numbers(program.jaxpr)
    held = {same.get(v, v): v.aval for v, d in zip(results, depends, strict=True) if d}
    learned = program.jaxpr.invars[len(images) :][: len(jax.tree.leaves(params))]
    readers = collections.Counter(
        same.get(image, image) for image in _convolved(program.jaxpr, set(learned))
    )
    return sum(
        max(1, readers[value]) * aval.size * aval.dtype.itemsize
        for value, aval in held.items()
    )


def _convolved(jaxpr: Jaxpr, learned: set[Any]) -> Iterator[Any]:
    """The image of every convolution whose kernel is learned.

    Args:
      learned: the parameters; grows by all that depends on them.
    """
    for equation in jaxpr.eqns:
        variables = [v for v in equation.invars if not isinstance(v, Literal)]
        if learned.isdisjoint(variables):
            continue
        learned.update(equation.outvars)
        if reads_an_image(equation) and equation.invars[1] in learned:
            yield equation.invars[0]


def _same_numbers(jaxpr: Jaxpr) -> dict[Any, Any]:
    """Every value that is another one with a new shape -> that one."""
    same: dict[Any, Any] = {}
    for equation in jaxpr.eqns:
        if equation.primitive.name != "reshape":
            continue
        (new,), old = equation.outvars, equation.invars[0]
        if not isinstance(old, Literal):
            same[new] = same.get(old, old)
    return same
