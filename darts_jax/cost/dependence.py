"""Dependence of a traced program's results on its arguments."""

from collections.abc import Sequence
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Literal

from darts_jax.jaxprs import (
    Program,
    bodies,
    is_conditional,
    is_scan,
    open_program,
    scan_parts,
    with_bodies,
)

Depends = list[bool]
"""For every value, whether it depends on a given argument."""


def find_dependent_results(jaxpr: Program, given: Sequence[bool]) -> Depends:
    """Returns for every result whether it depends on a given argument.

    Args:
      jaxpr: what `jax.make_jaxpr` returns.
      given: for every argument, whether it is one of those in question.
    """
    _, results = _follow(open_program(jaxpr), given)
    return results


def remove_fixed_products(jaxpr: Program, given: Sequence[bool]) -> Jaxpr:
    """Removes the equations whose right operand depends on no given argument.

    The right operand of a convolution is its kernel, so this removes windows with
    fixed taps, as of average pooling. What remains is to be counted, not to be run.

    Args:
      jaxpr: what `jax.make_jaxpr` returns.
      given: for every argument, whether it is one of those in question.
    """
    kept, _ = _follow(open_program(jaxpr), given)
    return kept


def _follow(jaxpr: Jaxpr, given: Sequence[bool]) -> tuple[Jaxpr, Depends]:
    """Returns the program without fixed products, and its dependent results."""
    depends = dict(zip(jaxpr.invars, given, strict=True))

    def look_up(variables: Sequence[Any]) -> Depends:
        # Literals and constants of the program depend on nothing.
        return [not isinstance(v, Literal) and depends.get(v, False) for v in variables]

    kept = []
    for equation in jaxpr.eqns:
        operands = look_up(equation.invars)
        inner, results = _follow_bodies(equation, operands)
        depends |= zip(equation.outvars, results, strict=True)
        if inner:
            kept.append(with_bodies(equation, inner))
        elif all(operands[1:]):
            kept.append(equation)
    return jaxpr.replace(eqns=kept), look_up(jaxpr.outvars)


def _follow_bodies(
    equation: JaxprEqn, operands: Depends
) -> tuple[list[Jaxpr], Depends]:
    """Follows an equation's programs; returns them and its dependent results."""
    followed = [
        _follow(body, _body_arguments(equation, body, operands))
        for body in bodies(equation)
    ]
    results = [any(operands)] * len(equation.outvars)
    known = [found for _, found in followed if len(found) == len(results)]
    if known and not _is_while(equation):
        results = [any(each) for each in zip(*known, strict=True)]
    return [body for body, _ in followed], results


def _body_arguments(equation: JaxprEqn, body: Jaxpr, operands: Depends) -> Depends:
    """Returns which arguments of a body depend, as the equation's operands do."""
    if is_scan(equation):
        parts = scan_parts(equation)
        return _scan_arguments(body, operands, parts.constants, parts.carry)
    if is_conditional(equation):
        return operands[1:]
    if len(body.invars) == len(operands) and not _is_while(equation):
        return operands
    # Where it is not known, too many depend rather than too few.
    return [any(operands)] * len(body.invars)


def _is_while(equation: JaxprEqn) -> bool:
    return bool(equation.primitive.name == "while")


def _scan_arguments(
    body: Jaxpr, operands: Depends, constants: int, carry: int
) -> Depends:
    """Returns which arguments of a scan's body depend, after all its turns."""
    given = list(operands)
    for _ in range(carry + 1):
        found = _follow(body, given)[1][:carry]
        before = given[constants : constants + carry]
        after = [old or new for old, new in zip(before, found, strict=True)]
        if after == before:
            break
        given[constants : constants + carry] = after
    return given
