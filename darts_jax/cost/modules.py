"""Cost of any Flax module, counted from its trace without compiling it."""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Jaxpr, Literal

from darts_jax.cost.dependence import find_dependent_results, remove_fixed_products
from darts_jax.cost.macs import count_macs, reads_image
from darts_jax.models import stack
from darts_jax.models.functional import count_parameters
from darts_jax.models.operations.layers import STREAMS, draw

ImageShape = tuple[int, int, int]
"""Height, width and channels of an image."""


class Cost(NamedTuple):
    """Cost of a network or of a part of it.

    Attributes:
      parameters: number of trainable scalars.
      macs: multiply-accumulates of the forward pass on one image, as papers count
        them: of convolutions and the classifier. Every tap counts, in the padding
        too; pooling, BN, biases and sums do not.
      activation_bytes: bytes per image that the backward pass, by parameters and
        images, reads of the forward pass: inputs of convolutions, normalised values of
        BN, one byte for the sign at a ReLU and for the place of a maximum. A depthwise
        and a pointwise convolution with the ReLU before them have one input. Values
        that depend on the image alone count once, or once for each convolution that
        reads them, so that the costs of parts add up; a compiler may hold less.
    """

    parameters: Any
    macs: Any
    activation_bytes: Any


def module_cost(
    module: nn.Module,
    shapes: tuple[ImageShape, ...],
    others: tuple[Any, ...] = (),
    dtype: str = "float32",
) -> Cost:
    """Counts the cost of a module that is called as ``(*images, *others, train)``.

    Args:
      module: the module; it is traced in train mode.
      shapes: height, width and channels of each of its images.
      others: arrays that it takes after the images.
      dtype: dtype of the images.

    Returns:
      Numbers for one image; see `Cost` for their units.

    Raises:
      ValueError: a loop runs a number of times that is not known.
    """
    forward = _trace_forward(module, shapes, others, dtype)
    # The difference: statistics of a batch are held once for all its images.
    two_images = _count_held_bytes(forward, batch=2)
    one_image = _count_held_bytes(forward, batch=1)
    return Cost(
        parameters=count_parameters(forward.params),
        macs=_count_forward_macs(forward),
        activation_bytes=two_images - one_image,
    )


def module_macs(module: nn.Module, shapes: tuple[ImageShape, ...]) -> int:
    """Counts the multiply-accumulates of `module_cost` alone, in a fifth of its time.

    Args:
      module: the module.
      shapes: height, width and channels of each of its images.
    """
    return _count_forward_macs(_trace_forward(module, shapes, (), "float32"))


@dataclasses.dataclass(frozen=True)
class _Forward:
    """A module's forward pass, and the shapes of its arguments.

    Attributes:
      function: ``(params, images, stats, key) -> outputs``.
    """

    function: Callable[..., Any]
    params: Any
    stats: Any
    key: Any
    shapes: tuple[ImageShape, ...]
    dtype: str

    def images(self, batch: int) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Returns the shapes of a batch."""
        dtype = jnp.dtype(self.dtype)
        return tuple(jax.ShapeDtypeStruct((batch, *s), dtype) for s in self.shapes)


def _trace_forward(
    module: nn.Module,
    shapes: tuple[ImageShape, ...],
    others: tuple[Any, ...],
    dtype: str,
) -> _Forward:
    key = jax.eval_shape(lambda: jax.random.key(0))

    def init(key: Any, images: Any) -> Any:
        streams = dict.fromkeys(("params", *STREAMS), key)
        return draw(key, module.init(streams, *images, *others, False))

    def forward(params: Any, images: Any, stats: Any, key: Any) -> Any:
        variables = {"params": params, "batch_stats": stats}
        return stack.apply(module, variables, key, *images, *others, train=True)[0]

    images = tuple(jax.ShapeDtypeStruct((1, *s), jnp.dtype(dtype)) for s in shapes)
    variables = jax.eval_shape(init, key, images)
    return _Forward(
        function=forward,
        params=variables.get("params", {}),
        stats=variables.get("batch_stats", {}),
        key=key,
        shapes=shapes,
        dtype=dtype,
    )


def _count_forward_macs(forward: _Forward) -> int:
    images = forward.images(1)
    trace = jax.make_jaxpr(forward.function)
    program = trace(forward.params, images, forward.stats, forward.key)
    given = [True] * len(program.jaxpr.invars)
    return count_macs(remove_fixed_products(program, given))


def _count_held_bytes(forward: _Forward, batch: int) -> int:
    """Counts the bytes that reverse mode keeps and that depend on the images."""

    def keep(images: Any, params: Any, stats: Any, key: Any) -> Any:
        def run(params: Any, images: Any) -> Any:
            return forward.function(params, images, stats, key)

        _, back = jax.vjp(run, params, images)
        return jax.tree.leaves(back)

    images = forward.images(batch)
    trace = jax.make_jaxpr(keep)
    program = trace(images, forward.params, forward.stats, forward.key)
    results = program.jaxpr.outvars
    given = [i < len(images) for i in range(len(program.jaxpr.invars))]
    depends = find_dependent_results(program, given)
    # One value may be kept for several uses, in several shapes.
    same = _find_reshaped(program.jaxpr)
    held = {same.get(v, v): v.aval for v, d in zip(results, depends, strict=True) if d}
    parameter_count = len(jax.tree.leaves(forward.params))
    learned = program.jaxpr.invars[len(images) :][:parameter_count]
    readers = collections.Counter(
        same.get(image, image)
        for image in _convolved_images(program.jaxpr, set(learned))
    )
    return sum(
        max(1, readers[value]) * aval.size * aval.dtype.itemsize
        for value, aval in held.items()
    )


def _convolved_images(jaxpr: Jaxpr, learned: set[Any]) -> Iterator[Any]:
    """Yields the image of every convolution whose kernel is learned.

    Args:
      jaxpr: the program.
      learned: the parameters; grows by all that depends on them.
    """
    for equation in jaxpr.eqns:
        variables = [v for v in equation.invars if not isinstance(v, Literal)]
        if learned.isdisjoint(variables):
            continue
        learned.update(equation.outvars)
        if reads_image(equation) and equation.invars[1] in learned:
            yield equation.invars[0]


def _find_reshaped(jaxpr: Jaxpr) -> dict[Any, Any]:
    """Maps every value that only reshapes another one to that one."""
    same: dict[Any, Any] = {}
    for equation in jaxpr.eqns:
        if equation.primitive.name != "reshape":
            continue
        (new,) = equation.outvars
        old = equation.invars[0]
        if not isinstance(old, Literal):
            same[new] = same.get(old, old)
    return same
