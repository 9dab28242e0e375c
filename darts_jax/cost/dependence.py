"""Which results of a traced program depend on which of its arguments."""

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


def dependent_results(jaxpr: Program, given: Sequence[bool]) -> Depends:
    """For every result, whether some given argument enters it.

    Args:
      jaxpr: what `jax.make_jaxpr` returns.
      given: for every argument, whether it is one of those asked about.
    """
    return _followed(open_program(jaxpr), given)[1]


def without_fixed_factors(jaxpr: Program, given: Sequence[bool]) -> Jaxpr:
    """A program less its equations whose right operand no given argument enters.

    That operand is the kernel of a convolution: what is left out of these are windows
    with fixed taps, as of average pooling. What remains is to be counted, not to be
    run.
    """
    return _followed(open_program(jaxpr), given)[0]


def _followed(jaxpr: Jaxpr, given: Sequence[bool]) -> tuple[Jaxpr, Depends]:
    depends = dict(zip(jaxpr.invars, given, strict=True))

    def asked(variables: Sequence[Any]) -> Depends:
        # Literals and constants of the program depend on nothing.
        return [not isinstance(v, Literal) and depends.get(v, False) for v in variables]

    kept = []
    for equation in jaxpr.eqns:
        operands = asked(equation.invars)
        inner, results = _inside(equation, operands)
        depends |= zip(equation.outvars, results, strict=True)
        if inner:
            kept.append(with_bodies(equation, inner))
        elif all(operands[1:]):
            kept.append(equation)
    return jaxpr.replace(eqns=kept), asked(jaxpr.outvars)


def _inside(equation: JaxprEqn, operands: Depends) -> tuple[list[Jaxpr], Depends]:
    """Follows an equation's programs; returns them and its dependent results."""
    followed = [
        _followed(body, _given(equation, body, operands)) for body in bodies(equation)
    ]
    results = [any(operands)] * len(equation.outvars)
    told = [found for _, found in followed if len(found) == len(results)]
    if told and not _is_while(equation):
        results = [any(each) for each in zip(*told, strict=True)]
    return [body for body, _ in followed], results


def _given(equation: JaxprEqn, body: Jaxpr, operands: Depends) -> Depends:
    """Returns which arguments of a body depend, as the equation's operands do."""
    if is_scan(equation):
        parts = scan_parts(equation)
        return _carried(body, operands, parts.constants, parts.carry)
    if is_conditional(equation):
        return operands[1:]
    if len(body.invars) == len(operands) and not _is_while(equation):
        return operands
    # Of what is not known, too much is said to depend and never too little.
    return [any(operands)] * len(body.invars)


def _is_while(equation: JaxprEqn) -> bool:
    return bool(equation.primitive.name == "while")


def _carried(body: Jaxpr, operands: Depends, consts: int, carry: int) -> Depends:
    """A scan's, with what an earlier turn brings into its carry."""
    given = list(operands)
    for _ in range(carry + 1):
        found = _followed(body, given)[1][:carry]
        before = given[consts : consts + carry]
        now = [old or new for old, new in zip(before, found, strict=True)]
        if now == before:
            break
        given[consts : consts + carry] = now
    return given
