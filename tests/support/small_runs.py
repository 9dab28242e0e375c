"""Smallest search in which edges compete: its space, images and config."""

import numpy as np

import darts_jax
from darts_jax.settings.config import with_overrides
from darts_jax.spaces.graph import Cell, Macro, Space, dense_edges

BATCH = 8


def competing():
    """Returns the smallest space in which edges compete for a node."""
    operations = ("none", "skip_connect", "nor_conv_1x1")
    cell = Cell(2, 1, dense_edges(2, 1, operations), output=(2,))
    macro = Macro(lambda cells: ("normal",) * cells, (), 1, False, False)
    return Space("tiny", {"normal": cell}, macro, "argmax")


def images(size=4, count=4 * BATCH):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % 3
    return darts_jax.from_arrays(pixels, labels, pixels[:BATCH], labels[:BATCH])


def config(epochs=2, **settings):
    made = darts_jax.default_config()
    made.space = "tiny"  # registered by the fixture of that name
    made.supernet.update(cells=1, channels=2)
    made.search.update(epochs=epochs, batch_size=BATCH)
    made.search.architecture.learning_rate = 0.1
    return with_overrides(made, [f"{k}={v}" for k, v in settings.items()])
