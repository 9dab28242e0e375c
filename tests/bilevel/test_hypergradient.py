"""Hypergradients on problems whose answer is known, and against brute autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax.bilevel import hypergradient, optimizers
from darts_jax.bilevel.losses import cross_entropy
from darts_jax.bilevel.relaxation import relax, softmax
from darts_jax.models.functional import supernet_apply
from darts_jax.spaces import get_space
from tests.support.supernets import KEY, examples, masks, random_alpha, small

# Separable convolutions, a factorized reduction, `none`: small, and all that matters.
SPACE = get_space("s3")
RATE, MOMENTUM, DECAY = 0.07, 0.9, 0.01


@pytest.fixture
def quadratic():
    """T = w'Aw/2 + w'Ba, V = |w - c|^2/2 + |a|^2/2, with a momentum buffer m.

    w' = w - rate (mom m + Aw + Ba + decay w) gives
    dV/da = a - rate B'(w' - c) in closed form; first order is a alone.
    """
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    return {
        "A": root @ root.T + np.eye(4),
        "B": rng.normal(size=(4, 3)),
        **{name: rng.normal(size=4) for name in ("w", "c", "m")},
        "a": rng.normal(size=3),
    }


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    "rule",
    [
        hypergradient.first_order,
        hypergradient.exact,
        hypergradient.finite_difference,
        partial(hypergradient.unrolled, steps=1),
    ],
)
def test_closed_form_on_a_quadratic_problem(quadratic, rule, nesterov):
    q = quadratic
    with jax.enable_x64(True):
        A, B, c = (jnp.asarray(q[k]) for k in "ABc")

        def train_loss(w, alpha):
            return w @ A @ w / 2 + w @ (B @ alpha["a"])

        def valid_loss(w, alpha):
            return jnp.sum((w - c) ** 2) / 2 + jnp.sum(alpha["a"] ** 2) / 2

        rates = {"learning_rate": RATE, "momentum": MOMENTUM, "decay": DECAY}
        sgd = optimizers.sgd(**rates, clip=jnp.inf, nesterov=nesterov)
        w = jnp.asarray(q["w"])
        alpha = {"a": jnp.asarray(q["a"])}
        state = jax.tree.map(lambda x: jnp.asarray(q["m"]), sgd.init(w))

        def inner_step(gradient, params):
            updates, _ = sgd.update(gradient, state, params)
            return optax.apply_updates(params, updates)

        got = rule(train_loss, valid_loss, w, alpha, inner_step)["a"]

    slope = q["A"] @ q["w"] + q["B"] @ q["a"] + DECAY * q["w"]
    step, share = MOMENTUM * q["m"] + slope, 1.0
    if nesterov:
        step, share = slope + MOMENTUM * step, 1 + MOMENTUM
    unrolled = q["w"] - RATE * step
    want = q["a"] - RATE * share * q["B"].T @ (unrolled - q["c"])
    if rule is hypergradient.first_order:
        want = q["a"]
    # A difference of a linear function has no error but rounding.
    np.testing.assert_allclose(got, want, rtol=1e-9)


@pytest.fixture
def network_problem():
    with jax.enable_x64(True):
        net, params, stats = small(SPACE, cells=1)
        apply = supernet_apply(net)

        def loss_on(batch):
            def loss(params, alpha):
                mixture = relax(softmax, KEY, alpha, masks(SPACE))
                out, _ = apply(params, stats, mixture, batch.images, KEY, train=True)
                return cross_entropy(out, batch.labels)

            return loss

        sgd = optimizers.sgd(
            learning_rate=RATE, momentum=MOMENTUM, decay=DECAY, clip=0.5
        )
        rng = np.random.default_rng(5)
        state = jax.tree.map(
            lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape)), sgd.init(params)
        )

        def inner_step(gradient, params):
            updates, _ = sgd.update(gradient, state, params)
            return optax.apply_updates(params, updates)

        train = loss_on(examples(1, batch=4))
        valid = loss_on(examples(2, batch=4))
        yield train, valid, params, random_alpha(SPACE), inner_step


@pytest.mark.slow
def test_exact_equals_autodiff_through_the_whole_inner_step(network_problem):
    train, valid, params, alpha, inner_step = network_problem

    def through(alpha):
        return valid(inner_step(jax.grad(train)(params, alpha), params), alpha)

    want = jax.jit(jax.grad(through))(alpha)
    got = jax.jit(
        lambda params, alpha: hypergradient.exact(
            train, valid, params, alpha, inner_step
        )
    )(params, alpha)
    scale = float(optax.tree.norm(want))
    error = float(optax.tree.norm(optax.tree.sub(got, want)))
    assert error < 1e-8 * scale

    direct = jax.jit(
        lambda params, alpha: hypergradient.first_order(
            train, valid, params, alpha, inner_step
        )
    )(params, alpha)
    second = float(optax.tree.norm(optax.tree.sub(got, direct)))
    assert second > 1e-3 * scale, "the problem must exercise the second term"

    # Off the kinks, the paper's difference is the same derivative.
    difference = jax.jit(
        lambda params, alpha: hypergradient.finite_difference(
            train, valid, params, alpha, inner_step, radius=1e-7
        )
    )(params, alpha)
    assert float(optax.tree.norm(optax.tree.sub(difference, want))) < 1e-4 * scale

    evaluate = jax.jit(through)
    rng = np.random.default_rng(7)
    for _ in range(3):
        direction = jax.tree.map(lambda x: rng.normal(size=x.shape), alpha)
        radius = 1e-7
        ahead = evaluate(optax.tree.add_scale(alpha, radius, direction))
        behind = evaluate(optax.tree.add_scale(alpha, -radius, direction))
        slope = float(optax.tree.vdot(got, direction))
        assert float(ahead - behind) / (2 * radius) == pytest.approx(slope, rel=1e-5)
