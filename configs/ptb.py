"""Quickstart on text: the recurrent cell on a part of Penn Treebank.

About three minutes of two cores' time. The searched and the random cell end near a test
perplexity of 320, where a unigram model of the same words has 685.
"""

from pathlib import Path

from ml_collections import ConfigDict

from darts_jax import load_config


def get_config() -> ConfigDict:
    config = load_config(Path(__file__).with_name("darts_ptb.py"))
    config.language.update(tokens=100_000, window=20, longer=8, patience=2)
    rates = {"words": 0.0, "embedding": 0.0}
    rates |= dict.fromkeys(("inputs", "hidden", "output"), 0.1)
    for part in (config.language.supernet, config.language.network):
        part.units = 64
        part.dropouts.update(rates)
    config.language.network.jitter = 3.0
    config.search.update(epochs=1, batch_size=64)
    config.search.architecture.learning_rate = 1e-2
    config.retrain.update(epochs=3, batch_size=20)
    config.baseline.random_genotypes = 1
    return config
