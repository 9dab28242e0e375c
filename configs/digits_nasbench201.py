"""NAS-Bench-201's cell on scikit-learn's digits, small: an ablation in minutes.

A search compiles in some 10 s on two cores and takes some 10 s.
"""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "nasbench201"
    config.data.pad = 1
    config.supernet.update(cells=1, channels=4)
    config.search.update(epochs=8, batch_size=32)
    config.search.weights.learning_rate = 0.1
    config.search.architecture.learning_rate = 0.03
    config.retrain.update(cells=1, channels=8, epochs=12, pad=1, flip=False, cutout=0)
    config.retrain.update(drop_path=0.0, auxiliary_weight=0.0)
    config.retrain.weights.learning_rate = 0.05
    config.baseline.random_genotypes = 3
    return config
