"""Quickstart on characters: a transformer on a part of Penn Treebank (`ptb.zip`).

Two and a half minutes. The searched chain ends near a test perplexity of 4.9 and the
random one of equal cost near 5.3; a unigram model of the same characters has 20.
"""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.task = "language"
    config.space = "transformer"
    config.data.name = "ptb_chars"
    config.language.update(tokens=200_000, held_out=20_000, window=64, patience=2)
    rates = {"embedding": 0.0, "inputs": 0.0, "hidden": 0.05, "output": 0.05}
    for part in (config.language.supernet, config.language.network):
        part.update(units=64, jitter=0.0, slowness=0.0)
        part.dropouts.update(rates)
    config.search.update(epochs=2, batch_size=16)
    config.search.architecture.learning_rate = 1e-2
    config.retrain.update(epochs=5, batch_size=16)
    for part in (config.search, config.retrain):
        part.weights.update(learning_rate=0.5, decay=0.0, clip=0.5)
    config.baseline.update(random_genotypes=1, equal_cost="parameters")
    return config
