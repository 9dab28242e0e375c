"""Paths of a step: draws by their rules, and the sum of their gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax.bilevel.hypergradient import first_order
from darts_jax.bilevel.losses import CLASSIFICATION_CRITERION
from darts_jax.bilevel.paths import PATH_RULES, Paths, fair, sandwich
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.errors import InputError
from darts_jax.types import Mixture
from tests.support.supernets import KEY, SCALARS, examples, to64
from tests.support.tiny import quick_jit

MASK = np.array([[True, True, True], [True, False, True], [False, True, False]])
SIZES = np.array([[3.0, 1.0, 2.0], [np.nan, 0.0, 0.5], [0.0, 7.0, 0.0]])


def drawn(draw, count, seeds=1):
    """Returns one-hot rows [seed, path, edge, op]."""
    sizes, mask = jnp.asarray(SIZES, jnp.float32), jnp.asarray(MASK)

    def one(seed, number):
        return draw(jax.random.key(seed), sizes, mask, number)

    every = jax.vmap(jax.vmap(one, (None, 0)), (0, None))
    return np.asarray(quick_jit(every)(jnp.arange(seeds), jnp.arange(count)))


def test_fairness_uses_every_operation_of_every_edge_once():
    orders = set()
    twice = drawn(fair, 6, seeds=20)
    for rows in twice[:, :3]:
        np.testing.assert_array_equal(rows.sum(-1), 1)
        used = rows.sum(0)
        np.testing.assert_array_equal(used[0], 1)
        # Two operations in three paths: one is used twice; the last edge has one.
        assert sorted(used[1]) == [0, 1, 2]
        np.testing.assert_array_equal(used[2], [0, 3, 0])
        orders.add(tuple(rows[:, 0].argmax(-1)))
    assert len(orders) > 3
    np.testing.assert_array_equal(twice[0].sum(0)[:2], [[2, 2, 2], [3, 0, 3]])


def test_the_sandwich_is_the_largest_the_smallest_and_any():
    (rows,) = drawn(sandwich, 400)
    np.testing.assert_array_equal(rows[0].argmax(-1), [0, 2, 1])
    # Of the second edge the first operation gives nothing, and is no network.
    np.testing.assert_array_equal(rows[1].argmax(-1), [1, 2, 1])
    shares = rows[2:].mean(0)
    np.testing.assert_allclose(shares, MASK / MASK.sum(-1, keepdims=True), atol=0.1)


def network(params, stats, mixture, images, key, *, train):
    """A network whose statistics count its calls and whose outputs need them not."""
    del key, train
    each = jnp.tanh(jnp.einsum("bhwc,eocd->eobd", images, params))
    return jnp.einsum("eo,eobd->bd", mixture.weights["normal"], each), stats + 1


def make(rule, count, **slots):
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=(3, 3, 2, 3)))
    sizes = {"normal": SIZES} if PATH_RULES[rule].distils else {}
    search = Search(
        network,
        RELAXATIONS["uniform_one_hot"],
        first_order,
        {"normal": MASK},
        freezes_architecture=True,
        paths=Paths(PATH_RULES[rule], count, sizes),
        optimizer=lambda scalars: optax.sgd(0.1),
        **slots,
    )
    alpha = {"normal": jnp.zeros((3, 3))}
    state = search.init(jax.random.key_data(KEY), params, jnp.zeros(()), alpha)
    return search, state


def one_step(search, state):
    still = SCALARS["architecture"] | {"learns": 0.0}
    scalars = to64(SCALARS | {"architecture": still})
    batch = examples(1, batch=4)
    new, metrics = quick_jit(search.step)(state, batch, batch, scalars)
    return new, metrics, batch


def slope_of(params, batch, chosen, teacher=None):
    """Gradient of one path in NumPy's words: cross entropy with hard or soft labels."""
    weights = jax.nn.one_hot(jnp.asarray(chosen), 3, dtype=params.dtype)

    def logits(params):
        mixture = Mixture({"normal": weights})
        return network(params, 0, mixture, batch.images, None, train=True)[0]

    def loss(params):
        log_p = jax.nn.log_softmax(logits(params))
        targets = jax.nn.one_hot(batch.labels, 3, dtype=log_p.dtype)
        if teacher is not None:
            targets = jax.nn.softmax(teacher)
        return -(targets * log_p).sum(-1).mean()

    return jax.grad(loss)(params), logits(params)


@pytest.mark.parametrize(("rule", "microbatches"), [("fair", 1), ("sandwich", 2)])
def test_the_step_is_by_the_sum_of_the_paths_gradients(rule, microbatches):
    with jax.enable_x64(True):
        count = 3 if rule == "fair" else 4
        search, state = make(rule, count, microbatches=microbatches)
        seen = []
        record = search.paths.rule.draw

        def draw(*arguments):
            row = record(*arguments)
            jax.debug.callback(
                lambda number, row: seen.append((int(number), row)), arguments[-1], row
            )
            return row

        spied = dataclasses.replace(search.paths.rule, draw=draw)
        paths = dataclasses.replace(search.paths, rule=spied)
        search = dataclasses.replace(search, paths=paths)
        new, metrics, batch = one_step(search, state)
        jax.effects_barrier()
        rows = {number: np.asarray(row).argmax(-1) for number, row in seen}
        assert sorted(rows) == list(range(count))

        want, first = slope_of(state.params, batch, rows[0])
        for number in range(1, count):
            teacher = first if rule == "sandwich" else None
            want += slope_of(state.params, batch, rows[number], teacher)[0]
        moved = (state.params - new.params) / 0.1
        np.testing.assert_allclose(moved, want, rtol=1e-9, atol=1e-12)
        # Statistics pass from path to path; what is reported is of the first path.
        assert float(new.stats) == count * microbatches
        right = np.sum(np.argmax(np.asarray(first), -1) == np.asarray(batch.labels))
        assert float(metrics["correct"]) == right
        np.testing.assert_array_equal(new.alpha["normal"], state.alpha["normal"])


def test_distillation_needs_logits():
    blind = dataclasses.replace(CLASSIFICATION_CRITERION, distillation=None)
    with jax.enable_x64(True):
        search, state = make("sandwich", 4, criterion=blind)
        with pytest.raises(InputError, match="distillation needs outputs"):
            one_step(search, state)
