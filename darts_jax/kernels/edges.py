"""Primitives whose arrays may have a leading edge axis.

The first array is an image, [edge, batch, height, width, channel]. Batching extends the
edge axis, so `vmap` over edges costs no transpose. Edges that stand alone have none, so
that a program need not add and take it at every use.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array

from darts_jax.kernels.cpu import register

PLAIN_FORMS: dict[Primitive, Callable[..., Array]] = {}
"""A primitive of ours -> the same by XLA's own operations, for who knows only these."""

_IMAGE = 4  # [batch, height, width, channel]: what a primitive's first array is


def make_primitive(
    name: str,
    shape: Callable[..., Any],
    cpu: Callable[..., Any],
    other: Callable[..., Any],
    native: Callable[..., Any] | None = None,
    *,
    several: bool = False,
    shares: bool = False,
) -> Primitive:
    """A primitive whose arrays may have a leading edge axis, which batching extends.

    What is given here sees that axis always.

    Args:
      shape: of the result, which has the first array's dtype unless it is a
        `jax.ShapeDtypeStruct`.
      cpu: its form by XLA's operations on CPU.
      other: the same everywhere else.
      native: its form by kernels of our own on CPU, where they are built.
      several: whether shapes and forms are lists, of several results.
      shares: whether the image, as well as its tangents and cotangents, may have fewer
        edges than the last array: then neighbours in equal number read each of its.
    """
    primitive = Primitive(name)
    primitive.multiple_results = several
    compiled = jax.jit(primitive.bind, static_argnames="window")
    cpu, other = of_any_rank(cpu), of_any_rank(other)

    def implement(*arrays: Array, **parameters: Any) -> Any:
        # Whoever looks for a mistake with `jit` disabled would come back here forever.
        with jax.disable_jit(False):
            return compiled(*arrays, **parameters)

    primitive.def_impl(implement)

    def abstract(*arrays: Any, **parameters: Any) -> Any:
        bare = arrays[0].ndim == _IMAGE
        if bare:
            arrays = tuple(_with_edge(array) for array in arrays)
        made = shape(*arrays, **parameters)
        results = [
            _abstract(each, arrays[0].dtype, skip=bare)
            for each in (made if several else [made])
        ]
        return results if several else results[0]

    def batch(
        arrays: Sequence[Array], axes: Sequence[int | None], **parameters: Any
    ) -> tuple[Any, Any]:
        size = next(
            a.shape[axis]
            for a, axis in zip(arrays, axes, strict=True)
            if axis is not None
        )
        shared = shares and axes[0] is None and arrays[0].ndim == _IMAGE
        leading = [
            jnp.broadcast_to(array, (1 if shared and i == 0 else size, *array.shape))
            if axis is None
            else jnp.moveaxis(array, axis, 0)
            for i, (array, axis) in enumerate(zip(arrays, axes, strict=True))
        ]
        if leading[0].ndim == _IMAGE + 1:
            results = primitive.bind(*leading, **parameters)
        else:
            merged = (array.reshape(-1, *array.shape[2:]) for array in leading)
            results = jax.tree.map(
                lambda r: r.reshape(size, -1, *r.shape[1:]),
                primitive.bind(*merged, **parameters),
            )
        return results, [0] * len(results) if several else 0

    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    PLAIN_FORMS[primitive] = other
    mlir.register_lowering(primitive, mlir.lower_fun(other, multiple_results=several))
    if native is not None:
        register(primitive, of_any_rank(native), cpu)
    else:
        lower_cpu = mlir.lower_fun(cpu, multiple_results=several)
        mlir.register_lowering(primitive, lower_cpu, platform="cpu")
    return primitive


def spread(image: Array, kernel: Array) -> Array:
    """The image of every edge, where edges share one."""
    if len(image) == len(kernel):
        return image
    return jnp.repeat(image, len(kernel) // len(image), axis=0)


def of_any_rank(form: Callable[..., Any]) -> Callable[..., Any]:
    """A form that sees an edge axis, for arrays with one or without."""

    def either(*arrays: Array, **parameters: Any) -> Any:
        if arrays[0].ndim > _IMAGE:
            return form(*arrays, **parameters)
        results = form(*(array[None] for array in arrays), **parameters)
        return jax.tree.map(lambda result: result[0], results)

    return either


def _with_edge(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *array.shape), array.dtype)


def _abstract(shape: Any, dtype: Any, *, skip: bool) -> jax.core.ShapedArray:
    if isinstance(shape, jax.ShapeDtypeStruct):
        shape, dtype = shape.shape, shape.dtype
    return jax.core.ShapedArray(shape[skip:], dtype)
