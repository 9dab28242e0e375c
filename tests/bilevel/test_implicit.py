"""Many inner steps and implicit gradients: closed forms, limits, brute autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS, exact, unrolled
from darts_jax.bilevel.implicit import conjugate_gradient, neumann

RATE = 0.07
WEIGHTS, CHOICES = 5, 3


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    """T = w'Aw/2 + w'Ba + w'Da^2, V = |w - c|^2/2 + |a|^2/2; w a pair of arrays.

    H = A; d2T/dadw = (B + 2D diag(a))'; dV/dw = w - c; dV/da = a.
    """
    rng = np.random.default_rng(0)
    root = rng.normal(size=(WEIGHTS, WEIGHTS))
    q = {"A": root @ root.T + np.eye(WEIGHTS), "a": rng.normal(size=CHOICES)}
    q |= {name: rng.normal(size=(WEIGHTS, CHOICES)) for name in "BD"}
    q |= {name: rng.normal(size=WEIGHTS) for name in "wc"}
    return q


def losses(q):
    A, B, D, c = (jnp.asarray(q[name]) for name in "ABDc")

    def joined(w):
        return jnp.concatenate([w["one"], w["two"]])

    def train_loss(w, alpha):
        v, a = joined(w), alpha["a"][0]
        return v @ A @ v / 2 + v @ (B @ a) + v @ (D @ a**2)

    def valid_loss(w, alpha):
        return jnp.sum((joined(w) - c) ** 2) / 2 + jnp.sum(alpha["a"] ** 2) / 2

    return train_loss, valid_loss


def point(q):
    w = {"one": jnp.asarray(q["w"][:2]), "two": jnp.asarray(q["w"][2:])}
    return w, {"a": jnp.asarray(q["a"])[None]}


def unused(gradient, params):
    raise AssertionError("implicit gradients take the weights as they are")


def of(rule, q, inner_step=unused):
    return np.asarray(rule(*losses(q), *point(q), inner_step)["a"][0])


def implicit(q, inverse):
    """The closed form with ``inverse`` for H^-1."""
    mixed = (q["B"] + 2 * q["D"] * q["a"]).T
    return q["a"] - mixed @ inverse @ (q["w"] - q["c"])


@pytest.mark.parametrize("terms", [0, 1, 2, 7])
def test_neumann_is_its_series(problem, terms):
    rate = 0.05
    contraction = np.eye(WEIGHTS) - rate * problem["A"]
    powers = [np.linalg.matrix_power(contraction, k) for k in range(terms + 1)]
    want = implicit(problem, rate * sum(powers))
    got = of(partial(neumann, terms=terms, rate=rate), problem)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_neumann_and_conjugate_gradients_reach_the_inverse(problem):
    want = implicit(problem, np.linalg.inv(problem["A"]))
    rate = 1 / np.linalg.eigvalsh(problem["A"])[-1]
    series = partial(neumann, terms=2000, rate=rate)
    np.testing.assert_allclose(of(series, problem), want, rtol=1e-10)

    solved = partial(conjugate_gradient, iterations=WEIGHTS, damping=0.0)
    np.testing.assert_allclose(of(solved, problem), want, rtol=1e-10)
    # Beyond convergence the residual is rounding; dividing by it must do no harm.
    beyond = partial(conjugate_gradient, iterations=50, damping=0.0)
    np.testing.assert_allclose(of(beyond, problem), want, rtol=1e-10)
    early = partial(conjugate_gradient, iterations=2, damping=0.0)
    assert np.abs(of(early, problem) - want).max() > 1e-3


def test_the_inverse_is_the_slope_of_the_solved_problem(problem):
    """The implicit gradient at w*(a) is that of V(w*(a), a) itself."""
    q, A = problem, problem["A"]

    def solved(a):
        return -np.linalg.solve(A, q["B"] @ a + q["D"] @ a**2)

    def outer(a):
        return ((solved(a) - q["c"]) ** 2).sum() / 2 + (a**2).sum() / 2

    at = {**q, "w": solved(q["a"])}
    got = of(partial(conjugate_gradient, iterations=WEIGHTS, damping=0.0), at)
    for i, unit in enumerate(1e-6 * np.eye(CHOICES)):
        slope = (outer(q["a"] + unit) - outer(q["a"] - unit)) / 2e-6
        assert got[i] == pytest.approx(slope, rel=1e-7)

    # So is the gradient through enough inner steps, from anywhere.
    descend = partial(unrolled, steps=2000)
    far = of(descend, q, sgd_step(1 / np.linalg.eigvalsh(A)[-1]))
    np.testing.assert_allclose(far, got, rtol=1e-9)


def test_damping_is_added_to_the_hessian(problem):
    damping = 0.7
    want = implicit(problem, np.linalg.inv(problem["A"] + damping * np.eye(WEIGHTS)))
    rule = partial(conjugate_gradient, iterations=WEIGHTS, damping=damping)
    np.testing.assert_allclose(of(rule, problem), want, rtol=1e-10)


def test_no_further_terms_are_one_step_of_sgd(problem):
    """The second terms agree where dV/dw is the same before and after the step."""
    flat = {**problem, "c": np.zeros(WEIGHTS)}
    train, _ = losses(flat)
    slope = jnp.asarray(problem["c"])

    def valid(w, alpha):
        return jnp.concatenate([w["one"], w["two"]]) @ slope + jnp.sum(alpha["a"] ** 2)

    one = exact(train, valid, *point(flat), sgd_step(RATE))
    series = neumann(train, valid, *point(flat), unused, terms=0, rate=RATE)
    np.testing.assert_allclose(series["a"], one["a"], rtol=1e-12)


def sgd_step(rate):
    return lambda gradient, w: optax.tree.add_scale(w, -rate, gradient)


@pytest.fixture
def mlp():
    """Twelve weights, two mixtures; the inner step clips, decays and has momentum."""
    rng = np.random.default_rng(3)
    images = jnp.asarray(rng.normal(size=(2, 6, 3)))
    targets = jnp.asarray(rng.normal(size=(2, 6)))
    params = {
        "in": jnp.asarray(rng.normal(size=(3, 3))),
        "out": jnp.asarray(rng.normal(size=3)),
    }

    def loss_on(half):
        def loss(w, alpha):
            p = jax.nn.softmax(alpha["a"])
            hidden = images[half] @ w["in"]
            mixed = p[0, 0] * jnp.tanh(hidden) + p[0, 1] * jnp.sin(hidden)
            return jnp.mean((mixed @ w["out"] - targets[half]) ** 2)

        return loss

    sgd = optimizers.sgd(learning_rate=0.1, momentum=0.9, decay=0.01, clip=0.5)
    buffer = jax.tree.map(
        lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape)), sgd.init(params)
    )

    def inner_step(gradient, w):
        updates, _ = sgd.update(gradient, buffer, w)
        return optax.apply_updates(w, updates)

    alpha = {"a": jnp.asarray(rng.normal(size=(1, 2)))}
    return loss_on(0), loss_on(1), params, alpha, inner_step


@pytest.mark.parametrize("steps", [1, 4])
def test_unrolled_is_autodiff_of_the_whole_trajectory(mlp, steps):
    train, valid, params, alpha, inner_step = mlp

    def outer(alpha):
        w = params
        for _ in range(steps):
            w = inner_step(jax.grad(train)(w, alpha), w)
        return valid(w, alpha)

    want = jax.grad(outer)(alpha)["a"]
    got = unrolled(*mlp, steps=steps)["a"]
    np.testing.assert_allclose(got, want, rtol=1e-10)
    one = exact(*mlp)["a"]
    if steps == 1:
        np.testing.assert_allclose(got, one, rtol=1e-10)
    else:
        assert np.abs(got - one).max() > 0.01 * np.abs(one).max()


def test_unrolled_keeps_the_weights_of_its_steps_and_no_activations():
    """Residuals of the scan: [steps, weights], nothing [steps, batch, ...]."""
    images, steps = jnp.ones((101, 3)), 7

    def loss(w, alpha):
        return jnp.mean(jnp.tanh(images @ w) ** 2) * jnp.sum(alpha["a"] ** 2)

    program = jax.make_jaxpr(
        lambda w, alpha: unrolled(loss, loss, w, alpha, sgd_step(0.1), steps=steps)
    )(jnp.ones(3), {"a": jnp.ones((1, 2))})
    kept = [
        v.aval.shape
        for equation in program.eqns
        if equation.primitive.name == "scan"
        for v in equation.outvars
    ]
    assert (steps, 3) in kept
    assert not [shape for shape in kept if shape[:1] == (steps,) and 101 in shape]


@pytest.mark.parametrize("name", sorted(HYPERGRADIENTS))
def test_compiled_and_over_a_population(mlp, name):
    train, valid, params, alpha, inner_step = mlp

    # Far enough from an indefinite matrix, where rounding decides.
    settings = {"conjugate_gradient": {"damping": 20.0}}.get(name, {})

    def rule(w, alpha):
        found = HYPERGRADIENTS[name](train, valid, w, alpha, inner_step, **settings)
        return found["a"]

    many = {"a": alpha["a"] * jnp.asarray([1.0, -0.5, 2.0])[:, None, None]}
    got = jax.jit(jax.vmap(rule, in_axes=(None, 0)))(params, many)
    for i in range(3):
        # Before it is compiled; a loop of products sums in its own order.
        want = rule(params, {"a": many["a"][i]})
        np.testing.assert_allclose(got[i], want, rtol=1e-8)


def test_terms_and_scalars_may_be_arrays(mlp):
    @jax.jit
    def rules(terms, rate, damping):
        return (
            neumann(*mlp, terms=terms, rate=rate)["a"],
            conjugate_gradient(*mlp, iterations=terms, damping=damping)["a"],
        )

    series, solved = rules(jnp.asarray(3), jnp.asarray(0.1), jnp.asarray(2.0))
    np.testing.assert_allclose(
        series, neumann(*mlp, terms=3, rate=0.1)["a"], rtol=1e-10
    )
    np.testing.assert_allclose(
        solved,
        conjugate_gradient(*mlp, iterations=3, damping=2.0)["a"],
        rtol=1e-10,
    )
