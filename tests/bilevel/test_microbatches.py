"""A batch in parts is the mean over its parts, each differentiated on its own."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax import default_config
from darts_jax.bilevel import optimizers
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
from darts_jax.bilevel.losses import cross_entropy
from darts_jax.bilevel.microbatches import scan_microbatches
from darts_jax.bilevel.relaxation import RELAXATIONS, relax, softmax
from darts_jax.bilevel.step import Search
from darts_jax.bilevel.weight_training import Training
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    initialize,
    initialize_supernet,
    network_apply,
    supernet_apply,
)
from darts_jax.models.network import Logits, Network
from darts_jax.models.supernet import Supernet
from darts_jax.settings.config import validate_config
from darts_jax.types import Examples
from tests.support.supernets import KEY, examples, masks, random_alpha, to64
from tests.support.tiny import quick_jit, scalars, tiny_genotype, tiny_space

BATCH = 8
SPACE = tiny_space(("skip_connect", "nor_conv_3x3"))
SMOOTHING, AUXILIARY = 0.1, 0.4
WEIGHTS = {"learning_rate": 0.3, "momentum": 0.9, "decay": 0.01, "clip": 0.5}
ARCHITECTURE = {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.999, "decay": 0.01}
# Optimizers that stay where they are and remember the gradient as it came.
BARE_WEIGHTS = {"learning_rate": 0.0, "momentum": 0.0, "decay": 0.0, "clip": np.inf}
BARE_ARCHITECTURE = {"learning_rate": 0.0, "beta1": 0.0, "beta2": 0.0, "decay": 0.0}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass
class Problem:
    """A network in float64, and the loss of one part with its gradient.

    Attributes:
      loss: (params, alpha, stats, part) -> (loss, (new stats, logits)).
      slopes: the same, compiled, with the gradient by both beside the loss.
    """

    apply: Any
    params: Any
    stats: Any
    alpha: Any
    loss: Callable[..., Any]
    slopes: Callable[..., Any]

    def over_parts(self, function, params, alpha, batch, count):
        """Mean of ``loss`` or ``slopes``, the last statistics, all logits."""
        size, stats = BATCH // count, self.stats
        values, logits = [], []
        for i in range(0, BATCH, size):
            part = Examples(batch.images[i : i + size], batch.labels[i : i + size])
            value, (stats, out) = function(params, alpha, stats, part)
            values.append(value)
            logits.append(out)
        mean = jax.tree.map(lambda *leaves: sum(leaves) / count, *values)
        return mean, stats, jnp.concatenate(logits)

    def hypergradient(self, rule, train, valid, count):
        """Computes that of `exact`, by autodiff through the step of the weights."""
        where = self.params, self.alpha
        if rule == "first_order":
            return self.over_parts(self.slopes, *where, valid, count)[0][1][1]

        def unrolled(alpha):
            slopes = slopes_of(self.loss)
            mean, _, _ = self.over_parts(slopes, where[0], alpha, train, count)
            inner = stepped(optimizers.sgd(**WEIGHTS), mean[1][0], where[0])
            return self.over_parts(self.loss, inner, alpha, valid, count)[0]

        return quick_jit(jax.grad(unrolled))(self.alpha)


def stepped(optimizer, gradient, params):
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    return optax.apply_updates(params, updates)


@quick_jit
def weights_stepped(gradient, params):
    return stepped(optimizers.sgd(**WEIGHTS), gradient, params)


def slopes_of(loss):
    def slopes(*where):
        (value, rest), gradient = jax.value_and_grad(loss, (0, 1), has_aux=True)(*where)
        return (value, gradient), rest

    return slopes


def problem(apply, params, stats, alpha, loss):
    arrays = to64(params), to64(stats), alpha
    return Problem(apply, *arrays, loss, quick_jit(slopes_of(loss)))


@pytest.fixture(scope="module")
def supernet():
    with jax.enable_x64(True):
        net = Supernet(SPACE, 3, 1, 4, remat="none")
        apply = supernet_apply(net)

        def loss(params, alpha, stats, part):
            mixture = relax(softmax, KEY, alpha, masks(SPACE))
            out, stats = apply(params, stats, mixture, part.images, KEY, train=True)
            return cross_entropy(out, part.labels), (stats, out)

        start = initialize_supernet(net, KEY, (8, 8, 2))
        return problem(apply, *start, random_alpha(SPACE), loss)


@pytest.fixture(scope="module")
def network():
    with jax.enable_x64(True):
        net = Network(tiny_genotype(), SPACE.macro, 3, 1, 4)
        plain, no_drop = network_apply(net), jnp.zeros(())

        def apply(*arguments, train):
            out, stats = plain(*arguments, train=train)
            # The real auxiliary head is large.
            return Logits(out.main, out.main[:, ::-1]), stats

        def loss(params, alpha, stats, part):
            del alpha
            out, stats = apply(params, stats, part.images, no_drop, KEY, train=True)
            main, extra = (cross_entropy(x, part.labels, SMOOTHING) for x in out)
            return main + AUXILIARY * extra, (stats, out.main)

        start = initialize(net, KEY, jnp.zeros((2, 8, 8, 2)), no_drop)
        return problem(apply, *start, {"none": jnp.zeros(())}, loss)


def assert_equal(got, want):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), got, want
    )


def check_state_and_metrics(new, metrics, problem, alpha, batch, count):
    """Checks what the weight step of either recipe leaves."""
    (loss, mean), stats, logits = problem.over_parts(
        problem.slopes, problem.params, alpha, batch, count
    )
    want = weights_stepped(mean[0], problem.params)
    assert_equal((new.params, new.stats), (want, stats))
    guesses = np.asarray(logits).argmax(-1)
    assert float(metrics["correct"]) == (guesses == np.asarray(batch.labels)).sum()
    # The sums are float32.
    assert float(metrics["loss"]) == pytest.approx(BATCH * float(loss), rel=1e-6)


@pytest.mark.parametrize(
    ("count", "rule"),
    [
        *((1, "first_order"), (2, "first_order"), (4, "first_order")),
        pytest.param(2, "exact", marks=pytest.mark.slow),
    ],
)
def test_a_search_step_is_that_of_the_mean_over_parts(supernet, count, rule):
    p, train, valid = supernet, examples(1, BATCH), examples(2, BATCH)
    search = Search(
        p.apply,
        RELAXATIONS["softmax"],
        HYPERGRADIENTS[rule],
        masks(SPACE),
        microbatches=count,
    )
    state = search.init(jax.random.key_data(KEY), p.params, p.stats, p.alpha)
    step = quick_jit(search.step)
    if rule == "first_order":
        bare = scalars(BARE_WEIGHTS, BARE_ARCHITECTURE)
        new, _ = step(state, train, valid, to64(bare))
        for half, place, memory in (
            (train, 0, optax.tree.get(new.weight_optimizer, "trace")),
            (valid, 1, optax.tree.get(new.alpha_optimizer, "mu")),
        ):
            (_, mean), _, _ = p.over_parts(p.slopes, p.params, p.alpha, half, count)
            assert_equal(memory, mean[place])

    given = scalars(WEIGHTS, ARCHITECTURE)
    new, metrics = step(state, train, valid, to64(given))
    gradient = p.hypergradient(rule, train, valid, count)
    alpha = stepped(optimizers.adam(**to64(ARCHITECTURE)), gradient, p.alpha)
    assert_equal(new.alpha, alpha)
    check_state_and_metrics(new, metrics, p, alpha, train, count)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_training_step_is_that_of_the_mean_over_parts(network, count):
    p, batch = network, examples(3, BATCH)
    training = Training(p.apply, microbatches=count)
    state = training.init(jax.random.key_data(KEY), p.params, p.stats)
    step = quick_jit(training.step)
    rest = {
        "drop_path": 0.0,
        "auxiliary_weight": AUXILIARY,
        "label_smoothing": SMOOTHING,
    }
    new, _ = step(state, batch, to64({"weights": BARE_WEIGHTS, **rest}))
    (_, mean), _, _ = p.over_parts(p.slopes, p.params, p.alpha, batch, count)
    assert_equal(optax.tree.get(new.optimizer, "trace"), mean[0])
    new, metrics = step(state, batch, to64({"weights": WEIGHTS, **rest}))
    check_state_and_metrics(new, metrics, p, p.alpha, batch, count)


def test_parts_matter_and_have_keys_of_their_own(supernet):
    p, batch = supernet, examples(1, BATCH)
    whole, halves = (
        p.over_parts(p.slopes, p.params, p.alpha, batch, n)[0][1] for n in (1, 2)
    )
    # Each part has batch norm of its own.
    apart = optax.tree.norm(optax.tree.sub(whole, halves))
    assert apart > 1e-2 * optax.tree.norm(whole)

    def draw(stats, part, key):
        return jnp.zeros(()), (stats, jax.random.uniform(key, part.labels.shape))

    _, (_, draws) = scan_microbatches(draw, 4)((), batch, KEY)
    assert len(set(np.asarray(draws).tolist())) == BATCH


@pytest.mark.parametrize("part", ["search", "retrain"])
def test_parts_that_do_not_divide_the_batch_get_one_line(part):
    config = default_config()
    config[part].update(batch_size=BATCH, microbatches=3)
    with pytest.raises(InputError) as error:
        validate_config(config)
    told = f"setting {part}.microbatches is 3; want a divisor of {part}.batch_size, 8"
    assert str(error.value) == told
