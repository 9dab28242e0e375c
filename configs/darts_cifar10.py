"""DARTS on CIFAR-10 at its published size (Liu et al., 2019): for an accelerator."""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.name = "cifar10"
    config.data.pad = 4
    config.data.flip = True
    return config
