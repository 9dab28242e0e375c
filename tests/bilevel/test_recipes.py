"""Nesterov's momentum and the order of a search's two steps, against references."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import darts_jax
from darts_jax import load_config
from darts_jax.bilevel import optimizers
from darts_jax.bilevel.discretization import random_genotype
from darts_jax.bilevel.hypergradient import first_order
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.bilevel.weight_training import make_sgd
from darts_jax.settings.scalars import search_scalars
from darts_jax.tasks.registry import load_data, make_search, make_training
from darts_jax.tasks.search_job import full_mask, initial_alpha
from darts_jax.training.shared_job import make_shared_training
from tests.support.supernets import KEY, SCALARS, examples, to64
from tests.support.tiny import tiny_space

RATE, MOMENTUM, DECAY, CLIP = 0.1, 0.9, 0.01, 1.5
SGD = {"learning_rate": RATE, "momentum": MOMENTUM, "decay": DECAY, "clip": CLIP}


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_by_its_formula(nesterov):
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    gradients = [
        {k: scale * rng.normal(size=w.shape) for k, w in weights.items()}
        for scale in (0.1, 3.0, 1.0, 5.0)
    ]
    with jax.enable_x64(True):
        sgd = optimizers.sgd(**SGD, nesterov=nesterov)
        got = to64(weights)
        state = sgd.init(got)
        for gradient in gradients:
            updates, state = sgd.update(to64(gradient), state, got)
            got = optax.apply_updates(got, updates)

    buffer = {k: np.zeros_like(w) for k, w in weights.items()}
    for gradient in gradients:
        norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values())) + 1e-6
        for name, w in weights.items():
            g = gradient[name] * min(1.0, CLIP / norm) + DECAY * w
            buffer[name] = MOMENTUM * buffer[name] + g
            step = g + MOMENTUM * buffer[name] if nesterov else buffer[name]
            weights[name] = w - RATE * step
    for name, want in weights.items():
        np.testing.assert_allclose(got[name], want, rtol=1e-12)


def one_line(params, stats, mixture, images, key, *, train):
    """A network in which weights and mixture meet."""
    each = jnp.tanh(jnp.einsum("bhwc,eocd->eobd", images, params))
    return jnp.einsum("eo,eobd->bd", mixture.weights["normal"], each), stats


@pytest.mark.parametrize("nesterov", [False, True])
def test_weights_may_step_before_the_architecture(nesterov):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        params = jnp.asarray(rng.normal(size=(3, 2, 2, 3)))
        alpha = {"normal": jnp.asarray(rng.normal(size=(3, 2)))}
        mask = {"normal": np.ones((3, 2), bool)}
        train, valid = examples(1, batch=4), examples(2, batch=4)
        scalars = to64(SCALARS)
        sgd = functools.partial(make_sgd, nesterov=nesterov)
        how = {"mask": mask, "optimizer": sgd}
        search = Search(
            one_line, RELAXATIONS["softmax"], first_order, weights_first=True, **how
        )
        state = search.init(jax.random.key_data(KEY), params, {}, alpha)
        new, metrics = jax.jit(search.step)(state, train, valid, scalars)

        # Independently: the weights at the old architecture, then that at the new.
        still = to64(SCALARS["architecture"]) | {"learning_rate": 0.0}
        usual = Search(one_line, RELAXATIONS["softmax"], first_order, **how)
        stood = scalars | {"architecture": still}
        weights = jax.jit(usual.step)(state, train, valid, stood)[0].params
        slope = jax.jit(jax.grad(search.loss_on(state, valid, KEY, scalars), 1))
        names = ("learning_rate", "beta1", "beta2", "decay")
        adam = optimizers.adam(**{n: SCALARS["architecture"][n] for n in names})
        update, moments = adam.update(slope(weights, alpha), adam.init(alpha), alpha)
        want = weights, optax.apply_updates(alpha, update), moments
        norm, old = (
            float(optax.tree.norm(slope(place, alpha))) for place in (weights, params)
        )
    got = new.params, new.alpha, new.alpha_optimizer
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), got, want)
    assert float(metrics["gradient_norm"]) == pytest.approx(4 * norm, rel=1e-6)
    # At the old weights the slope is another.
    assert old != pytest.approx(norm, rel=0.01)


CLASSES = [
    *("space=tiny", "data.name=digits", "supernet.cells=1", "supernet.channels=2"),
    *("retrain.cells=1", "retrain.channels=2", "retrain.auxiliary_weight=0"),
]
DETECTION = [
    *("task=detection", "space=tiny", "data.name=generated:digits"),
    *("detection.side=12", "detection.scenes=12", "detection.test_scenes=5"),
    *("supernet.cells=1", "supernet.channels=4", "retrain.cells=1"),
    *("retrain.channels=4", "retrain.auxiliary_weight=0", "retrain.pad=0"),
    *("retrain.cutout=0", "search.batch_size=2", "retrain.batch_size=4"),
]
TEXT = ["task=language", "space=recurrent", "language.window=8"]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("settings", [CLASSES, DETECTION, TEXT], ids=lambda s: s[0])
def test_the_settings_reach_every_task(settings, nesterov, tmp_path, monkeypatch):
    monkeypatch.setitem(darts_jax.SPACES, "tiny", tiny_space())
    text = tmp_path / "text.txt"
    text.write_text("one two three " * 2000)
    where = [f"data.name=text:{text}"] if settings is TEXT else []
    asked = [f"{part}.weights.nesterov={nesterov}" for part in ("search", "retrain")]
    order = f"search.first_step={'weights' if nesterov else 'architecture'}"
    config = load_config(None, [*settings, *where, *asked, order])
    dataset = load_data(config)
    search = make_search(config, dataset).method
    assert search.weights_first == nesterov

    space = darts_jax.get_space(config.space)
    genotype = random_genotype(space, np.random.default_rng(0))
    methods = [search, make_training(config, dataset, genotype).method]
    if settings is CLASSES:
        config.retrain.update(drop_path=0.0, auxiliary_weight=0.0)
        methods.append(make_shared_training(config, dataset, [genotype]).method)
    weights = {"learning_rate": 1.0, "momentum": 0.5, "decay": 0.0, "clip": 1e9}
    ones = jnp.ones(3)
    for method in methods:
        sgd = method.optimizer({"weights": weights, "averages": 0.0})
        updates, _ = sgd.update(ones, sgd.init(ones), ones)
        np.testing.assert_allclose(updates, -1.5 if nesterov else -1.0, rtol=1e-5)


@pytest.mark.parametrize("method", ["gaea", "random_sharing"])
def test_the_recipes_in_the_space_of_darts_reach_the_step(method):
    """Shares of edges on the simplex (GAEA PC-DARTS); two edges into a node (RSWS)."""
    config = load_config(method, ["data.name=digits"])
    method = make_search(config, load_data(config)).method
    space = darts_jax.get_space(config.space)
    alpha = initial_alpha(space, config.search, 0, 1e-3)
    scalars = search_scalars(config.search, 0)
    mask = {kind: jnp.asarray(m) for kind, m in full_mask(space).items()}
    mixture = jax.jit(method.mixture)(KEY, alpha, mask, scalars)
    for kind, cell in space.cells.items():
        ends = np.array([edge.target for edge in cell.edges])
        weights = np.asarray(mixture.weights[kind]).sum(-1)
        into = np.array([weights[ends == node].sum() for node in range(2, 6)])
        if config.search.edges_per_node:
            np.testing.assert_array_equal(into, 2)
            assert set(weights) == {0, 1}
            continue
        np.testing.assert_allclose(into, 1, rtol=1e-5)
        assert alpha[f"{kind}.edges"].shape == (14,)
        slopes = {name: np.zeros(np.shape(a), "f") for name, a in alpha.items()}
        slopes[f"{kind}.edges"][0] = 1.0  # Against the first edge into the first node.
        update = method.update.transformation(scalars["architecture"]).update
        change, _ = jax.jit(update)(slopes, (), alpha)
        rest = 1 / (1 + np.exp(-0.1))
        got = alpha[f"{kind}.edges"] + change[f"{kind}.edges"]
        np.testing.assert_allclose(got[:2], [1 - rest, rest], rtol=1e-5)
        np.testing.assert_allclose(got[2:5], 1 / 3, rtol=1e-5)
