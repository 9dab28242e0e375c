"""Quickstart: NAS-Bench-201's cell finds digits on textured grounds."""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.task = "detection"
    config.space = "nasbench201"
    config.data.name = "generated:digits"
    config.supernet.update(cells=1, channels=8)
    config.search.update(epochs=2, batch_size=20)
    config.search.architecture.learning_rate = 3e-2
    config.retrain.update(
        cells=1,
        channels=16,
        epochs=6,
        batch_size=20,
        pad=0,
        flip=False,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.retrain.weights.learning_rate = 0.1
    config.baseline.update(random_genotypes=1, equal_cost="macs")
    return config
