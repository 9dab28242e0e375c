"""A small space with costs, its settings and images, for searches under a budget."""

import numpy as np

import darts_jax
from darts_jax.spaces.mobile import BlockStage, block_names, mobile_space


def images(count=96, side=8):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (count, side, side), dtype=np.uint8)
    labels = rng.integers(0, 3, count)
    return darts_jax.from_arrays(pixels[:64], labels[:64], pixels[64:], labels[64:])


def small():
    """Returns settings of a network that is quickly compiled."""
    stages = [BlockStage(16, 2, 2, block_names((3,), (3, 5)), (0.5, 1.0))]
    return mobile_space("small", stages, stem=8, features=16, stem_stride=1)


def settings(**search):
    config = darts_jax.default_config()
    config.space = "small"
    config.supernet.update(cells=1, channels=8)
    config.search.update(epochs=2, batch_size=16, costs="macs", **search)
    config.search.architecture.learning_rate = 0.1
    config.retrain.update(cells=1, channels=8, epochs=1, batch_size=16, pad=0, cutout=0)
    config.retrain.auxiliary_weight = 0.0
    return config
