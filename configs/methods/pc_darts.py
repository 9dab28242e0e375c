"""PC-DARTS on CIFAR-10: its paper's search, for an accelerator."""

from ml_collections import ConfigDict

from darts_jax.settings.methods import published_config


def get_config() -> ConfigDict:
    return published_config(
        "pc_darts",
        {
            "search.batch_size": 256,
            "search.weights.learning_rate": 0.1,
            "search.weights.final_learning_rate": 0.0,
            "search.architecture.learning_rate": 0.0006,
            "retrain.drop_path": 0.3,
        },
    )
