"""A perceptron that chooses its columns, on scikit-learn's breast cancer: a minute."""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "mlp_30"
    config.data.name = "breast_cancer"
    config.supernet.update(cells=1, channels=64)
    config.search.update(epochs=30, batch_size=64)
    config.search.weights.learning_rate = 0.05
    config.search.architecture.learning_rate = 0.01
    config.retrain.update(
        cells=1,
        channels=64,
        epochs=30,
        batch_size=64,
        pad=0,
        flip=False,
        cutout=0,
        noise=0.1,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.retrain.weights.learning_rate = 0.05
    config.baseline.random_genotypes = 3
    return config
