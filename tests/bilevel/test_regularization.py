"""Every term of the architecture's loss against its formula, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from darts_jax.bilevel.regularization import TERMS, penalty
from darts_jax.types import Mixture

# Two kinds of unequal width; where no operation is stands what would show.
MASKS = {
    "normal": np.array([[1, 1, 1], [1, 1, 0]], bool),
    "reduce": np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1]], bool),
}
RNG = np.random.default_rng(0)
ALPHA = {k: np.where(m, RNG.normal(size=m.shape), 5.0) for k, m in MASKS.items()}
COSTS = {k: RNG.uniform(1, 3, m.shape) for k, m in MASKS.items()}


def mixed(alpha):
    return {
        kind: np.where(MASKS[kind], special.expit(a), 0) for kind, a in alpha.items()
    }


def edges(alpha):
    """(logits, weights, costs) of every edge, absent operations left out."""
    p = mixed(alpha)
    for kind, mask in MASKS.items():
        for e, row in enumerate(mask):
            yield alpha[kind][e][row], p[kind][e][row], COSTS[kind][e][row]


def kl_to_uniform(logits):
    c = np.where(logits > 0, logits + 1, np.exp(logits))
    log_beta = special.gammaln(c).sum() - special.gammaln(c.sum())
    expected = (c - 1) @ (special.digamma(c) - special.digamma(c.sum()))
    return expected - log_beta - special.gammaln(len(c))


REFERENCES = {
    "logsumexp": lambda rows: np.mean([special.logsumexp(a) for a, _, _ in rows]),
    "zero_one": lambda rows: (
        -np.mean(np.concatenate([(special.expit(a) - 0.5) ** 2 for a, _, _ in rows]))
    ),
    "zero_one_absolute": lambda rows: (
        -np.mean(np.concatenate([abs(special.expit(a) - 0.5) for a, _, _ in rows]))
    ),
    "anchor_kl": lambda rows: sum(kl_to_uniform(a) for a, _, _ in rows),
    "anchor_l2": lambda rows: sum((a**2).sum() / 2 for a, _, _ in rows),
    "entropy": lambda rows: np.mean([-(p * np.log(p)).sum() for _, p, _ in rows]),
    "expected_cost": lambda rows: sum(p @ cost for _, p, cost in rows),
}


def value(name, alpha):
    """Returns a term's value by logits alone; the weights are their sigmoid."""
    weights = {
        kind: jnp.where(jnp.asarray(MASKS[kind]), jax.nn.sigmoid(a), 0)
        for kind, a in alpha.items()
    }
    return penalty(TERMS[name], alpha, MASKS, Mixture(weights), COSTS)


@pytest.mark.parametrize("name", TERMS)
def test_terms_and_their_gradients_are_the_formulas(name):
    reference, h = REFERENCES[name], 1e-6
    with jax.enable_x64(True):
        alpha = {kind: jnp.asarray(a) for kind, a in ALPHA.items()}
        got, slope = jax.value_and_grad(value, 1)(name, alpha)
        assert float(got) == pytest.approx(reference(list(edges(ALPHA))), rel=1e-10)
        for kind, index in [
            (k, i) for k, m in MASKS.items() for i in np.ndindex(m.shape)
        ]:
            sides = []
            for sign in (1, -1):
                moved = {k: a.copy() for k, a in ALPHA.items()}
                moved[kind][index] += sign * h
                sides.append(reference(list(edges(moved))))
            want = (sides[0] - sides[1]) / (2 * h)
            assert float(slope[kind][index]) == pytest.approx(want, rel=1e-4, abs=1e-7)
            assert MASKS[kind][index] or slope[kind][index] == 0


def test_the_divergence_is_that_of_draws():
    """Monte Carlo: the mean of log Dir(c)(p) - log Dir(1)(p) over p ~ Dir(c)."""
    logits = np.array([[-0.7, 0.4, 1.1]])
    c = np.where(logits > 0, logits + 1, np.exp(logits))[0]
    p = stats.dirichlet(c).rvs(40_000, random_state=0).T
    log_ratio = stats.dirichlet(c).logpdf(p) - stats.dirichlet(np.ones(3)).logpdf(p)
    mask, none = jnp.ones((1, 3), bool), jnp.zeros((1, 3))
    got = TERMS["anchor_kl"](jnp.asarray(logits, jnp.float32), mask, none, none)
    assert float(got) == pytest.approx(log_ratio.mean(), abs=0.02)


def test_limits():
    zeros, mask = jnp.zeros((2, 4)), jnp.ones((2, 4), bool)
    uniform, one_hot = zeros + 0.25, jnp.eye(2, 4)
    large = zeros + 40

    def term(name, logits=zeros, weights=uniform, costs=zeros + 2):
        return float(TERMS[name](logits, mask, weights, costs))

    assert term("entropy") == pytest.approx(np.log(4))
    assert term("entropy", weights=one_hot) == 0
    assert term("anchor_kl") == pytest.approx(0, abs=1e-5)
    assert term("anchor_l2") == 0
    assert term("logsumexp") == pytest.approx(np.log(4))
    assert term("zero_one") == 0
    assert term("zero_one", large) == pytest.approx(-0.25)
    assert term("zero_one_absolute", -large) == pytest.approx(-0.5)
    assert term("expected_cost", weights=one_hot) == 4


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("level", [-100.0, 0.0, 100.0])
def test_gradients_are_finite_at_extremes_in_float32(name, level):
    alpha = {kind: jnp.full(m.shape, level) for kind, m in MASKS.items()}
    slope = jax.grad(value, 1)(name, alpha)
    assert all(np.isfinite(s).all() for s in slope.values())


def test_edge_logits_and_absent_costs_take_no_part():
    alpha = {kind: jnp.asarray(a, jnp.float32) for kind, a in ALPHA.items()}
    mixture = Mixture({k: jnp.asarray(p, jnp.float32) for k, p in mixed(ALPHA).items()})
    plain = penalty(TERMS["anchor_l2"], alpha, MASKS, mixture)
    alpha["normal.edges"] = jnp.full(2, 7.0)
    assert penalty(TERMS["anchor_l2"], alpha, MASKS, mixture) == plain
    assert plain > 0
    assert penalty(TERMS["expected_cost"], alpha, MASKS, mixture) == 0
