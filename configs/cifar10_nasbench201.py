"""NAS-Bench-201's space, reduced, on CIFAR-10: about 10 minutes on two cores."""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "nasbench201"
    config.data.name = "cifar10"
    config.data.pad = 4
    config.data.flip = True
    config.supernet.update(cells=1, channels=4)
    config.search.update(epochs=1, batch_size=128)
    config.search.architecture.learning_rate = 3e-3
    config.retrain.update(
        cells=1,
        channels=8,
        epochs=1,
        batch_size=128,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.retrain.weights.learning_rate = 0.1
    config.baseline.random_genotypes = 1
    return config
