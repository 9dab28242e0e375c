"""A program made shorter computes what it did; and what of it is made shorter."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from darts_jax import jaxprs
from darts_jax.engine.rewriting import shortened
from darts_jax.engine.rewriting.conditionals import around_conditionals
from darts_jax.engine.rewriting.walk import rewritten
from darts_jax.kernels import rectified
from darts_jax.kernels.cpu import library
from darts_jax.kernels.sums import standardize

WIDTH, KERNELS = 4, ("native", "xla")
JOINED = ("separable_both", "separable_image_back_both", "weighted_back_both")


@pytest.fixture
def problem():
    """A Hessian-vector product, and its arguments.

    Its convolutions stand in a loop, and in a conditional between two checkpoints, as
    in a supernet.
    """
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        kernels = (
            jnp.asarray(rng.normal(size=(2, 3, 3, WIDTH))),
            jnp.asarray(rng.normal(size=(2, 1, 1, WIDTH, WIDTH))),
        )
        image = jnp.asarray(rng.normal(size=(3, 6, 5, WIDTH)))
        guess = jnp.zeros((2, WIDTH))

        def loss(kernels, share):
            @jax.checkpoint
            def edge(x, of_edge):
                @jax.checkpoint
                def taken(x):
                    y, moments = rectified.relu_separable(x, *of_edge, guess)
                    return standardize(y, moments, share * jnp.arange(1.0, 1 + WIDTH))

                return x + lax.cond(jnp.sum(x) < jnp.inf, taken, jnp.zeros_like, x)

            y, _ = lax.scan(lambda x, k: (edge(x, k), None), image, kernels)
            return jnp.sum(jnp.sin(y))

        def product(kernels, share, direction):
            by_share = jax.grad(loss, argnums=1)
            return jax.jvp(lambda k: by_share(k, share), (kernels,), (direction,))

        yield product, (kernels, jnp.asarray(0.7), jax.tree.map(jnp.cos, kernels))


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_shorter_program_computes_what_the_longer_did(problem, kernels, monkeypatch):
    product, arguments = problem
    want = product(*arguments)  # one by one: no pair
    if kernels == "xla":
        monkeypatch.setattr(library, "has_kernels", lambda dtype: False)
    got = jax.jit(shortened(product))(*arguments)
    chex.assert_trees_all_close(got, want, rtol=1e-11)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf / 2]), arguments)
    of_members = jax.jit(jax.vmap(shortened(product)))(*members)
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[0], of_members), want, rtol=1e-11
    )


def test_pairs_are_found_in_loops_checkpoints_and_conditionals(problem):
    product, arguments = problem
    apart = str(jax.make_jaxpr(product)(*arguments))
    together = str(jax.make_jaxpr(shortened(product))(*arguments))
    assert all(name not in apart and name in together for name in JOINED)
    for name in ("separable_change", "separable_image_back_change"):
        assert f"{name}[" in apart
        assert f"{name}[" not in together


def test_results_that_are_asked_for_before_the_change_stay_apart():
    separable, *_ = rectified.KINDS
    window = rectified.same_window(jnp.zeros((1, 4, 4, 2)), (3, 3), (1, 1))

    def program(x, depthwise, pointwise, guess):
        kernels = depthwise, pointwise
        y, moments = separable.map_p.bind(x, *kernels, guess, window=window)
        along = (y, *kernels)  # needs the map's own result
        return separable.change_p.bind(*along, x, *kernels, window=window), moments

    shapes = (1, 4, 4, 2), (3, 3, 2), (1, 1, 2, 2), (2, 2)
    arrays = [jnp.ones(shape) for shape in shapes]
    text = str(jax.make_jaxpr(shortened(program))(*arrays))
    assert "both" not in text


def test_a_program_in_which_nothing_is_to_do_is_left_as_it_is():
    def program(x):
        return lax.fori_loop(0, 3, lambda _, x: jnp.sin(x), x)

    text = [str(jax.make_jaxpr(f)(1.0)) for f in (program, shortened(program))]
    assert text[0] == text[1]


def choose(index, branches, *operands):
    """A conditional on the very index, as differentiation makes several of."""
    closed = tuple(jax.make_jaxpr(branch)(*operands) for branch in branches)
    (result,) = lax.cond_p.bind(index, *operands, branches=closed)
    return result


def conditionals(function, *arguments):
    return str(jax.make_jaxpr(function)(*arguments)).count(" cond[")


def handed_through(jaxpr):
    """Counts the results that some branch of a conditional only hands through."""
    count = 0
    for equation in jaxpr.eqns:
        inner = jaxprs.bodies(equation)
        count += sum(map(handed_through, inner))
        if jaxprs.is_conditional(equation):
            given = [branch.invars for branch in inner]
            count += sum(
                any(variable is v for v in invars)
                for branch, invars in zip(inner, given, strict=True)
                for variable in branch.outvars
            )
    return count


def test_ways_back_of_a_conditional_take_its_operands_as_they_are(problem):
    product, arguments = problem
    before, after = (
        handed_through(jaxprs.open_program(jax.make_jaxpr(function)(*arguments)))
        for function in (product, shortened(product))
    )
    assert after == 0
    if jax.version.__version_info__ < (0, 12):  # later, jax itself leaves none
        assert before > 0


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        # What both branches hand through, or that which asks: the first is not needed.
        ((lambda a, b: a, lambda a, b: a), (jnp.sin, jnp.cos), 1),
        ((lambda a, b: b, lambda a, b: a + b), (jnp.sin, jnp.zeros_like), 1),
        # What is another operand by branch, or is computed, must be waited for.
        ((lambda a, b: a, lambda a, b: b), (jnp.sin, jnp.cos), 2),
        ((lambda a, b: a, lambda a, b: a + b), (jnp.sin, jnp.cos), 2),
        ((lambda a, b: a + b, lambda a, b: b), (jnp.sin, jnp.zeros_like), 2),
    ],
)
def test_what_a_conditional_hands_through_goes_around_it(first, second, left):
    def program(index, a, b):
        return choose(index, second, choose(index, first, a, b))

    shorter = rewritten(program, [around_conditionals])
    arrays = jnp.arange(3.0), jnp.arange(3.0) + 5
    assert conditionals(program, 0, *arrays) == 2
    assert conditionals(shorter, 0, *arrays) == left
    for index in (0, 1):
        want = second[index](first[index](*arrays))
        chex.assert_trees_all_equal(jax.jit(shorter)(index, *arrays), want)


def test_conditionals_on_other_indices_are_not_skipped():
    def program(one, other, x):
        between = choose(one, (lambda x: x, jnp.zeros_like), x)
        return choose(other, (jnp.cos, jnp.zeros_like), between)

    shorter = rewritten(program, [around_conditionals])
    assert conditionals(shorter, 0, 0, 1.0) == 2
    assert jax.jit(shorter)(1, 0, 0.5) == 1.0


def test_a_linear_solve_is_rewritten_inside():
    first, second = (lambda x: x, lambda x: x), (lambda x: x * 3, lambda x: x * 5)

    def solve(index, b):
        def matrix(x):
            return choose(index, second, choose(index, first, x))

        return jax.scipy.sparse.linalg.cg(matrix, b)[0]

    shorter = rewritten(solve, [around_conditionals])
    b = jnp.arange(1.0, 4.0)
    assert conditionals(shorter, 0, b) < conditionals(solve, 0, b)
    for index, factor in enumerate((3.0, 5.0)):
        chex.assert_trees_all_close(shorter(index, b), b / factor, rtol=1e-6)
