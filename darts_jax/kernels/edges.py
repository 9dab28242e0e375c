"""Primitives whose arrays may have a leading edge axis, with a form for each platform.

The first array is an image, [edge, batch, height, width, channel]. Batching extends the
edge axis, so `vmap` over edges costs no transpose. A lone edge has no such axis, so
that a program need not add and remove it at every use.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array

from darts_jax.kernels import cpu
from darts_jax.kernels.gpu import lowering as gpu

PLAIN_FORMS: dict[Primitive, Callable[..., Array]] = {}
"""Primitive -> its form by XLA's own operations, for readers that know only these."""


@dataclasses.dataclass(frozen=True)
class PallasForm:
    """A primitive's form by Pallas kernels.

    Attributes:
      form: takes the arrays, and by keyword the primitive's parameters and
        ``interpret``, whether JAX's interpreter runs the kernels.
      fits: whether the kernels can compute with arrays of these shapes.
    """

    form: Callable[..., Any]
    fits: Callable[..., bool]


IMAGE_RANK = 4  # [batch, height, width, channel]: what a primitive's first array is


def make_primitive(
    name: str,
    *,
    shape: Callable[..., Any],
    xla: Callable[..., Any],
    xla_cpu: Callable[..., Any] | None = None,
    native_cpu: Callable[..., Any] | None = None,
    xla_gpu: Callable[..., Any] | None = None,
    pallas: PallasForm | None = None,
    several: bool = False,
    shares: bool = False,
) -> Primitive:
    """Returns a primitive whose arrays may have a leading edge axis.

    Functions given here always see that axis. They take the arrays, and the primitive's
    parameters by keyword. Rules of differentiation are added by the caller.

    Args:
      name: of the primitive.
      shape: returns the shape of the result, which has the first array's dtype, or a
        `jax.ShapeDtypeStruct`.
      xla: its form by XLA's operations, on every platform that has none of its own.
      xla_cpu: its form by XLA's operations on CPU; None: ``xla``.
      native_cpu: its form by kernels of our own on CPU, where these are built; None:
        there is none.
      xla_gpu: its form by XLA's operations on GPUs; None: ``xla``.
      pallas: its form by kernels of our own on NVIDIA's GPUs; None: there is none.
      several: whether shapes and forms are lists, of several results.
      shares: whether the image, as well as its tangents and cotangents, may have fewer
        edges than the last array: each of its edges is then read by as many neighbours.
    """
    primitive = Primitive(name)
    primitive.multiple_results = several
    compiled = jax.jit(primitive.bind, static_argnames="window")

    def implement(*arrays: Array, **parameters: Any) -> Any:
        # With `jit` disabled, as in debugging, this function would call itself forever.
        with jax.disable_jit(False):
            return compiled(*arrays, **parameters)

    primitive.def_impl(implement)

    def abstract(*arrays: Any, **parameters: Any) -> Any:
        bare = arrays[0].ndim == IMAGE_RANK
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
        one = arrays[0].ndim == IMAGE_RANK or len(arrays[0]) == 1
        shared = shares and axes[0] is None and one
        leading = [
            jnp.broadcast_to(array, (1 if shared and i == 0 else size, *array.shape))
            if axis is None
            else jnp.moveaxis(array, axis, 0)
            for i, (array, axis) in enumerate(zip(arrays, axes, strict=True))
        ]
        if leading[0].ndim == IMAGE_RANK + 1:
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
    PLAIN_FORMS[primitive] = of_any_rank(in_precision_of_window(xla))
    on_cpu: list[_Special] = []
    on_cuda: list[_Special] = []
    if pallas is not None:
        for specials, serves, interpret in (
            (on_cpu, gpu.is_interpreted, True),
            (on_cuda, gpu.may_serve, False),
        ):
            # One trace for all programs: what differs in nothing is compiled once.
            form = jax.jit(
                functools.partial(pallas.form, interpret=interpret),
                static_argnames=("window",),
            )
            specials.append((functools.partial(serves, fits=pallas.fits), form))
    if native_cpu is not None:
        on_cpu.append((cpu.may_serve, native_cpu))
    _register(primitive, None, [], xla)
    _register(primitive, "cpu", on_cpu, xla_cpu or xla)
    _register(primitive, "cuda", on_cuda, xla_gpu or xla)
    _register(primitive, "rocm", [], xla_gpu or xla)
    return primitive


_Special = tuple[Callable[[Any], bool], Callable[..., Any]]
"""A form, and whether it serves in the context of a lowering."""


def _register(
    primitive: Primitive,
    platform: str | None,
    specials: Sequence[_Special],
    otherwise: Callable[..., Any],
) -> None:
    """Lowers a primitive for a platform by the first form that serves.

    Args:
      primitive: to be lowered.
      platform: its name; None: every platform that has no rule of its own.
      specials: forms that serve in places.
      otherwise: a form that serves everywhere.
    """

    def always(context: Any) -> bool:
        del context
        return True

    forms = [
        (
            serves,
            mlir.lower_fun(
                of_any_rank(in_precision_of_window(form)), primitive.multiple_results
            ),
        )
        for serves, form in [*specials, (always, otherwise)]
    ]

    def lower(context: Any, *operands: Any, **parameters: Any) -> Any:
        form = next(form for serves, form in forms if serves(context))
        return form(context, *operands, **parameters)

    mlir.register_lowering(primitive, lower, platform=platform)


def spread(image: Array, kernel: Array) -> Array:
    """Returns the image of every edge, where edges share one.

    Args:
      image: [edge, ...], of as many edges as the kernel or of a divisor of them.
      kernel: [edge, ...].
    """
    if len(image) == len(kernel):
        return image
    return jnp.repeat(image, len(kernel) // len(image), axis=0)


def of_any_rank(form: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a form for arrays with or without an edge axis.

    Args:
      form: takes arrays with an edge axis.
    """

    def either(*arrays: Array, **parameters: Any) -> Any:
        if arrays[0].ndim > IMAGE_RANK:
            return form(*arrays, **parameters)
        results = form(*(array[None] for array in arrays), **parameters)
        return jax.tree.map(lambda result: result[0], results)

    return either


def in_precision_of_window(form: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a form whose products have the precision of its window, if it has one.

    Forms are traced when a program is lowered, where the precision that it was traced
    in is forgotten.

    Args:
      form: takes arrays, and ``window`` where it has one.
    """

    def precise(*arrays: Array, **parameters: Any) -> Any:
        window = parameters.get("window")
        if window is None:
            return form(*arrays, **parameters)
        with jax.default_matmul_precision(window.precision):
            return form(*arrays, **parameters)

    return precise


def _with_edge(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *array.shape), array.dtype)


def _abstract(shape: Any, dtype: Any, *, skip: bool) -> jax.core.ShapedArray:
    if isinstance(shape, jax.ShapeDtypeStruct):
        dtype = shape.dtype
        shape = shape.shape
    return jax.core.ShapedArray(shape[skip:], dtype)
