"""Regression: a perceptron that chooses its columns, on a table: a minute."""

from pathlib import Path

from ml_collections import ConfigDict

from darts_jax import load_config


def get_config() -> ConfigDict:
    config = load_config(Path(__file__).with_name("breast_cancer.py"))
    config.task = "regression"
    config.space = "mlp_10"
    config.data.name = "diabetes"
    return config
