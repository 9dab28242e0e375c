"""A chain of mobile blocks for ImageNet below 600 million multiply-accumulates.

The space is ProxylessNAS's (Cai et al., 2019). The search follows no paper: it holds
the expected multiply-accumulates to the budget of the "mobile setting", by which DARTS
and its successors compare themselves on ImageNet. The recipe of training is that of
mobile networks: cosine, label smoothing, moving averages; for an accelerator, days.
"""

from ml_collections import ConfigDict

from darts_jax import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.space = "mobile"
    config.data.update(
        name="stream:tfds:imagenet2012",
        short_side=256,
        top=5,
        crop_area=0.08,
        flip=True,
        workers=16,
    )
    config.supernet.update(cells=1, channels=32, dtype="bfloat16")
    config.search.update(
        images=160_144,
        train_fraction=0.8,
        batch_size=256,
        relaxation="gumbel_softmax",
        temperature="5:0.5",
        costs="macs",
    )
    config.search.weights.update(
        learning_rate=0.1, final_learning_rate=0.0, decay=4e-5, warmup_epochs=5
    )
    config.search.architecture.update(learning_rate=6e-3, decay=0.0)
    config.search.budget.update(rule="augmented", target=600.0)
    config.retrain.update(
        cells=1,
        channels=32,
        epochs=250,
        batch_size=1024,
        dtype="bfloat16",
        crop_area=0.08,
        pad=0,
        flip=True,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
        label_smoothing=0.1,
        schedule="cosine",
        warmup_epochs=5,
        ema_decay=0.9999,
    )
    config.retrain.jitter.update(brightness=0.4, contrast=0.4, saturation=0.4)
    config.retrain.weights.update(learning_rate=0.4, decay=4e-5)
    config.baseline.update(random_genotypes=0, equal_cost="macs")
    return config
