"""Schedules, losses, drop path, the auxiliary head, and reading off genotypes."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.discretization import argmax, random_genotype, two_strongest
from darts_jax.bilevel.losses import cross_entropy
from darts_jax.errors import InputError
from darts_jax.models.network import AuxiliaryHead, Network
from darts_jax.models.operations.corruption import drop_path
from darts_jax.models.operations.layers import draw
from darts_jax.settings.config import default_config
from darts_jax.settings.config_files import load_config
from darts_jax.settings.scalars import learning_rate, search_scalars, training_scalars
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge

KEY = jax.random.key(0)


def settings(**changes):
    retrain = default_config().retrain
    retrain.update(epochs=10, **changes)
    return retrain


def test_cosine_rates_are_the_closed_form():
    for epoch in range(10):
        want = 0.025 * (1 + math.cos(math.pi * epoch / 10)) / 2
        assert learning_rate(settings(), epoch) == pytest.approx(want)
    search = default_config().search
    first = search_scalars(search, 0)
    last = search_scalars(search, 49)
    assert first["weights"]["learning_rate"] == 0.025
    assert 0.001 < last["weights"]["learning_rate"] < 0.00103


def test_exponential_and_linear_rates_and_the_warm_up():
    exponential = settings(schedule="exponential")
    assert learning_rate(exponential, 3) == pytest.approx(0.025 * 0.97**3)
    linear = settings(schedule="linear", warmup_epochs=5)
    rates = [learning_rate(linear, epoch) for epoch in range(10)]
    assert rates[:5] == pytest.approx([0.005, 0.01, 0.015, 0.02, 0.025])
    assert rates[5:] == pytest.approx([0.025, 0.02, 0.015, 0.01, 0.005])


def test_imagenets_linear_rate_is_that_of_pc_darts():
    """Line, flat end and warm-up, number by number as train_imagenet.py has them."""
    imagenet = settings(schedule="flattened", warmup_epochs=5)
    imagenet.update(epochs=250)
    imagenet.weights.update(learning_rate=0.5)
    want = [
        0.5 * (245 - e) / 245 if 250 - e > 5 else 0.5 * (250 - e) / (245 * 5)
        for e in range(250)
    ]
    for e in range(5):
        want[e] *= (e + 1) / 5.0
    assert [learning_rate(imagenet, e) for e in range(250)] == pytest.approx(want)
    with pytest.raises(InputError, match=r"retrain\.epochs is 5; want more than 5"):
        load_config(None, ["retrain.schedule=flattened", "retrain.epochs=5"])


def test_a_search_can_warm_up_as_pc_darts_does_on_imagenet():
    """The cosine of every epoch times (epoch + 1) / 5 in the first five."""
    settings = default_config().search
    settings.weights.update(learning_rate=0.5, final_learning_rate=0.0)
    settings.weights.warmup_epochs = 5
    for epoch in (0, 1, 4, 5, 30):
        cosine = 0.25 * (1 + math.cos(math.pi * epoch / 50))
        rate = search_scalars(settings, epoch)["weights"]["learning_rate"]
        assert rate == pytest.approx(cosine * min(1, (epoch + 1) / 5), rel=1e-12)


def test_drop_path_grows_linearly():
    rates = [training_scalars(settings(), e)["drop_path"] for e in (0, 5)]
    assert rates == pytest.approx([0.0, 0.1])


def test_label_smoothing_is_the_definition():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    target = 0.9 * np.eye(5)[labels] + 0.1 / 5
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    want = -(target * log_p).sum(-1).mean()
    got = cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), 0.1)
    assert float(got) == pytest.approx(want, rel=1e-5)


def test_drop_path_zeroes_whole_images_and_keeps_the_mean():
    x = jnp.ones((4000, 2, 2, 1))
    y = np.asarray(drop_path(KEY, x, jnp.asarray(0.25)))
    assert set(np.unique(y).round(4)) == {0.0, np.float32(1 / 0.75).round(4)}
    assert (np.ptp(y, axis=(1, 2, 3)) == 0).all()
    assert y.mean() == pytest.approx(1, abs=0.03)


def test_identity_is_exempt_from_drop_path():
    for operation, exempt in (("skip_connect", True), ("max_pool_3x3", False)):
        choices = tuple(KeptEdge(2, source, operation) for source in (0, 1))
        cell = Genotype("darts", {"normal": CellGenotype(2, choices, (2,))})
        macro = get_space("darts").macro
        # One cell of the usual layout would reduce, and its skips be convolutions.
        plain = dataclasses.replace(macro, layout=lambda n: ("normal",) * n)
        net = Network(cell, plain, 3, 1, 4)
        images = jax.random.normal(KEY, (6, 8, 8, 1))
        variables = net.init(
            {"params": KEY, "drop_path": KEY}, images, jnp.zeros(()), False
        )
        variables = draw(KEY, variables)
        outs = [
            net.apply(
                variables,
                images,
                jnp.asarray(rate),
                True,
                rngs={"drop_path": KEY},
                mutable=["batch_stats"],
            )[0].main
            for rate in (0.0, 0.9)
        ]
        same = bool(jnp.allclose(*outs))
        assert same == exempt, operation


@pytest.mark.parametrize("size", [1, 2, 4, 8, 14])
@pytest.mark.parametrize("stride", [2, 3])
def test_the_auxiliary_head_fits_every_image(size, stride):
    head = AuxiliaryHead(5, stride, final_norm=True)
    x = jnp.ones((2, size, size, 3))
    variables = head.init(KEY, x, False)
    assert jax.eval_shape(lambda v: head.apply(v, x, False), variables).shape == (2, 5)


def brute_two_strongest(cell, alpha):
    """Every pair of incoming edges tried; the best by the sum of its weights."""
    p = np.exp(alpha) / np.exp(alpha).sum(-1, keepdims=True)
    found = {}
    for target in range(cell.inputs, cell.states):
        strength = {}
        for e, edge in enumerate(cell.edges):
            if edge.target == target:
                options = {
                    o: p[e, o] for o, op in enumerate(edge.operations) if op != "none"
                }
                best = max(options, key=options.get)
                strength[edge.source] = (options[best], edge.operations[best])
        pairs = itertools.combinations(strength, 2)
        best = max(pairs, key=lambda pair: sum(strength[s][0] for s in pair))
        found[target] = {(source, strength[source][1]) for source in best}
    return found


@pytest.mark.parametrize("name", ["darts", "s1", "s3"])
def test_two_strongest_equals_an_exhaustive_search(name):
    space = get_space(name)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        alpha = {k: rng.normal(size=c.shape) for k, c in space.cells.items()}
        genotype = two_strongest(space, alpha)
        for kind, cell in space.cells.items():
            want = brute_two_strongest(cell, alpha[kind])
            for target, kept in want.items():
                chosen = [c for c in genotype.cells[kind].choices if c.target == target]
                assert {(c.source, c.operation) for c in chosen} == kept


def test_argmax_includes_none_and_gives_the_benchmarks_string():
    space = get_space("nasbench201")
    alpha = np.zeros((6, 5))
    alpha[np.arange(6), [0, 1, 2, 3, 4, 0]] = 1.0
    text = argmax(space, {"normal": alpha}).to_nasbench201()
    assert text == (
        "|none~0|+|skip_connect~0|nor_conv_1x1~1|+"
        "|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    )


def test_random_genotypes_cover_the_space_and_repeat_by_seed():
    space = get_space("s3")
    drawn = [random_genotype(space, np.random.default_rng(i)) for i in range(40)]
    assert drawn[3] == random_genotype(space, np.random.default_rng(3))
    operations = {c.operation for g in drawn for c in g.cells["normal"].choices}
    assert operations == {"skip_connect", "sep_conv_3x3"}
    sources = {c.source for g in drawn for c in g.cells["normal"].choices}
    assert sources == set(range(5))


def test_a_cell_through_which_no_path_leads_is_noticed():
    text = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
    (cell,) = Genotype.from_nasbench201(text).cells.values()
    assert not cell.is_connected
    linked = text.replace("|none~0|+", "|skip_connect~0|+", 1)
    (cell,) = Genotype.from_nasbench201(linked).cells.values()
    assert cell.is_connected
