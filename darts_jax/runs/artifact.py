"""A trained network as one closed program, and that program as bytes."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters import partial_eval
from jaxtyping import Array

from darts_jax.errors import InputError

PLATFORMS = ("cpu", "cuda", "tpu")


@dataclasses.dataclass(frozen=True)
class Program:
    """A function of images, its parameters inside.

    Attributes:
      logits: the function.
      closed: its trace, in which nothing is computed in vain.
      images: uint8 [batch, height, width, channel]; the batch is a symbol.
    """

    logits: Callable[[Array], Array]
    closed: ClosedJaxpr
    images: jax.ShapeDtypeStruct


def close(
    inference: Callable[[Array], Array], image_shape: tuple[int, int, int]
) -> Program:
    """Traces a function of uint8 images [batch, height, width, channel]."""
    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *image_shape), jnp.uint8)
    traced = jax.make_jaxpr(inference)(images)
    # Keys of drop path that nobody draws from would be carried along, kernels and all.
    used, _ = partial_eval.dce_jaxpr(traced.jaxpr, [True], instantiate=True)
    return Program(inference, ClosedJaxpr(used, traced.consts), images)


def to_jax_export(program: Program) -> bytes:
    """A serialised `jax.export.Exported` for ``PLATFORMS``, of any batch.

    Raises:
      InputError: an operation calls what `jax.export` does not promise to keep.
    """

    def logits(images: Array) -> Array:
        return jaxpr_as_fun(program.closed)(images)[0]

    try:
        exported = export.export(jax.jit(logits), platforms=PLATFORMS)(program.images)
    except ValueError as error:
        raise InputError(f"cannot export: {first_line(error)}") from None
    return bytes(exported.serialize())


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def replayed(
    closed: ClosedJaxpr, forms: dict[Any, Callable[..., Any]], *arguments: Any
) -> list[Any]:
    """Runs a trace with other forms of some of its primitives.

    Args:
      forms: primitive -> function of its operands and parameters; it may be made of
        other primitives that have one.
    """
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)

    def read(variables: Any) -> list[Any]:
        return [v.val if hasattr(v, "val") else values[v] for v in variables]

    for equation in jaxpr.eqns:
        results = _results(equation, forms, read(equation.invars))
        values |= zip(equation.outvars, results, strict=True)
    return read(jaxpr.outvars)


def _results(
    equation: Any, forms: dict[Any, Callable[..., Any]], operands: list[Any]
) -> list[Any]:
    primitive, params = equation.primitive, equation.params
    if primitive in forms:
        others = {other: forms[other] for other in forms if other is not primitive}
        form = functools.partial(forms[primitive], **params)
        return replayed(jax.make_jaxpr(form)(*operands), others, *operands)
    if primitive.name == "scan":
        return _scanned(params, forms, operands)
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if isinstance(inner, ClosedJaxpr):
        return replayed(inner, forms, *operands)
    results = primitive.bind(*operands, **params)
    return list(results) if primitive.multiple_results else [results]


def _scanned(
    params: dict[str, Any], forms: dict[Any, Callable[..., Any]], operands: list[Any]
) -> list[Any]:
    consts, carried = params["num_consts"], params["num_carry"]
    fixed, first = operands[:consts], operands[consts : consts + carried]

    def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        results = replayed(params["jaxpr"], forms, *fixed, *carry, *x)
        return results[:carried], results[carried:]

    last, stacked = jax.lax.scan(
        step,
        first,
        operands[consts + carried :],
        length=params["length"],
        reverse=params["reverse"],
    )
    return [*last, *stacked]
