"""Space S2, reduced, on Fashion-MNIST: about 5 minutes on two cores."""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "s2"
    config.data.name = "fashion_mnist"
    config.data.pad = 2
    config.data.flip = True
    config.supernet.update(cells=3, channels=4)
    config.search.update(epochs=1, batch_size=128, train_fraction=0.1)
    config.search.architecture.learning_rate = 3e-3
    config.retrain.update(
        cells=3,
        channels=8,
        epochs=1,
        batch_size=96,
        pad=2,
        cutout=8,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.baseline.random_genotypes = 1
    return config
