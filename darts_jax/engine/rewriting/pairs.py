"""Maps and their changes along tangents, each pair by one kernel.

A Hessian-vector product, forward over reverse, has beside every map of the forward pass
its change, and beside every way back the change of that. A kernel for both makes once
what they have in common. Differentiation must find the two apart, as one is known
before the backward pass and the other not: so they are joined when it is done.
"""

import dataclasses
import functools
from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn, Primitive
from jaxtyping import Array

from darts_jax.engine.rewriting.walk import Rewrite
from darts_jax.jaxprs import same_parameters
from darts_jax.kernels.derivatives import Derivatives, native_results
from darts_jax.kernels.edges import make_primitive
from darts_jax.kernels.rectified import SEPARABLE
from darts_jax.kernels.sums import WEIGHTED


@dataclasses.dataclass(frozen=True)
class Pair:
    """Primitives of one geometry.

    Attributes:
      alone: (*primals, *others) -> results.
      change: (*tangents, *primals) -> changes, as many tangents as primals.
      both: (*tangents, *primals, *others) -> (*changes, *results).
    """

    alone: Primitive
    change: Primitive
    both: Primitive

    @classmethod
    def of(
        cls,
        name: str,
        alone: Primitive,
        change: Primitive,
        primals: int,
        **constants: Any,
    ) -> "Pair":
        """Where kernels serve, the both are the kernel of that name.

        Args:
          constants: what it is told, name and number.
        """

        def plain(*arrays: Array, **parameters: Any) -> list[Array]:
            changes = change.bind(*arrays[: 2 * primals], **parameters)
            return [*changes, *alone.bind(*arrays[primals:], **parameters)]

        def shapes(*arrays: Any, **parameters: Any) -> list[tuple[int, ...]]:
            form = functools.partial(plain, **parameters)
            return [result.shape for result in jax.eval_shape(form, *arrays)]

        native = native_results(name, shapes, **constants)
        both = make_primitive(
            name, shape=shapes, xla=plain, native_cpu=native, several=True
        )
        return cls(alone, change, both)

    @classmethod
    def of_back(cls, derivatives: Derivatives, primals: int) -> "Pair":
        """A map's backward pass and the change of that."""
        back, change = derivatives.back_p, derivatives.back_change_p
        constants = dict(derivatives.constants)
        return cls.of(
            f"{derivatives.name}_back_both", back, change, primals, **constants
        )

    def of_both(self, alone: JaxprEqn, change: JaxprEqn) -> JaxprEqn | None:
        """Both as one; None if they do not belong together."""
        primals = len(change.invars) // 2
        fits = change.invars[primals:] == alone.invars[:primals]
        if not fits or not same_parameters(change, alone):
            return None
        return change.replace(
            primitive=self.both,
            invars=[*change.invars[:primals], *alone.invars],
            outvars=[*change.outvars, *alone.outvars],
        )


PAIRS = (
    Pair.of("separable_both", SEPARABLE.map_p, SEPARABLE.change_p, primals=3),
    Pair.of_back(SEPARABLE.of_image, primals=4),
    Pair.of_back(WEIGHTED, primals=4),
)


def joined(pair: Pair) -> Rewrite:
    """Puts both in the place of the change, unless the results are asked for before."""

    def rewrite(jaxpr: Jaxpr) -> Jaxpr:
        places = _joined_places(jaxpr.eqns, pair)
        if not places:
            return jaxpr
        eqns = (places.get(i, eqn) for i, eqn in enumerate(jaxpr.eqns))
        return jaxpr.replace(eqns=[eqn for eqn in eqns if eqn is not None])

    return rewrite


def _joined_places(eqns: list[JaxprEqn], pair: Pair) -> dict[int, JaxprEqn | None]:
    """By place, what comes there in the place of an equation; None: nothing."""
    places: dict[int, JaxprEqn | None] = {}
    lone: list[int] = []
    for place, eqn in enumerate(eqns):
        asked = set(map(id, eqn.invars))
        lone = [i for i in lone if not asked & set(map(id, eqns[i].outvars))]
        if eqn.primitive is pair.alone:
            lone.append(place)
        if eqn.primitive is not pair.change:
            continue
        found = ((i, pair.of_both(eqns[i], eqn)) for i in lone)
        other, both = next((each for each in found if each[1]), (None, None))
        if other is not None:
            lone.remove(other)
            places |= {other: None, place: both}
    return places
