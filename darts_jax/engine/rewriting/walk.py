"""Every list of equations of a traced program, from the innermost outwards."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from darts_jax import jaxprs
from darts_jax.jaxprs import (
    bodies,
    open_program,
    unchanged,
    with_bodies,
    with_equations,
)

Rewrite = Callable[[Jaxpr], Jaxpr]
"""One list to one that computes the same, itself where there is nothing to do."""


def rewritten(
    function: Callable[..., Any], rewrites: Sequence[Rewrite]
) -> Callable[..., Any]:
    """The same function, by what the rewrites make of its program."""

    def run(*arguments: Any) -> Any:
        traced, results = jax.make_jaxpr(function, return_shape=True)(*arguments)
        better = _Walk(rewrites).closed(traced)
        flat = jaxprs.run(better, *jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(results), flat)

    return run


class _Walk:
    """One pass over a program; what it holds more than once stays one."""

    def __init__(self, rewrites: Sequence[Rewrite]):
        self._rewrites = rewrites
        self._done: dict[int, tuple[Jaxpr, Jaxpr]] = {}

    def closed(self, closed: ClosedJaxpr) -> ClosedJaxpr:
        inner = self.open(open_program(closed))
        return cast(ClosedJaxpr, with_equations(closed, inner))

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
        """Rewrites what a loop, a conditional or a call holds."""
        return with_bodies(eqn, [self.open(body) for body in bodies(eqn)])
