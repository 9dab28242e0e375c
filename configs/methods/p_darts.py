"""P-DARTS on CIFAR-10: its paper's search, for an accelerator."""

from ml_collections import ConfigDict

from darts_jax.settings.methods import published_config


def get_config() -> ConfigDict:
    return published_config(
        "p_darts",
        {
            "search.batch_size": 96,
            "search.weights.final_learning_rate": 0.0,
            "search.architecture.learning_rate": 0.0006,
            "search.stages": (
                "supernet.cells=5 search.epochs=25 search.corruption.strength=0; "
                "supernet.cells=11 search.epochs=25 search.operations=5 "
                "search.corruption.strength=0.4:0; "
                "supernet.cells=17 search.epochs=25 search.operations=3 "
                "search.corruption.strength=0.7:0"
            ),
            "retrain.drop_path": 0.3,
            "retrain.batch_size": 128,
        },
    )
