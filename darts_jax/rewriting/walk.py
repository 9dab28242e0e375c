"""Every list of equations of a traced program, from the innermost outwards."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun

Rewrite = Callable[[Jaxpr], Jaxpr]
"""One list to one that computes the same, itself where there is nothing to do."""


def rewritten(
    function: Callable[..., Any], rewrites: Sequence[Rewrite]
) -> Callable[..., Any]:
    """The same function, by what the rewrites make of its program."""

    def run(*arguments: Any) -> Any:
        traced, results = jax.make_jaxpr(function, return_shape=True)(*arguments)
        better = _Walk(rewrites).closed(traced)
        flat = jaxpr_as_fun(better)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(results), flat)

    return run


def unchanged(ones: Iterable[Any], others: Iterable[Any]) -> bool:
    """Whether they are the very same, one by one."""
    return all(a is b for a, b in zip(ones, others, strict=True))


class _Walk:
    """One pass over a program; what it holds more than once stays one."""

    def __init__(self, rewrites: Sequence[Rewrite]):
        self._rewrites = rewrites
        self._done: dict[int, tuple[Jaxpr, Jaxpr]] = {}

    def closed(self, closed: ClosedJaxpr) -> ClosedJaxpr:
        inner = self.open(closed.jaxpr)
        return closed if inner is closed.jaxpr else closed.replace(jaxpr=inner)

    def open(self, jaxpr: Jaxpr) -> Jaxpr:
        if id(jaxpr) not in self._done:
            # With the key, so that its number is not given away.
            self._done[id(jaxpr)] = jaxpr, self._rewritten(jaxpr)
        return self._done[id(jaxpr)][1]

    def _rewritten(self, jaxpr: Jaxpr) -> Jaxpr:
        eqns = [self._inside(eqn) for eqn in jaxpr.eqns]
        if not unchanged(eqns, jaxpr.eqns):
            jaxpr = jaxpr.replace(eqns=eqns)
        return functools.reduce(lambda each, by: by(each), self._rewrites, jaxpr)

    def _inside(self, eqn: JaxprEqn) -> JaxprEqn:
        """Of a loop, a conditional or a call, what it holds."""
        params = {name: self._value(value) for name, value in eqn.params.items()}
        if unchanged(params.values(), eqn.params.values()):
            return eqn
        return eqn.replace(params=params)

    def _value(self, value: Any) -> Any:
        if isinstance(value, ClosedJaxpr):
            return self.closed(value)
        if isinstance(value, Jaxpr):
            return self.open(value)
        if isinstance(value, tuple) and any(isinstance(v, ClosedJaxpr) for v in value):
            # A named tuple, as a linear solve's, stays one.
            values = jax.tree.map(self._value, value)
            return value if unchanged(values, value) else values
        return value
