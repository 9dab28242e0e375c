"""FairDARTS on CIFAR-10: its paper's search, for an accelerator."""

from ml_collections import ConfigDict

from darts_jax.settings.methods import published_config


def get_config() -> ConfigDict:
    return published_config(
        "fair_darts",
        {
            "space": "darts_no_none",
            "search.batch_size": 128,
            "search.weights.learning_rate": 0.005,
            "search.architecture.learning_rate": 0.003,
        },
    )
