"""What a conditional only hands through goes around it.

The derivative of a conditional is two of them: one that remembers, and one on the way
back. Behind a checkpoint the first computes nothing. It hands its operands through, and
a loop's body waits for their copies.
"""

from jax.extend.core import Jaxpr, JaxprEqn, Var

from darts_jax.jaxprs import Atom, alive, bodies, is_conditional, unchanged

Made = dict[Atom, tuple[JaxprEqn, int]]
"""Variable -> the conditional that made it, and which of its results it is."""


def around_conditionals(jaxpr: Jaxpr) -> Jaxpr:
    """Conditionals on one index take each other's operands, where results are these."""
    made: Made = {}
    eqns = []
    for eqn in jaxpr.eqns:
        if is_conditional(eqn):
            eqn = _around(eqn, made)
            made |= {result: (eqn, i) for i, result in enumerate(eqn.outvars)}
        eqns.append(eqn)
    if unchanged(eqns, jaxpr.eqns):
        return jaxpr
    return alive(jaxpr.replace(eqns=eqns))


def _around(eqn: JaxprEqn, made: Made) -> JaxprEqn:
    index, *operands = eqn.invars
    origins = [_origin(eqn, i, operand, made) for i, operand in enumerate(operands)]
    if unchanged(origins, operands):
        return eqn
    return eqn.replace(invars=[index, *origins])


def _origin(eqn: JaxprEqn, place: int, operand: Atom, made: Made) -> Atom:
    """What the operand is in every branch that asks for it."""
    if not isinstance(operand, Var) or operand not in made:
        return operand
    before, result = made[operand]
    if before.invars[0] is not eqn.invars[0]:
        return operand
    pairs = zip(bodies(eqn), bodies(before), strict=True)
    origins = {
        _handed(before, maker, result) or operand
        for branch, maker in pairs
        if _asks(branch, branch.invars[place])
    }
    return origins.pop() if len(origins) == 1 else operand


def _handed(eqn: JaxprEqn, branch: Jaxpr, result: int) -> Atom | None:
    """The operand that a branch hands through as that result."""
    places = [i for i, v in enumerate(branch.invars) if v is branch.outvars[result]]
    return eqn.invars[1 + places[0]] if places else None


def _asks(jaxpr: Jaxpr, variable: Atom) -> bool:
    asked = (v for eqn in jaxpr.eqns for v in eqn.invars)
    return any(variable is v for v in (*asked, *jaxpr.outvars))
