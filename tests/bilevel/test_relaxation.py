"""Every relaxation against its formula in NumPy, its limits and its gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from darts_jax.bilevel import relaxation
from darts_jax.bilevel.relaxation import RELAXATIONS, edge_softmax, relax
from darts_jax.errors import InputError

KEY = jax.random.key(3)
EDGES, OPS = 3, 4
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]], bool)
# Where no operation is, the parameter is the largest: a mask that leaks is seen.
LOGITS = np.where(MASK, np.random.default_rng(0).normal(size=MASK.shape), 9.0)
SHARES = np.where(MASK, np.random.default_rng(1).uniform(0.1, 1, MASK.shape), 9.0)
COST = np.random.default_rng(2).normal(size=MASK.shape)
DRAWS = 20_000

every = pytest.mark.parametrize("name", RELAXATIONS)


def parameters(name):
    return SHARES if RELAXATIONS[name].simplex else LOGITS


def weights(name, logits, temperature=1.0, key=KEY, dtype=jnp.float32):
    function = RELAXATIONS[name].function
    logits = jnp.asarray(logits, dtype)
    return function(key, logits, jnp.asarray(MASK), jnp.asarray(temperature, dtype))


def gradient(name, logits, temperature=1.0, key=KEY, dtype=jnp.float32):
    """Returns the gradient of ``sum(COST * weights)``."""

    def total(logits):
        out = weights(name, logits, temperature, key, dtype)
        return (jnp.asarray(COST, dtype) * out).sum()

    return np.asarray(jax.grad(total)(jnp.asarray(logits, dtype)))


@functools.cache
def draws(name, temperature=1.0):
    keys = jax.random.split(KEY, DRAWS)
    sample = jax.jit(lambda key: weights(name, parameters(name), temperature, key))
    return np.asarray(jax.vmap(sample)(keys))


def softmax(x, mask=MASK):
    powers = np.where(mask, np.exp(x), 0)
    return powers / powers.sum(-1, keepdims=True)


def softmax_gradient(p, cost=COST):
    """``dL/da_i = sum_j dL/dp_j p_j (delta_ij - p_i)``."""
    return p * (cost - (p * cost).sum(-1, keepdims=True))


# Promises of all


@every
def test_weights_are_what_the_table_says(name):
    entry, out = RELAXATIONS[name], draws(name)
    assert np.isfinite(out).all()
    assert (out[:, ~MASK] == 0).all()
    assert (out[:, MASK] >= 0).all()
    if name != "sigmoid":
        np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    one_hot = ((out == 0) | (out == 1)).all() and (out.sum(-1) == 1).all()
    assert one_hot == entry.hard
    assert (out != out[0]).any() == entry.random


@every
@pytest.mark.parametrize("temperature", [0.03, 1.0])
def test_gradients_stay_finite_and_off_the_mask(name, temperature):
    start = parameters(name)
    for scale in (0.001, 1.0, 20.0):
        slope = gradient(name, start * scale, temperature)
        assert np.isfinite(slope).all()
        assert (slope[~MASK] == 0).all()


@every
def test_the_mixed_derivative_of_second_order_exists(name):
    def loss(w, logits):
        return ((w * weights(name, logits)).sum() - 1) ** 2

    start = jnp.asarray(parameters(name), jnp.float32)
    w = jnp.asarray(COST, "float32")
    _, mixed = jax.jvp(lambda w: jax.grad(loss, 1)(w, start), (w,), (w + 1,))
    assert np.isfinite(mixed).all()
    assert (np.abs(mixed).max() > 1e-6) == (name != "uniform_one_hot")


# Deterministic


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_softmax_is_the_formula(temperature):
    p = softmax(LOGITS / temperature)
    np.testing.assert_allclose(weights("softmax", LOGITS, temperature), p, rtol=1e-5)
    np.testing.assert_allclose(
        gradient("softmax", LOGITS, temperature),
        softmax_gradient(p) / temperature,
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sigmoid_is_the_formula(temperature):
    p = np.where(MASK, 1 / (1 + np.exp(-LOGITS / temperature)), 0)
    np.testing.assert_allclose(weights("sigmoid", LOGITS, temperature), p, rtol=1e-5)
    want = COST * p * (1 - p) / temperature
    got = gradient("sigmoid", LOGITS, temperature)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_simplex_is_its_parameters_over_their_sum():
    total = np.where(MASK, SHARES, 0).sum(-1, keepdims=True)
    p = np.where(MASK, SHARES, 0) / total
    np.testing.assert_allclose(weights("simplex", SHARES, 7.0), p, rtol=1e-5)
    want = np.where(MASK, (COST - (p * COST).sum(-1, keepdims=True)) / total, 0)
    np.testing.assert_allclose(gradient("simplex", SHARES), want, rtol=1e-4, atol=1e-6)


# Gumbel


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_gumbel_draws_are_the_formula(temperature):
    noise = np.asarray(jax.random.gumbel(KEY, LOGITS.shape, jnp.float32))
    p = softmax((LOGITS + noise) / temperature)
    soft = weights("gumbel_softmax", LOGITS, temperature)
    np.testing.assert_allclose(soft, p, rtol=1e-4, atol=1e-7)
    slope = softmax_gradient(p) / temperature
    for name in ("gumbel_softmax", "hard_gumbel"):
        got = gradient(name, LOGITS, temperature)
        np.testing.assert_allclose(got, slope, rtol=1e-3, atol=1e-6)
    hard = weights("hard_gumbel", LOGITS, temperature)
    np.testing.assert_array_equal(hard, np.eye(OPS)[p.argmax(-1)])


def test_gumbel_limits():
    hot = weights("gumbel_softmax", LOGITS, 1e4)
    np.testing.assert_allclose(hot, softmax(0 * LOGITS), atol=1e-3)
    cold = weights("gumbel_softmax", LOGITS, 1e-3)
    np.testing.assert_allclose(cold, weights("hard_gumbel", LOGITS), atol=1e-6)


@pytest.mark.parametrize("temperature", [1e9, 0.01])
def test_hard_gumbel_draws_by_softmax_at_every_temperature(temperature):
    frequency = draws("hard_gumbel", temperature).mean(0)
    np.testing.assert_allclose(frequency, softmax(LOGITS), atol=4 / DRAWS**0.5 / 2)


def test_uniform_one_hot_draws_evenly_and_ignores_the_logits():
    frequency = draws("uniform_one_hot").mean(0)
    np.testing.assert_allclose(frequency, softmax(0 * LOGITS), atol=4 / DRAWS**0.5 / 2)
    assert (gradient("uniform_one_hot", LOGITS) == 0).all()


# Dirichlet


def concentration(logits):
    """``elu(a) + 1`` in double precision."""
    return np.where(logits > 0, logits + 1, np.exp(np.minimum(logits, 0)))


def test_concentration_keeps_its_precision():
    logits = np.array([-12.0, -3.0, 0.0, 0.5, 7.0])
    got = relaxation.concentration(jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(got, concentration(logits), rtol=1e-5)
    slope = jax.vmap(jax.grad(relaxation.concentration))(jnp.asarray([-3.0, 0.0, 7.0]))
    np.testing.assert_allclose(slope, [np.exp(-3.0), 1, 1], rtol=1e-5)


def test_dirichlet_has_its_mean_and_variance():
    c = np.where(MASK, concentration(LOGITS), 0)
    total = c.sum(-1, keepdims=True)
    mean = c / total
    variance = mean * (1 - mean) / (total + 1)
    out = draws("dirichlet")
    np.testing.assert_allclose(out.mean(0), mean, atol=4 / DRAWS**0.5 / 2)
    np.testing.assert_allclose(out.var(0), variance, atol=0.005)


def log_draw(c, u):
    """The logarithm of the u-quantile of Gamma(c, 1), also where it underflows."""
    x = special.gammaincinv(c, u)
    small = (np.log(u) + special.gammaln(c + 1)) / c
    return np.where(x < 1e-200, small, np.log(np.maximum(x, 1e-200)))


def test_slope_of_a_gamma_draw_is_that_of_its_quantile():
    c, u = np.meshgrid([1e-6, 1e-3, 0.05, 0.7, 1.0, 3.0, 40.0], [1e-6, 0.2, 0.9, 0.999])
    h = 1e-4 * c
    want = (log_draw(c + h, u) - log_draw(c - h, u)) / (2 * h)
    got = relaxation._log_gamma_slope(
        jnp.asarray(c, jnp.float32), jnp.asarray(log_draw(c, u), jnp.float32)
    )
    np.testing.assert_allclose(got, want, rtol=1e-3)


@pytest.mark.slow
def test_dirichlet_gradient_is_the_implicit_one():
    """Each Gamma draw moves along its quantile; the weights are their shares."""
    with jax.enable_x64(True):
        log_x = np.asarray(
            jax.random.loggamma(KEY, concentration(LOGITS), dtype=jnp.float64)
        )
        p = weights("dirichlet", LOGITS, dtype=jnp.float64)
        np.testing.assert_allclose(p, softmax(log_x), rtol=1e-6)
        u = special.gammainc(concentration(LOGITS), np.exp(log_x))
        h = 1e-5
        want = 0.0
        for sign in (1, -1):
            moved = log_draw(concentration(LOGITS + sign * h * np.eye(OPS)[:, None]), u)
            total = (COST * softmax(moved)).sum(-1)
            want = want + sign * total.T / (2 * h)
        got = gradient("dirichlet", LOGITS, dtype=jnp.float64)
        np.testing.assert_allclose(got, np.where(MASK, want, 0), rtol=1e-4, atol=1e-7)


@jax.jit
def dirichlet_draws(logits):
    """500 draws of the weights, and the gradient of ``sum(COST * weights)`` at each."""

    def total(logits, key):
        out = weights("dirichlet", logits, key=key)
        return (COST * out).sum(), out

    draw = jax.grad(total, has_aux=True)
    slopes, out = jax.vmap(draw, (None, 0))(logits, jax.random.split(KEY, 500))
    return out, slopes


@pytest.mark.parametrize("level", [-300.0, -10.0, 300.0])
def test_dirichlet_is_finite_at_every_concentration(level):
    logits = np.where(np.eye(EDGES, OPS) > 0, level, LOGITS - 3 + level / 2)
    out, slopes = dirichlet_draws(jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    assert np.isfinite(slopes).all()


# Two paths


def pair_probability(p, i, j):
    """Drawn without replacement, in either order."""
    return p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])


def test_two_path_draws_a_pair_and_then_one_of_it():
    p = softmax(LOGITS)
    want = np.zeros_like(p)
    for e, i, j in np.ndindex(EDGES, OPS, OPS):
        if i != j and MASK[e, i] and MASK[e, j]:
            both = pair_probability(p[e], i, j) if MASK[e].sum() > 2 else 1.0
            want[e, i] += both * p[e, i] / (p[e, i] + p[e, j])
    np.testing.assert_allclose(draws("two_path").mean(0), want, atol=4 / DRAWS**0.5 / 2)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_two_path_gradient_is_that_of_the_pair(temperature):
    pairs = set()
    for key in jax.random.split(KEY, 40):
        got = gradient("two_path", LOGITS, temperature, key)
        pair = got != 0
        assert (pair.sum(-1) == 2).all()
        assert (pair & MASK == pair).all()
        active = np.asarray(weights("two_path", LOGITS, temperature, key)) == 1
        assert (active & pair == active).all()
        want = softmax_gradient(softmax(LOGITS / temperature, pair)) / temperature
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-6)
        pairs |= {tuple(row) for row in np.argwhere(pair[0]).reshape(1, 2)}
    assert len(pairs) == 6


def reinmax_gradients(temperature, loss_gradient):
    """Mean over the draws of the gradient, from one of each edge and operation."""
    p = softmax(LOGITS)
    means = np.zeros_like(LOGITS)
    seen = np.zeros(MASK.shape, bool)
    for key in jax.random.split(KEY, 80):
        drawn = np.asarray(weights("reinmax", LOGITS, temperature, key))
        cost = loss_gradient(drawn)
        middle = (softmax(LOGITS / temperature) + drawn) / 2
        want = 2 * softmax_gradient(middle, cost) - softmax_gradient(p, cost) / 2

        def total(logits, key=key, cost=cost):
            return (weights("reinmax", logits, temperature, key) * cost).sum()

        got = np.asarray(jax.grad(total)(jnp.asarray(LOGITS, jnp.float32)))
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
        for e, o in np.argwhere(drawn == 1):
            means[e] += (not seen[e, o]) * p[e, o] * got[e]
            seen[e, o] = True
    assert (seen == MASK).all()
    return means


def test_reinmax_is_heuns_rule_and_exact_for_quadratic_losses():
    np.testing.assert_allclose(
        draws("reinmax", 0.5).mean(0), softmax(LOGITS), atol=2 / DRAWS**0.5
    )
    linear, square = COST, COST**2

    def quadratic_gradient(p):
        """Gradient of ``sum((COST . p) ** 2)`` by p."""
        return 2 * (COST * p).sum(-1, keepdims=True) * COST

    exact = softmax_gradient(softmax(LOGITS), square)
    found = reinmax_gradients(1.0, quadratic_gradient)
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5)
    found = reinmax_gradients(1.0, lambda p: linear)
    exact = softmax_gradient(softmax(LOGITS), linear)
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5)
    reinmax_gradients(2.0, quadratic_gradient)


# Over edges and kinds


def test_edge_softmax_is_over_the_edges_of_a_node():
    logits = np.array([0.3, -1.0, 2.0, 0.5, 20.0])
    targets = (2, 2, 3, 2, 3)
    want = np.zeros(5)
    for target in (2, 3):
        rows = [e for e in range(5) if targets[e] == target]
        powers = np.exp(logits[rows] - logits[rows].max())
        want[rows] = powers / powers.sum()
    got = edge_softmax(jnp.asarray(logits, jnp.float32), targets)
    np.testing.assert_allclose(got, want, rtol=1e-5)

    def first(logits):
        return edge_softmax(logits, targets)[0]

    slope = jax.grad(first)(jnp.asarray(logits, jnp.float32))
    delta = np.array([1, 0, 0, 0, 0])
    same = np.array([1, 1, 0, 1, 0])
    np.testing.assert_allclose(
        slope, same * want[0] * (delta - want), rtol=1e-4, atol=1e-7
    )


def two_kinds():
    logits = jnp.asarray(LOGITS, jnp.float32)
    return {"reduce": logits, "normal": logits}, {"normal": MASK, "reduce": MASK}


def test_kinds_draw_by_themselves_whatever_their_order():
    alpha, mask = two_kinds()
    function = RELAXATIONS["gumbel_softmax"].function
    plain = relax(function, KEY, alpha, mask).weights
    assert (plain["normal"] != plain["reduce"])[MASK].all()
    jitted = jax.jit(lambda alpha: relax(function, KEY, alpha, mask))(alpha).weights
    for kind in alpha:
        np.testing.assert_allclose(plain[kind], jitted[kind], rtol=1e-5)


def test_the_temperature_reaches_every_kind():
    alpha, mask = two_kinds()
    cool = relax(RELAXATIONS["softmax"].function, KEY, alpha, mask, jnp.asarray(0.5))
    for kind in alpha:
        np.testing.assert_allclose(cool.weights[kind], softmax(LOGITS / 0.5), rtol=1e-5)


def test_edge_logits_multiply_their_kind_alone():
    alpha, mask = two_kinds()
    edges = np.array([0.5, -0.5, 1.0])
    alpha["normal.edges"] = jnp.asarray(edges, jnp.float32)
    function = RELAXATIONS["softmax"].function
    targets = {"normal": (2, 2, 3)}
    mixture = relax(function, KEY, alpha, mask, targets=targets)
    assert set(mixture.weights) == {"normal", "reduce"}
    assert set(mixture.edge_shares) == {"normal"}
    share = np.exp(edges[:2]) / np.exp(edges[:2]).sum()
    np.testing.assert_allclose(mixture.edge_shares["normal"], [*share, 1], rtol=1e-5)
    want = softmax(LOGITS) * np.array([*share, 1])[:, None]
    np.testing.assert_allclose(mixture.weights["normal"], want, rtol=1e-5)
    np.testing.assert_allclose(mixture.weights["reduce"], softmax(LOGITS), rtol=1e-5)
    with pytest.raises(InputError, match="edge logits of 'normal', but no targets"):
        relax(function, KEY, alpha, mask)


def test_at_temperature_one_softmax_is_bit_for_bit_the_plain_one():
    alpha, mask = two_kinds()
    plain = jax.nn.softmax(jnp.where(jnp.asarray(MASK), alpha["normal"], -jnp.inf))
    mixture = relax(RELAXATIONS["softmax"].function, KEY, alpha, mask)
    np.testing.assert_array_equal(mixture.weights["normal"], plain)


def test_edges_into_a_node_are_drawn_in_pairs_all_alike():
    alpha = {"normal": jnp.zeros((9, 4))}
    mask = {"normal": np.ones((9, 4), bool)}
    targets = {"normal": (2, 2, 3, 3, 3, 4, 4, 4, 4)}

    def draw(key):
        return relax(
            RELAXATIONS["uniform_one_hot"].function,
            key,
            alpha,
            mask,
            targets=targets,
            edges_per_node=2,
        ).weights["normal"]

    drawn = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(KEY, 3000)))
    kept = drawn.sum(-1)
    np.testing.assert_array_equal(kept[:, :2], 1)
    for node in (slice(2, 5), slice(5, 9)):
        np.testing.assert_array_equal(kept[:, node].sum(-1), 2)
    # Every pair of the last node's four edges, and every operation on a kept edge.
    codes = kept[:, 5:] @ (1, 2, 4, 8)
    pairs, counts = np.unique(codes, return_counts=True)
    assert len(pairs) == 6
    np.testing.assert_allclose(counts / 3000, 1 / 6, atol=0.03)
    np.testing.assert_allclose(drawn[:, 5:].mean((0, 1)), 1 / 8, atol=0.01)


def test_weights_of_setn_train_on_paths_that_ignore_alpha():
    chosen = RELAXATIONS["uniform_path_weights"]
    assert chosen.function is RELAXATIONS["softmax"].function
    assert chosen.weight_relaxation is RELAXATIONS["uniform_one_hot"].function
