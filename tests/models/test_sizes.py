"""Networks over images of every size, odd ones too; nothing is compiled but a block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax import SPACES, default_config
from darts_jax.cost.modules import module_cost
from darts_jax.cost.networks import network_cost
from darts_jax.cost.sites import placed_blocks
from darts_jax.data import from_sources
from darts_jax.errors import InputError
from darts_jax.models.functional import zero_mixture
from darts_jax.models.macro import Residual
from darts_jax.models.network import Network
from darts_jax.models.operations.layers import draw
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.moves import sample_genotype
from darts_jax.tasks.detection.head import DetectionHead, grid_of
from darts_jax.tasks.image_networks import make_network, make_supernet

NB201 = get_space("nasbench201")
CELL = Genotype.from_nasbench201(
    "|nor_conv_3x3~0|+|skip_connect~0|avg_pool_3x3~1|+|none~0|nor_conv_1x1~1|"
    "skip_connect~2|"
)


def streams(key):
    return dict.fromkeys(("params", "noise", "drop_path"), key)


def shapes_of(net, *arguments):
    """Returns the shapes of what a network gives in training, without compiling it."""
    return jax.eval_shape(
        lambda key: net.init_with_output(streams(key), *arguments, True)[0],
        jax.random.key(0),
    )


def images(height, width, channels=3):
    return jnp.zeros((2, height, width, channels))


def a_set(height, width, channels=3):
    one = [(np.zeros((height, width, channels), np.uint8), 0)]
    named = {"class_names": ["a", "b"], "image_shape": (height, width, channels)}
    moments = {"mean": [0.5] * channels, "std": [1.0] * channels}
    return from_sources(one, one, **named, **moments)


def test_the_reduction_of_nasbench201_takes_every_size():
    for height, width in ((1, 1), (1, 2), (7, 8), (8, 7), (9, 9), (33, 12), (511, 8)):
        x = images(height, width, 4)
        y = shapes_of(Residual(6), x, x)
        assert y.shape == (2, -(-height // 2), -(-width // 2), 6)


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (1, 4)])
def test_the_reduction_pools_what_is_inside(shape):
    """The pooled path by its definition, beside convolutions that give nothing."""
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    block, key = Residual(5), jax.random.key(0)
    made = draw(key, block.init(key, x, x, False))
    params = made["params"]
    for name in ("ReLUConvBN_0", "ReLUConvBN_1"):
        params[name] = jax.tree.map(jnp.zeros_like, params[name])
    got = block.apply({**made, "params": params}, x, x, False)
    kernel = np.asarray(params["project"]["kernel"])[0, 0]
    for i in range(-(-shape[0] // 2)):
        for j in range(-(-shape[1] // 2)):
            window = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
            np.testing.assert_allclose(got[:, i, j], window @ kernel, atol=1e-6)


@pytest.mark.parametrize("imagenet", [False, True])
@pytest.mark.parametrize("size", [(33, 12), (50, 75)])
def test_costs_of_nasbench201_follow_odd_sizes(size, imagenet):
    net = Network(CELL, NB201.macro, 10, 1, 4, imagenet)
    shape = (*size, 3)
    assert network_cost(net, shape) == module_cost(net, (shape,), (jnp.zeros(()),))
    logits = shapes_of(net, images(*size), jnp.zeros(()))
    assert logits.main.shape == (2, 10)
    height, width, _ = placed_blocks(net, shape)[-1].output
    halvings = 2 + 3 * imagenet
    assert (height, width) == tuple(-(-side // 2**halvings) for side in size)


def test_objects_are_found_in_odd_images():
    net = Network(CELL, NB201.macro, 2, 1, 4, top=DetectionHead(2, 4))
    said = shapes_of(net, images(50, 50), jnp.zeros(())).main
    assert said.classes.shape == (2, 13, 13, 2)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), said)
    assert len(grid_of(zeros, (50, 50)).centres) == 169


SIZES = ((33, 12, 3), (30, 37, 3), (225, 75, 1))
# One of every way to stack cells; the others differ in what stands on edges.
STACKS = ("darts", "nasbench201", "mobile_small")
IMAGES = [
    name
    for name, space in SPACES.items()
    if space.family == "cells" and space.macro.axes == 2
]
OTHERS = [
    pytest.param(name, marks=pytest.mark.slow) for name in IMAGES if name not in STACKS
]


@pytest.mark.parametrize("space", [*STACKS, *OTHERS])
def test_every_image_space_takes_every_size_or_says_what_it_needs(space):
    config, macro = default_config(), SPACES[space].macro
    config.space = space
    small = {"cells": 1 if "nasbench" in space else 3, "channels": 4}
    config.supernet.update(small)
    config.retrain.update(small)
    rng = np.random.default_rng(0)
    mixture = zero_mixture(SPACES[space])
    for shape in SIZES:
        data = a_set(*shape)
        least = 2 ** macro.halvings(small["cells"])
        if min(shape[:2]) < least:
            with pytest.raises(InputError, match=f"need at least {least}x{least}"):
                make_supernet(config, data)
            continue
        net = make_supernet(config, data)
        assert shapes_of(net, images(*shape), mixture).shape == (2, 2)
        large = min(shape[:2]) >= 8 * least and not macro.widths
        config.retrain.network = "imagenet" if large else "cifar"
        net = make_network(config, data, sample_genotype(SPACES[space], rng))
        logits = shapes_of(net, images(*shape), jnp.zeros(()))
        assert logits.main.shape == (2, 2)
