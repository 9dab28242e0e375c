"""The parts of a traced program's equations, the same for every version of jax.

Versions name an equation's parameters differently: until jax 0.10 a scan says how many
constants and carried values it has by two numbers and a closed program is a type of its
own, since 0.11 a scan says so by trees and all programs are one type. This module alone
names a parameter of an equation; all others ask it.
"""

import dataclasses
import fractions
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax
from jax.extend.core import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    jaxpr_as_fun,
    primitives,
)
from jax.interpreters import partial_eval

Program = ClosedJaxpr | Jaxpr
"""A traced program; since jax 0.11 the two are one type."""


def open_program(program: Program) -> Jaxpr:
    """Returns the equations of a program without the values of its constants.

    Args:
      program: a traced program.
    """
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def are_identical(ones: Iterable[Any], others: Iterable[Any]) -> bool:
    """Returns whether two sequences hold the very same objects, one by one.

    Args:
      ones: the first sequence.
      others: the second, of the same length.
    """
    return all(a is b for a, b in zip(ones, others, strict=True))


def bodies(equation: JaxprEqn) -> list[Jaxpr]:
    """Returns the programs that an equation holds, in the order of its parameters.

    They are the branches of a conditional, the body of a loop or a call.

    Args:
      equation: of a program.
    """
    found: list[Jaxpr] = []

    def collect(program: Program) -> Program:
        found.append(open_program(program))
        return program

    for value in equation.params.values():
        _map_programs(collect, value)
    return found


def with_bodies(equation: JaxprEqn, new: Sequence[Jaxpr]) -> JaxprEqn:
    """Returns an equation with other programs, in the order of `bodies`.

    Programs must have the arguments and results of those that they replace. The
    equation itself is returned where all are the very same.

    Args:
      equation: of a program.
      new: as many programs as `bodies` returns.
    """
    if are_identical(new, bodies(equation)):
        return equation
    rest = iter(new)

    def put(program: Program) -> Program:
        return with_equations(program, next(rest))

    params = {
        name: _map_programs(put, value) for name, value in equation.params.items()
    }
    return equation.replace(params=params)


def with_equations(program: Program, body: Jaxpr) -> Program:
    """Returns a program with other equations and the same constants.

    Args:
      program: a traced program.
      body: the equations, with the program's arguments and results.
    """
    if open_program(program) is body:
        return program
    is_pair = isinstance(program, ClosedJaxpr) and ClosedJaxpr is not Jaxpr
    return program.replace(jaxpr=body) if is_pair else body


def _map_programs(change: Callable[[Program], Program], value: Any) -> Any:
    """Returns a parameter with every program in it changed."""
    if isinstance(value, ClosedJaxpr | Jaxpr):
        return change(value)
    if isinstance(value, tuple | list) and any(
        isinstance(item, ClosedJaxpr | Jaxpr) for item in value
    ):
        # A named tuple, as a linear solve's, stays one.
        return jax.tree.map(lambda item: _map_programs(change, item), value)
    return value


@dataclasses.dataclass(frozen=True)
class Scan:
    """The parts of a scan's equation.

    Attributes:
      body: program of (*constants, *carry, *slices) -> (*carry, *slices of results).
      constants: number of operands that every turn gets as they are.
      carry: number of operands that a turn hands to the next.
      length: number of turns.
      reverse: whether the last slice is the first to be read.
    """

    body: ClosedJaxpr
    constants: int
    carry: int
    length: int
    reverse: bool


def is_scan(equation: JaxprEqn) -> bool:
    """Returns whether an equation is a loop of known length.

    Args:
      equation: of a program.
    """
    return bool(equation.primitive is primitives.scan_p)


def scan_parts(equation: JaxprEqn) -> Scan:
    """Returns the parts of a scan's equation.

    Args:
      equation: for which `is_scan` is True.
    """
    params = equation.params
    if "num_carry" in params:  # until jax 0.10
        constants = params["num_consts"]
        carry = params["num_carry"]
    else:
        constants, carry, _ = (len(part) for part in params["ft_in"].unpack())
    return Scan(
        body=params["jaxpr"],
        constants=constants,
        carry=carry,
        length=params["length"],
        reverse=params["reverse"],
    )


def turns(equation: JaxprEqn) -> int:
    """Returns how often an equation runs the programs that it holds.

    Args:
      equation: of a program.
    """
    return scan_parts(equation).length if is_scan(equation) else 1


def is_conditional(equation: JaxprEqn) -> bool:
    """Returns whether an equation chooses one of several programs by its operand 0.

    Args:
      equation: of a program.
    """
    return bool(equation.primitive is primitives.cond_p)


