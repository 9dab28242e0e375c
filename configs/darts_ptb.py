"""DARTS's recurrent cell on Penn Treebank at its published size: for an accelerator.

Liu et al. (2019) and their code. It needs `ptb.zip`.
"""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.task = "language"
    config.space = "recurrent"
    config.data.name = "ptb"
    config.search.update(epochs=50, batch_size=256)
    config.search.architecture.update(learning_rate=3e-3, beta1=0.9)
    config.retrain.update(epochs=8000, batch_size=64, schedule="linear", drop_path=0.0)
    config.language.network.dropouts.words = 0.1
    for part, decay in ((config.search, 5e-7), (config.retrain, 8e-7)):
        part.weights.update(learning_rate=20.0, final_learning_rate=20.0, momentum=0.0)
        part.weights.update(decay=decay, clip=0.25)
    return config
