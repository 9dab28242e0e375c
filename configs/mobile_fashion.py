"""A chain of mobile blocks with a budget, on Fashion-MNIST: 3 minutes on two cores."""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "mobile_small"
    config.data.update(name="fashion_mnist", images=2000, pad=2, flip=True)
    config.supernet.update(cells=1, channels=8)
    config.search.update(
        epochs=4,
        batch_size=64,
        train_fraction=0.5,
        relaxation="gumbel_softmax",
        temperature="5:0.5",
        costs="macs",
    )
    config.search.weights.learning_rate = 0.1
    config.search.architecture.update(learning_rate=0.02, decay=0.0)
    config.search.budget.update(rule="augmented", target=1.8)
    config.retrain.update(
        cells=1,
        channels=8,
        epochs=3,
        batch_size=64,
        pad=2,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.retrain.weights.learning_rate = 0.1
    config.baseline.update(random_genotypes=1, equal_cost="macs")
    return config
