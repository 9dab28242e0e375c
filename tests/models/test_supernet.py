"""The supernet against an independent NumPy one, and against itself in other forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from darts_jax.bilevel.hypergradient import first_order
from darts_jax.bilevel.losses import cross_entropy
from darts_jax.bilevel.relaxation import RELAXATIONS, relax, softmax
from darts_jax.bilevel.step import Search
from darts_jax.models.functional import (
    initialize,
    initialize_supernet,
    supernet_apply,
    zero_mixture,
)
from darts_jax.models.mixed_operation import EdgeSettings, MixedOperation
from darts_jax.models.network import Network
from darts_jax.models.operations.image import get_operation
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import SPACES, get_space
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.types import Mixture
from tests.support import reference
from tests.support.supernets import (
    CELLS,
    DARTS,
    KEY,
    SCALARS,
    examples,
    graft,
    masks,
    random_alpha,
    small,
    to64,
)


def numpy_loss(params, alpha, batch):
    mixture = {kind: reference.softmax(np.asarray(a)) for kind, a in alpha.items()}
    host = jax.tree.map(np.asarray, params)
    logits = reference.supernet(host, mixture, np.asarray(batch.images), CELLS)
    return reference.cross_entropy(logits, np.asarray(batch.labels)), logits


@pytest.mark.slow
def test_forward_gradients_and_one_full_step_equal_the_numpy_reference():
    with jax.enable_x64(True):
        net, params, stats = small()
        apply, batch, alpha = supernet_apply(net), examples(), random_alpha()

        def loss(params, alpha):
            mixture = relax(softmax, KEY, alpha, masks(DARTS))
            out, _ = apply(params, stats, mixture, batch.images, KEY, train=True)
            return cross_entropy(out, batch.labels), out

        slopes = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
        gradients, logits = slopes(params, alpha)
        value, want = numpy_loss(params, alpha, batch)
        np.testing.assert_allclose(logits, want, rtol=1e-9, atol=1e-9)
        rng = np.random.default_rng(2)
        for _ in range(3):
            direction = jax.tree.map(
                lambda x: rng.normal(size=x.shape), (params, alpha)
            )
            slope = float(optax.tree.vdot(gradients, direction))
            radius = 1e-7
            ahead = optax.tree.add_scale((params, alpha), radius, direction)
            behind = optax.tree.add_scale((params, alpha), -radius, direction)
            difference = numpy_loss(*ahead, batch)[0] - numpy_loss(*behind, batch)[0]
            assert difference / (2 * radius) == pytest.approx(slope, rel=1e-5)

        _check_full_step(apply, params, stats, alpha, slopes, batch, value)


def _check_full_step(apply, params, stats, alpha, slopes, batch, value):
    """The updates by their formulas in NumPy, from gradients checked above.

    Both halves are one batch here: the architecture step sees its gradient at the old
    alpha, the weight step at the new one, clipped.
    """
    gradients, _ = slopes(params, alpha)
    search = Search(apply, RELAXATIONS["softmax"], first_order, masks(DARTS))
    state = search.init(jax.random.key_data(KEY), params, stats, alpha)
    momentum = jax.tree.map(lambda x: 0.01 * jnp.ones_like(x), params)
    where = [isinstance(s, optax.TraceState) for s in state.weight_optimizer].index(
        True
    )
    optimizer = list(state.weight_optimizer)
    optimizer[where] = optax.TraceState(momentum)
    state = state.replace(weight_optimizer=tuple(optimizer))
    new, metrics = jax.jit(search.step)(state, batch, batch, to64(SCALARS))
    assert float(metrics["count"]) == 2

    a = SCALARS["architecture"]
    for kind, old in alpha.items():
        g = np.asarray(gradients[1][kind]) + a["decay"] * np.asarray(old)
        # First step of Adam: bias correction divides by (1 - beta) just applied.
        m = (1 - a["beta1"]) * g / (1 - a["beta1"])
        v = (1 - a["beta2"]) * g**2 / (1 - a["beta2"])
        want = np.asarray(old) - a["learning_rate"] * m / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(new.alpha[kind], want, rtol=1e-9, atol=1e-12)

    w = SCALARS["weights"]
    gradient = jax.tree.map(np.asarray, slopes(params, new.alpha)[0][0])
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
    clip = min(1.0, w["clip"] / (norm + 1e-6))  # as PyTorch
    after, _ = numpy_loss(params, new.alpha, batch)
    assert float(metrics["loss"]) == pytest.approx(2 * after, rel=1e-5)
    assert after != value

    def updated(old, g, m):
        buffer = w["momentum"] * np.asarray(m) + clip * g + w["decay"] * np.asarray(old)
        return np.asarray(old) - w["learning_rate"] * buffer

    want = jax.tree.map(updated, params, gradient, momentum)
    jax.tree.map(
        lambda got, ref: np.testing.assert_allclose(got, ref, rtol=1e-8, atol=1e-11),
        new.params,
        want,
    )


def test_running_statistics_follow_pytorch():
    from darts_jax.models.operations.layers import BatchNorm

    with jax.enable_x64(True):
        x = examples(batch=4).images
        module = BatchNorm(affine=True)
        variables = module.init(KEY, x, False)
        y, changed = module.apply(variables, x, True, mutable=["batch_stats"])
        np.testing.assert_allclose(y, reference.bn(np.asarray(x)), rtol=1e-6)
        mean, var = changed["batch_stats"]["moments"]
        flat = np.asarray(x).reshape(-1, 2)
        np.testing.assert_allclose(mean, 0.1 * flat.mean(0), rtol=1e-6)
        want = 0.9 + 0.1 * flat.var(0, ddof=1)
        np.testing.assert_allclose(var, want, rtol=1e-6)
        params = {"params": variables["params"], **changed}
        frozen = module.apply(params, x, False)
        by_hand = (flat - 0.1 * flat.mean(0)) / np.sqrt(want + 1e-5)
        np.testing.assert_allclose(frozen.reshape(-1, 2), by_hand, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s1", "s4", "nasbench201"])
def test_all_walks_agree_in_outputs_gradients_and_statistics(name):
    with jax.enable_x64(True):
        space, results = get_space(name), []
        cells = 1 if name == "nasbench201" else 2
        alpha, batch = random_alpha(space), examples()
        for execution in ("scan", "batch", "joined"):
            net, params, stats = small(space, execution, cells)
            apply = supernet_apply(net)

            def loss(params, alpha, apply=apply, stats=stats):
                mixture = relax(softmax, KEY, alpha, masks(space))
                out, new = apply(params, stats, mixture, batch.images, KEY, train=True)
                return cross_entropy(out, batch.labels), new

            results.append(
                jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, alpha)
            )
        first, *others = results
        for other in others:
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10),
                first,
                other,
            )


@pytest.mark.slow
def test_partial_channels_bypass_the_operations():
    with jax.enable_x64(True):
        space, batch = get_space("s3"), examples()
        mixture = relax(softmax, KEY, random_alpha(space), masks(space))
        outs = []
        for execution in ("scan", "batch", "joined"):
            net, params, stats = small(space, execution, 2, partial=2, channels=4)
            apply = supernet_apply(net)
            forward = jax.jit(
                lambda mixture, apply=apply, params=params, stats=stats: apply(
                    params, stats, mixture, batch.images, KEY, train=True
                )[0]
            )
            outs.append(forward(mixture))
        for out in outs[1:]:
            np.testing.assert_allclose(outs[0], out, rtol=1e-9, atol=1e-10)
        # With no operation at all, only the bypassed half reaches the classifier.
        nothing = zero_mixture(space)
        bias = params["head"]["Linear_0"]["bias"]
        assert float(jnp.abs(forward(nothing) - bias).max()) > 1e-3
        # Nor that, with edges that have no share.
        gone = {k: jnp.zeros(len(c.edges)) for k, c in space.cells.items()}
        shareless = nothing.replace(edge_shares=gone)
        np.testing.assert_allclose(forward(shareless), bias[None].repeat(2, 0))


@pytest.mark.parametrize("stride", [1, 2])
def test_an_edges_share_weighs_the_channels_that_no_operation_takes(stride):
    """Equations 2 and 3 of PC-DARTS: ``share * [mixture of a third, the rest]``."""
    names = ("none", "max_pool_3x3", "avg_pool_3x3")
    settings = EdgeSettings(
        2, 3, tuple((name, get_operation(name)) for name in names), train=True
    )
    stacks = {name: name for name in names}
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 6))
    share, p = 0.4, np.array([0.2, 0.5, 0.6])
    mixed = sum(
        weight * reference.operation(name, x[..., :2], {}, stride)
        for name, weight in zip(names, p, strict=True)
    )
    # Windows of two where the stride is two.
    rest = x[..., 2:].reshape(2, 4 // stride, stride, 4 // stride, stride, 4)
    joined = share * np.concatenate([mixed, rest.max((2, 4))], -1)
    with jax.enable_x64(True):
        x, weights = jnp.asarray(x), jnp.asarray(share * np.append(p, 1))
        variables = {
            name: settings.module(name, stride).init(KEY, x[..., :2], True)
            for name in names
        }
        operation = MixedOperation(settings, stacks, stride, jnp.zeros(()))
        shared, _ = operation.shared(variables, KEY, x)
        got = operation.whole(None, weights, KEY, x, shared)
    # Shuffled: the first of all thirds, then the second.
    np.testing.assert_allclose(got, joined[..., [0, 2, 4, 1, 3, 5]], rtol=1e-6)


@pytest.mark.slow
def test_one_hot_mixture_equals_the_discrete_cell():
    """A path of NAS-Bench-201's supernet is the network of that genotype."""
    with jax.enable_x64(True):
        space = get_space("nasbench201")
        (cell,) = space.cells.values()
        chosen = (3, 1, 2, 4, 0, 3)
        net, params, stats = small(space, cells=1, channels=4)
        mixture = Mixture({"normal": jnp.eye(5)[jnp.array(chosen)]})
        batch = examples()
        logits, _ = supernet_apply(net)(
            params, stats, mixture, batch.images, KEY, train=True
        )
        choices = tuple(
            KeptEdge(e.target, e.source, e.operations[o])
            for e, o in zip(cell.edges, chosen, strict=True)
        )
        genotype = Genotype("nasbench201", {"normal": CellGenotype(1, choices, (3,))})
        network = Network(genotype, space.macro, 3, 1, 4)
        rate = jnp.zeros(())
        own, own_stats = map(to64, initialize(network, KEY, batch.images, rate))
        own = graft(own, params, cell, chosen)
        out, _ = network.apply(
            {"params": own, "batch_stats": own_stats},
            batch.images,
            rate,
            True,
            rngs={"drop_path": KEY},
            mutable=["batch_stats"],
        )
        np.testing.assert_allclose(out.main, logits, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_neighbouring_equal_cells_share_one_traced_block():
    net = Supernet(DARTS, 3, 11, 2)
    params, _ = initialize_supernet(net, KEY, (8, 8, 2))
    names = sorted(name for name in params if name.startswith("blocks"))
    assert "blocks_9_10" in names
    first = jax.tree.leaves(params["blocks_9_10"])[0]
    assert first.shape[0] == 2
    assert len(names) < 11


QUICK = ("nasbench201",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name, space in sorted(SPACES.items())
        if space.family == "cells"
    ],
)
def test_every_space_runs_forward(name):
    space = get_space(name)
    cells = 1 if name.startswith("nas") else 2
    net = Supernet(space, 3, cells, 4)
    params, stats = initialize_supernet(net, KEY, (8, 8, 2))
    mixture = Mixture({k: jnp.full(c.shape, 0.2) for k, c in space.cells.items()})
    images = examples().images.astype(jnp.float32)
    logits, new = supernet_apply(net)(params, stats, mixture, images, KEY, train=True)
    assert logits.shape == (2, 3)
    assert bool(jnp.isfinite(logits).all())
    assert jax.tree.structure(new) == jax.tree.structure(stats)
