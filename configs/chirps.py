"""The DARTS cell with one-dimensional operations on generated signals: 3 minutes."""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "darts_1d"
    config.data.update(name="chirps", pad=8, images=1200)
    config.supernet.update(cells=3, channels=8)
    config.search.update(epochs=10, batch_size=64)
    config.search.architecture.learning_rate = 0.02
    config.retrain.update(
        cells=3,
        channels=12,
        epochs=12,
        batch_size=64,
        pad=8,
        flip=False,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.retrain.weights.learning_rate = 0.05
    config.baseline.random_genotypes = 3
    return config
