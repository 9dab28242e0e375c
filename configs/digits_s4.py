"""Quickstart: the space S4 on scikit-learn's digits (8x8), minutes on two cores.

Every edge of a cell of S4 (Zela et al., 2020, section 3) is a separable convolution or
noise. A search that works tells them apart, and random cells show what it is worth.
"""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "s4"
    config.data.pad = 1
    config.supernet.update(cells=3, channels=4)
    config.search.update(epochs=8, batch_size=64)
    config.search.architecture.learning_rate = 0.03
    config.retrain.update(
        cells=3,
        channels=4,
        epochs=8,
        batch_size=96,
        pad=1,
        flip=False,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.retrain.weights.learning_rate = 0.05
    config.baseline.update(random_genotypes=16, repeats=3, execution="shared")
    config.checkpoint.every_epochs = 4
    return config
