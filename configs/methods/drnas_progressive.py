"""DrNAS, progressive on CIFAR-10: its paper's search, for an accelerator."""

from ml_collections import ConfigDict

from darts_jax.settings.methods import published_config


def get_config() -> ConfigDict:
    return published_config(
        "drnas_progressive",
        {
            "space": "darts_no_none",
            "supernet.cells": 20,
            "supernet.channels": 36,
            "supernet.partial_channels": 6,
            "search.warmup": 0.4,
            "search.weights.learning_rate": 0.1,
            "search.weights.final_learning_rate": 0.0,
            "search.architecture.learning_rate": 0.0006,
            "search.stages": (
                "supernet.partial_channels=6 search.epochs=25; "
                "supernet.partial_channels=4 search.operations=4 search.epochs=25"
            ),
            "retrain.drop_path": 0.3,
            "retrain.batch_size": 64,
        },
    )
