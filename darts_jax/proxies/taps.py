"""Values inside a pure function: read, or shifted, where its traced program has them.

A network tells nothing but its outputs. What stands inside, the input of each ReLU or
the output of each block, is read by running its traced program equation by equation.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn, Literal
from jaxtyping import Array, Bool

from darts_jax import jaxprs
from darts_jax.errors import InputError


class Tapped(NamedTuple):
    """Value that a tap has given at one place of a program.

    Attributes:
      value: tree of arrays. Where the place is in loops its leaves begin with an axis
        for each; it is 0 in the turns in which the place was not reached.
      ran: [turn ...], whether the place was reached: False in a branch not taken.
    """

    value: Any
    ran: Bool[Array, "*turn"]


Tap = Callable[..., tuple[Sequence[Any] | None, Any]]
"""``(equation, operands, extra) -> (results, value)``. None for results runs the
equation as it is; the value is what is read. The extra is the place's own part of what
`run_with_taps` is given; None if that is nothing."""


@dataclasses.dataclass(frozen=True)
class Taps:
    """Places in a program, and what is done there.

    Attributes:
      at: whether an equation is such a place.
      tap: what is done there.
    """

    at: Callable[[JaxprEqn], bool]
    tap: Tap


def read_values(
    function: Callable[..., Any],
    at: Callable[[JaxprEqn], bool],
    measure: Callable[..., Any],
    *arguments: Any,
) -> list[Tapped]:
    """Runs a function and returns a measure of the operands of some of its equations.

    Args:
      function: pure.
      at: whether an equation is measured.
      measure: ``(equation, *operands) -> tree of arrays``.
      arguments: of the function.

    Returns:
      One entry for each such equation, in the order of the program.
    """

    def tap(equation: JaxprEqn, operands: Sequence[Any], extra: Any) -> Any:
        del extra
        return None, measure(equation, *operands)

    _, seen = run_with_taps(function, Taps(at, tap), arguments)
    return seen


def run_with_taps(
    function: Callable[..., Any],
    taps: Taps,
    arguments: Sequence[Any],
    extras: Sequence[Any] | None = None,
) -> tuple[Any, list[Tapped]]:
    """Runs a function with taps in it.

    Args:
      function: pure.
      taps: the places and what is done there.
      arguments: of the function.
      extras: for each place, in the order of the program, what its tap is given; leaves
        begin with an axis for each loop that the place is in. None: nothing.

    Returns:
      The function's result, and an entry for each place.

    Raises:
      InputError: a place is in a loop of unknown length.
    """
    program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    places = _count(taps, program)
    given = [None] * places if extras is None else list(extras)
    results, seen = _run(taps, program, jax.tree.leaves(arguments), given)
    return jax.tree.unflatten(jax.tree.structure(shape), results), seen


def _count(taps: Taps, program: Any) -> int:
    """Returns the number of places in a program and in those that it holds."""
    return sum(
        _count_equation(taps, equation)
        for equation in jaxprs.open_program(program).eqns
    )


def _count_equation(taps: Taps, equation: JaxprEqn) -> int:
    inner = sum(_count(taps, body) for body in jaxprs.bodies(equation))
    return int(taps.at(equation)) + inner


def _run(
    taps: Taps, program: Any, operands: Sequence[Any], extras: Sequence[Any]
) -> tuple[list[Any], list[Tapped]]:
    body = jaxprs.open_program(program)
    known = dict(zip(body.constvars, getattr(program, "consts", ()), strict=True))
    known |= dict(zip(body.invars, operands, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    rest = list(extras)
    seen: list[Tapped] = []
    for equation in body.eqns:
        given = [read(atom) for atom in equation.invars]
        places = _count_equation(taps, equation)
        own, rest = rest[:places], rest[places:]
        if not places:
            results: Sequence[Any] = jaxprs.bind(equation, *given)
        elif taps.at(equation):
            changed, value = taps.tap(equation, given, own[0])
            results = jaxprs.bind(equation, *given) if changed is None else changed
            seen.append(Tapped(value, jnp.array(True)))
        else:
            results, found = _run_inner(taps, equation, given, own)
            seen += found
        known |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in body.outvars], seen


def _run_inner(
    taps: Taps, equation: JaxprEqn, operands: Sequence[Any], extras: Sequence[Any]
) -> tuple[Sequence[Any], list[Tapped]]:
    if jaxprs.is_scan(equation):
        return _run_scan(taps, equation, operands, extras)
    if jaxprs.is_conditional(equation):
        return _run_conditional(taps, equation, operands, extras)
    called = jaxprs.called_program(equation)
    if called is None:
        raise InputError(
            f"values inside {equation.primitive.name} cannot be read; want a loop of "
            "known length, such as jax.lax.scan"
        )
    return _run(taps, called, operands, extras)


def _run_scan(
    taps: Taps, equation: JaxprEqn, operands: Sequence[Any], extras: Sequence[Any]
) -> tuple[Sequence[Any], list[Tapped]]:
    scan = jaxprs.scan_parts(equation)
    first = scan.constants + scan.carry
    constants = operands[: scan.constants]

    def turn(carry: Any, slices: Any) -> Any:
        own, extra = slices
        results, seen = _run(taps, scan.body, [*constants, *carry, *own], extra)
        return results[: scan.carry], (results[scan.carry :], seen)

    carry, (results, seen) = lax.scan(
        turn,
        list(operands[scan.constants : first]),
        (list(operands[first:]), list(extras)),
        length=scan.length,
        reverse=scan.reverse,
    )
    return [*carry, *results], seen


def _run_conditional(
    taps: Taps, equation: JaxprEqn, operands: Sequence[Any], extras: Sequence[Any]
) -> tuple[Sequence[Any], list[Tapped]]:
    index, *given = operands
    programs = jaxprs.branches(equation)
    counts = [_count(taps, program) for program in programs]
    starts = [sum(counts[:i]) for i in range(len(counts))]

    def run_branch(i: int) -> Callable[..., Any]:
        own = extras[starts[i] : starts[i] + counts[i]]
        return lambda *operands: _run(taps, programs[i], operands, own)

    runs = [run_branch(i) for i in range(len(programs))]
    shapes = [jax.eval_shape(run, *given)[1] for run in runs]

    def with_others(i: int) -> Callable[..., Any]:
        def run(*operands: Any) -> Any:
            results, seen = runs[i](*operands)
            # A place that is not reached gives zeros, and False for `ran`.
            found = [
                seen if j == i else jax.tree.map(_zeros, shape)
                for j, shape in enumerate(shapes)
            ]
            return results, [one for branch in found for one in branch]

        return run

    results, seen = lax.switch(index, [*map(with_others, range(len(runs)))], *given)
    return results, seen


def _zeros(leaf: Any) -> Array:
    return jnp.zeros(leaf.shape, leaf.dtype)
