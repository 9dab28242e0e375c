"""PC-DARTS on ImageNet (Xu et al., 2020): for eight accelerators, 11.5 h and days.

The search takes one image in eight, as 224x224, by the supernet whose stem halves them
three times. The network of 48 channels and 14 cells has below 600 million
multiply-accumulates with the published cells (`--genotype PC_DARTS_image`).
`docs/imagenet.md` says what departs from the paper's code.
"""

from ml_collections import ConfigDict

from darts_jax import apply_method, default_config


def get_config() -> ConfigDict:
    config = apply_method(default_config(), "pc_darts")
    config.data.update(
        name="stream:tfds:imagenet2012",
        short_side=256,
        top=5,
        crop_area=0.08,
        flip=True,
        workers=16,
    )
    config.supernet.update(network="imagenet", partial_channels=2, dtype="bfloat16")
    config.search.update(
        images=160_144,  # 12.5 %: 10 % for the weights, 2.5 % for the architecture
        train_fraction=0.8,
        batch_size=1024,
        warmup=0.7,
    )
    config.search.weights.update(
        learning_rate=0.5, final_learning_rate=0.0, warmup_epochs=5
    )
    config.search.architecture.learning_rate = 6e-3
    config.retrain.update(
        network="imagenet",
        cells=14,
        channels=48,
        epochs=250,
        batch_size=1024,
        dtype="bfloat16",
        crop_area=0.08,
        pad=0,
        flip=True,
        cutout=0,
        drop_path=0.0,
        label_smoothing=0.1,
        schedule="flattened",
        warmup_epochs=5,
    )
    config.retrain.jitter.update(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
    config.retrain.weights.update(learning_rate=0.5, decay=3e-5)
    config.baseline.random_genotypes = 0  # each would take as long again
    return config
