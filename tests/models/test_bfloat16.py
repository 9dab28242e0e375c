"""Computing in bfloat16: what stays float32, and how near the float32 numbers are.

bfloat16 keeps 8 bits, so that a number is rounded by at most 2^-9 of itself. Between
the images and the logits of a tiny network lie about eight arrays that are rounded
(images, convolutions, norms, sums, matrix product), each of about one size thanks to
batch norm: at worst the logits are off by 8 * 2^-9 of their norm.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax import SPACES, default_config, from_arrays
from darts_jax.bilevel.losses import cross_entropy
from darts_jax.bilevel.relaxation import relax, softmax
from darts_jax.engine.devices import Layout
from darts_jax.models.functional import network_apply, supernet_apply
from darts_jax.models.network import Network
from darts_jax.tasks.image_networks import make_supernet
from darts_jax.tasks.registry import make_search, make_training
from tests.support.tiny import quick_jit, tiny_genotype, tiny_space

KEY = jax.random.key(0)
SPACE = tiny_space(("skip_connect", "sep_conv_3x3"))
BATCH = 16
NEAR = 8 * 2**-9


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(SPACES, "tiny", SPACE)


@pytest.fixture(scope="module")
def dataset():
    """Makes one batch of either half."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * BATCH, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(2 * BATCH) % 4
    return from_arrays(images, labels, images, labels)


def configured(dtype):
    config = default_config()
    config.space = "tiny"
    config.supernet.update(cells=1, channels=8, dtype=dtype)
    config.data.update(pad=0, flip=False)
    config.search.batch_size = BATCH
    config.search.weights.learning_rate = config.retrain.weights.learning_rate = 0.2
    config.retrain.update(cells=1, channels=8, dtype=dtype, auxiliary_weight=0.0)
    config.retrain.update(batch_size=2 * BATCH, pad=0, flip=False, cutout=0)
    return config


def searched(dataset, dtype):
    """The job of a search, and the logits and loss of its network."""
    config = configured(dtype)
    job = make_search(config, dataset, Layout())
    apply = supernet_apply(make_supernet(config, dataset))
    mask = {"normal": SPACE.cells["normal"].mask}

    def forward(variables, stats, images):
        params, alpha = variables
        mixture = relax(softmax, KEY, alpha, mask)
        return apply(params, stats, mixture, images, KEY, train=True)

    return job, forward, lambda state: (state.params, state.alpha)


def retrained(dataset, dtype):
    config = configured(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPACES, "tiny", tiny_space())  # which has the genotype
        job = make_training(config, dataset, tiny_genotype())
    apply = network_apply(
        Network(tiny_genotype(), SPACE.macro, dataset.classes, 1, 8, dtype=dtype)
    )

    def forward(params, stats, images):
        drop = jnp.zeros(())
        logits, stats = apply(params, stats, images, drop, KEY, train=True)
        return logits.main, stats

    return job, forward, lambda state: state.params


def run(job, state, steps):
    """The state after so many steps on one batch, and the loss of each."""
    program = quick_jit(job.run)
    _, data = next(job.feed.open(job.layout)(0, 0))
    losses = []
    for epoch in range(steps):
        bounds = np.int32(epoch), np.int32(0), np.int32(1)
        state, totals = program(
            state, job.empty_totals(), data, job.scalars(0), *bounds
        )
        assert totals["loss"].dtype == jnp.float32
        losses.append(float(totals["loss"] / totals["count"]))
    return state, losses


def norm(tree):
    return float(optax.tree.norm(tree))


@pytest.mark.parametrize(
    "made", [pytest.param(searched, marks=pytest.mark.slow), retrained]
)
def test_bfloat16_is_near_float32_keeps_its_state_wide_and_learns(dataset, made):
    rng = np.random.default_rng(1)
    images = jnp.asarray(rng.normal(size=(BATCH, 8, 8, 3)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 4, BATCH), jnp.int32)
    logits, gradients = {}, {}
    for dtype in ("float32", "bfloat16"):
        job, forward, variables = made(dataset, dtype)
        state = quick_jit(job.init)(job.start)

        def loss(at, stats, forward=forward):
            out, stats = forward(at, stats, images)
            return cross_entropy(out, labels), (out, stats)

        slopes = quick_jit(jax.value_and_grad(loss, has_aux=True))
        (value, (out, stats)), gradient = slopes(variables(state), state.stats)
        assert out.dtype == dtype
        wide = {leaf.dtype for leaf in jax.tree.leaves((value, stats, gradient))}
        assert wide == {jnp.dtype("float32")}
        logits[dtype], gradients[dtype] = out.astype(jnp.float32), gradient

    narrow, exact = logits["bfloat16"], logits["float32"]
    assert 0 < norm(narrow - exact) < NEAR * norm(exact)
    narrow, exact = gradients["bfloat16"], gradients["float32"]
    cosine = float(optax.tree.vdot(narrow, exact)) / (norm(narrow) * norm(exact))
    assert cosine > 0.99

    state, losses = run(job, state, 10)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(state)} - {jnp.dtype("bool")}
    # Beside the numbers: the count of steps, the key, the mask of a search.
    assert dtypes == {jnp.dtype(name) for name in ("float32", "int32", "uint32")}
    assert losses[-1] < 0.9 * losses[0]
