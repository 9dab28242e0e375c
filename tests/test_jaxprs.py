"""The parts of equations, asked of programs whose parts are known."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from darts_jax import jaxprs


def equations(function, *arguments):
    return jaxprs.open_program(jax.make_jaxpr(function)(*arguments)).eqns


def scanned(x, y):
    def step(carry, slice_):
        a, b = carry
        return (a + slice_ * y["c"], b * y["d"]), a

    return lax.scan(step, (x, x), jnp.arange(5.0), reverse=True)


def test_a_scan_says_what_it_carries_and_how_often_it_turns():
    y = {"c": jnp.ones(()), "d": jnp.ones(())}
    (scan,) = filter(jaxprs.is_scan, equations(scanned, 1.0, y))
    parts = jaxprs.scan_parts(scan)
    assert (parts.constants, parts.carry) == (2, 2)
    assert (parts.length, parts.reverse, jaxprs.turns(scan)) == (5, True, 5)
    assert len(jaxprs.open_program(parts.body).invars) == 2 + 2 + 1
    # The gradient's scans have trees of other forms.
    gradient = jax.grad(lambda x: jnp.sum(scanned(x, y)[1]))
    for scan in filter(jaxprs.is_scan, equations(gradient, 1.0)):
        parts = jaxprs.scan_parts(scan)
        assert parts.constants + parts.carry <= len(scan.invars)
        assert parts.carry <= len(scan.outvars)


@pytest.mark.parametrize(
    ("function", "programs"),
    [
        (lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x), 2),
        (lambda x: lax.while_loop(lambda c: c < 3, lambda c: c * 2, x), 2),
        (lambda x: jax.jit(jnp.sin)(x), 1),
        (lambda x: jax.checkpoint(jnp.sin)(x), 1),
        (lambda x: lax.custom_linear_solve(lambda v: 3 * v, x, lambda m, b: b / 3), 2),
        (jnp.sin, 0),
    ],
)
def test_bodies_are_replaced_where_they_stand(function, programs):
    traced = jax.make_jaxpr(function)(1.0)
    equation = jaxprs.open_program(traced).eqns[-1]
    inner = jaxprs.bodies(equation)
    assert len(inner) >= programs
    assert bool(inner) == bool(programs)
    assert jaxprs.with_bodies(equation, inner) is equation
    copies = [body.replace(eqns=list(body.eqns)) for body in inner]
    copied = jaxprs.with_bodies(equation, copies)
    assert (copied is equation) == (not inner)
    assert jaxprs.are_identical(jaxprs.bodies(copied), copies)
    jaxpr = jaxprs.open_program(traced)
    again = jaxprs.with_equations(
        traced, jaxpr.replace(eqns=[*jaxpr.eqns[:-1], copied])
    )
    assert jaxprs.run(again, 2.0) == jaxprs.run(traced, 2.0)


def test_a_call_is_told_from_a_loop_and_a_branch():
    (call,) = equations(jax.jit(lambda x: jnp.sin(x) + 1), 1.0)
    assert jaxprs.run(jaxprs.called_program(call), 0.0)[0] == 1
    branched = equations(lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x), 1.0)[-1]
    assert jaxprs.is_conditional(branched)
    assert jaxprs.called_program(branched) is None


def test_equations_that_no_result_hangs_on_are_left_out():
    table = jnp.arange(3.0)

    def function(x):
        jnp.cos(x)
        return table * jnp.sin(x)

    program = jax.make_jaxpr(function)(0.5)
    short = jaxprs.without_dead_equations(program)
    names = [e.primitive.name for e in jaxprs.open_program(short).eqns]
    assert "cos" not in names
    assert (jaxprs.run(short, 0.5)[0] == function(0.5)).all()
