"""R-DARTS, drop path on CIFAR-10: its paper's search, for an accelerator."""

from ml_collections import ConfigDict

from darts_jax.settings.methods import published_config


def get_config() -> ConfigDict:
    return published_config(
        "r_darts_dp",
        {
            "data.cutout": 16,
        },
    )
