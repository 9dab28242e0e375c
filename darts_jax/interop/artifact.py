"""A trained network as one closed program, and that program as bytes."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal
from jax.typing import DTypeLike
from jaxtyping import Array

from darts_jax import jaxprs
from darts_jax.errors import InputError, first_line
from darts_jax.jaxprs import open_program

PLATFORMS = ("cpu", "cuda", "tpu")


@dataclasses.dataclass(frozen=True)
class Program:
    """A network with its parameters inside, as a function of images.

    Attributes:
      logits: the function.
      closed: its trace, without equations whose results nobody reads.
      images: as stored [batch, height, width, channel], or what else the network
        takes; the batch is a symbol.
      examples: some of them; None: any numbers do.
    """

    logits: Callable[[Array], Array]
    closed: ClosedJaxpr
    images: jax.ShapeDtypeStruct
    examples: np.ndarray | None = None


def trace_program(
    inference: Callable[[Array], Array],
    image_shape: tuple[int, ...],
    dtype: DTypeLike = jnp.uint8,
    examples: np.ndarray | None = None,
) -> Program:
    """Traces a function of stored images [batch, height, width, channel].

    Args:
      inference: images -> logits [batch, class].
      image_shape: height, width, channels, or those of what else the network takes.
      dtype: of the images.
      examples: some of them, on which a conversion is checked; None: any numbers do.
    """
    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *image_shape), dtype)
    traced = jax.make_jaxpr(inference)(images)
    # Keys of drop path that nobody draws from would be carried along, kernels and all.
    closed = jaxprs.without_dead_equations(traced)
    return Program(inference, closed, images, examples)


def to_jax_export(program: Program) -> bytes:
    """Serialises a program as a `jax.export.Exported` for ``PLATFORMS``, any batch.

    Args:
      program: see `trace_program`.

    Raises:
      InputError: an operation calls what `jax.export` does not promise to keep.
    """

    def logits(images: Array) -> Array:
        return jaxprs.run(program.closed, images)[0]

    try:
        exported = export.export(jax.jit(logits), platforms=PLATFORMS)(program.images)
    except ValueError as error:
        raise InputError(f"cannot export: {first_line(error)}") from None
    return bytes(exported.serialize())


def replay(
    closed: ClosedJaxpr,
    forms: dict[Any, Callable[..., Any]],
    arguments: Sequence[Any],
) -> list[Any]:
    """Runs a trace with other forms of some of its primitives.

    Args:
      closed: the trace.
      forms: primitive -> function of its operands and parameters; it may be made of
        other primitives that have one.
      arguments: of the trace.

    Returns:
      The results of the trace.
    """
    jaxpr = open_program(closed)
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)

    def read(variables: Any) -> list[Any]:
        return [v.val if isinstance(v, Literal) else values[v] for v in variables]

    for equation in jaxpr.eqns:
        results = _run_equation(equation, forms, read(equation.invars))
        values |= zip(equation.outvars, results, strict=True)
    return read(jaxpr.outvars)


def _run_equation(
    equation: JaxprEqn, forms: dict[Any, Callable[..., Any]], operands: list[Any]
) -> list[Any]:
    primitive = equation.primitive
    if primitive in forms:
        others = {other: forms[other] for other in forms if other is not primitive}
        traced = jaxprs.trace_in_place(equation, forms[primitive], *operands)
        return replay(traced, others, operands)
    if jaxprs.is_scan(equation):
        return _run_scan(jaxprs.scan_parts(equation), forms, operands)
    called = jaxprs.called_program(equation)
    if called is not None:
        return replay(called, forms, operands)
    return jaxprs.bind(equation, *operands)


def _run_scan(
    scan: jaxprs.Scan, forms: dict[Any, Callable[..., Any]], operands: list[Any]
) -> list[Any]:
    constants = operands[: scan.constants]
    carried = scan.constants + scan.carry

    def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        results = replay(scan.body, forms, [*constants, *carry, *x])
        return results[: scan.carry], results[scan.carry :]

    last, stacked = jax.lax.scan(
        step,
        operands[scan.constants : carried],
        operands[carried:],
        length=scan.length,
        reverse=scan.reverse,
    )
    return [*last, *stacked]
