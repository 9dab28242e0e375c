"""Which results of a traced program depend on which of its arguments."""

from collections.abc import Iterator, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

Depends = list[bool]


def dependent_results(jaxpr: ClosedJaxpr | Jaxpr, given: Sequence[bool]) -> Depends:
    """For every result, whether some given argument enters it.

    Args:
      jaxpr: what `jax.make_jaxpr` returns.
      given: for every argument, whether it is one of those asked about.
    """
    return _followed(_open(jaxpr), given)[1]


def without_fixed_factors(jaxpr: ClosedJaxpr | Jaxpr, given: Sequence[bool]) -> Jaxpr:
    """A program less its equations whose right operand no given argument enters.

    That operand is the kernel of a convolution: what is left out of these are windows
    with fixed taps, as of average pooling. What remains is to be counted, not to be
    run.
    """
    return _followed(_open(jaxpr), given)[0]


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
            kept.append(equation.replace(params={**equation.params, **inner}))
        elif all(operands[1:]):
            kept.append(equation)
    return jaxpr.replace(eqns=kept), asked(jaxpr.outvars)


def _inside(equation: Any, operands: Depends) -> tuple[dict[str, Any], Depends]:
    """The programs in an equation's parameters, followed, and its dependent results."""
    name, params = equation.primitive.name, equation.params
    results = [any(operands)] * len(equation.outvars)
    inner: dict[str, Any] = {}
    for key, jaxprs in _programs(params):
        given = [_given(name, params, body, operands) for body in jaxprs]
        followed = [_followed(*pair) for pair in zip(jaxprs, given, strict=True)]
        bodies = tuple(body for body, _ in followed)
        inner[key] = bodies if isinstance(params[key], tuple | list) else bodies[0]
        told = [found for _, found in followed if len(found) == len(results)]
        if told and name != "while":
            results = [any(each) for each in zip(*told, strict=True)]
    return inner, results


def _programs(params: dict[str, Any]) -> Iterator[tuple[str, list[Jaxpr]]]:
    for key, value in params.items():
        items = value if isinstance(value, tuple | list) else (value,)
        if items and all(isinstance(item, ClosedJaxpr | Jaxpr) for item in items):
            yield key, [_open(item) for item in items]


def _given(
    name: str, params: dict[str, Any], body: Jaxpr, operands: Depends
) -> Depends:
    """Which arguments of a body depend, as the equation's operands do."""
    if name == "scan":
        return _carried(body, operands, params["num_consts"], params["num_carry"])
    if name == "cond":
        return operands[1:]
    if len(body.invars) == len(operands) and name != "while":
        return operands
    # Of what is not known, too much is said to depend and never too little.
    return [any(operands)] * len(body.invars)


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


def _open(jaxpr: ClosedJaxpr | Jaxpr) -> Jaxpr:
    return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
