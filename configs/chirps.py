"""The DARTS cell with one-dimensional operations on generated signals: 3 minutes."""

from pathlib import Path

from ml_collections import ConfigDict

from darts_jax import load_config


def get_config() -> ConfigDict:
    config = load_config(Path(__file__).with_name("digits.py"))
    config.space = "darts_1d"
    config.data.update(name="chirps", pad=8, images=1200)
    config.search.epochs = 10
    config.search.architecture.learning_rate = 0.02
    config.retrain.update(channels=12, batch_size=64, pad=8)
    return config