def branches(equation: JaxprEqn) -> tuple[ClosedJaxpr, ...]:
    """Returns the programs of a conditional, of which operand 0 is the number.

    Args:
      equation: for which `is_conditional` is True.
    """
    return tuple(equation.params["branches"])


def called_program(equation: JaxprEqn) -> ClosedJaxpr | None:
    """Returns the one program that an equation calls with its own operands.

    It is that of a `jit`, a checkpoint or a function with rules of its own; None for
    every other equation.

    Args:
      equation: of a program.
    """
    params = equation.params
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if is_scan(equation) or not isinstance(inner, ClosedJaxpr):
        return None
    return inner


def shapes(equation: Any) -> list[tuple[int, ...]]:
    """Returns the shapes of an equation's operands, then those of its results.

    Args:
      equation: of a program.
    """
    return [v.aval.shape for v in (*equation.invars, *equation.outvars)]


def dtype_of(operand: Any) -> Any:
    """Returns the dtype of an operand of an equation.

    Args:
      operand: an entry of the equation's ``invars``.
    """
    return operand.aval.dtype


def contracted_axes(equation: JaxprEqn) -> tuple[int, ...]:
    """Returns the axes of a matrix product's left operand that are summed over.

    Args:
      equation: of a matrix product.
    """
    (left, _), _ = equation.params["dimension_numbers"]
    return tuple(left)


def output_features_axis(equation: JaxprEqn) -> int:
    """Returns the axis of a convolution's kernel that counts its output features.

    Args:
      equation: of a convolution.
    """
    return int(equation.params["dimension_numbers"].rhs_spec[0])


def has_window(equation: JaxprEqn) -> bool:
    """Returns whether an equation is one of this project's windowed primitives.

    Args:
      equation: of a program.
    """
    return "window" in equation.params


def window_of(equation: JaxprEqn) -> Any:
    """Returns the window of one of this project's windowed primitives.

    Args:
      equation: for which `has_window` is True.
    """
    return equation.params["window"]


def likeness(equation: JaxprEqn) -> Hashable:
    """Returns what equations have in common that differ in their operands alone.

    Args:
      equation: of a program.

    Returns:
      None where that is not known, as for an equation that holds programs.
    """
    key = equation.primitive, tuple(sorted(equation.params.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return None if bodies(equation) else key


def mean_taps(equation: JaxprEqn) -> fractions.Fraction:
    """Returns the taps of a windowed primitive's kernel, as the mean over its edges.

    Args:
      equation: for which `has_window` is True.
    """
    window = equation.params["window"]
    parts = getattr(window, "parts", (window,))
    taps = sum(math.prod(part.kernel) for part in parts)
    return fractions.Fraction(taps, len(parts))


def bind(equation: JaxprEqn, *operands: Any) -> list[Any]:
    """Runs an equation's own primitive on other operands.

    Args:
      equation: of a program.
      operands: in the place of its own.
    """
    # A primitive with a rule of derivatives takes it apart from its other parameters.
    parameters = equation.primitive.get_bind_params(equation.params)
    results = equation.primitive.bind(*operands, **parameters)
    return list(results) if equation.primitive.multiple_results else [results]


def trace_in_place(
    equation: JaxprEqn, function: Callable[..., Any], *operands: Any
) -> ClosedJaxpr:
    """Traces a function in the place of an equation's primitive.

    Args:
      equation: of a program.
      function: takes the operands, and the equation's parameters by keyword.
      operands: its arguments.
    """
    return jax.make_jaxpr(lambda *given: function(*given, **equation.params))(*operands)


def name_of(equation: JaxprEqn) -> str:
    """Returns the name that `checkpoint_name` has given a value; empty: it gave none.

    Args:
      equation: of a program.
    """
    return str(equation.params["name"]) if equation.primitive.name == "name" else ""


def without_dead_equations(program: ClosedJaxpr) -> ClosedJaxpr:
    """Returns a program less the equations that no result depends on.

    Args:
      program: the traced program.
    """
    every = [True] * len(program.jaxpr.outvars)
    living, *_ = partial_eval.dce_jaxpr(program.jaxpr, every, instantiate=True)
    return ClosedJaxpr(living, program.consts)


def run(program: ClosedJaxpr, *operands: Any) -> list[Any]:
    """Runs a program on its flat operands.

    Args:
      program: a traced program.
      operands: its arguments, flat.
    """
    return jaxpr_as_fun(program)(*operands)
