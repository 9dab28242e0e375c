"""Settings of the tasks language and detection, each a section of the config.

Sizes and rates of ``language`` are those of Liu et al. (2019).
"""

from darts_jax.settings.setting import (
    ABOVE_0,
    COUNT,
    POSITIVE,
    SHARE,
    UNTIL_1,
    Range,
    Setting,
)


def _reader(part: str, units: int, jitter: float) -> dict[str, Setting]:
    """Returns the settings of a text's network: of the supernet or of a genotype's."""
    rates = {
        "words": (0.0, "whole words of the vocabulary"),
        "embedding": (0.2, "units of the embedded text"),
        "inputs": (0.75, "units that enter the recurrence"),
        "hidden": (0.25, "units of hidden states, within the recurrence"),
        "output": (0.75, "units that predict"),
    }
    return {
        f"language.{part}.units": Setting(units, "Width of the cell.", POSITIVE),
        f"language.{part}.jitter": Setting(
            jitter, "Standard deviation of the windows' lengths.", COUNT, unit="tokens"
        ),
        **{
            f"language.{part}.dropouts.{name}": Setting(
                rate, f"Rate at which {what} are dropped.", SHARE
            )
            for name, (rate, what) in rates.items()
        },
        f"language.{part}.activation": Setting(
            0.0, "Weight, in the loss, of the squares of hidden states.", COUNT
        ),
        f"language.{part}.slowness": Setting(
            1e-3, "Weight, in the loss, of the squares of their changes.", COUNT
        ),
    }


TASK_SCHEMA: dict[str, Setting] = {
    "language.tokens": Setting(
        0, "The first tokens to train on; 0: all.", COUNT, "tokens"
    ),
    "language.held_out": Setting(
        0, "The first tokens to validate and to test on; 0: all.", COUNT, "tokens"
    ),
    "language.valid_fraction": Setting(
        0.1,
        "Validation share of a text that has no parts of its own.",
        Range(above=0, below=0.5),
    ),
    "language.test_fraction": Setting(
        0.1,
        "Test share of a text that has no parts of its own.",
        Range(above=0, below=0.5),
    ),
    "language.window": Setting(
        35, "Tokens that are read, and learned from, at once.", Range(least=2), "tokens"
    ),
    "language.longer": Setting(
        20, "Most by which a window is longer than that.", COUNT, "tokens"
    ),
    "language.test_batch_size": Setting(
        10, "Texts that are read side by side in a test.", POSITIVE, "texts"
    ),
    "language.patience": Setting(
        5,
        "Epochs without a better score before the weights are averaged.",
        COUNT,
        "epochs",
    ),
    **_reader("supernet", units=300, jitter=0.0),
    **_reader("network", units=850, jitter=5.0),
    "detection.side": Setting(
        48, "Side of an image, to which others are scaled.", Range(least=8), "pixels"
    ),
    "detection.boxes": Setting(4, "Most boxes of an image.", POSITIVE, "boxes"),
    "detection.scenes": Setting(
        1000, "Scenes that are generated to train on.", POSITIVE, "scenes"
    ),
    "detection.test_scenes": Setting(
        200, "Scenes that are generated to test on.", POSITIVE, "scenes"
    ),
    "detection.seed": Setting(0, "Seed of the generated scenes.", COUNT),
    "detection.channels": Setting(32, "Channels of the head.", POSITIVE, "channels"),
    "detection.radius": Setting(
        1.5,
        "Distance from a box's middle within which it is learned.",
        ABOVE_0,
        "strides",
    ),
    "detection.box_weight": Setting(
        2.0, "Weight of the boxes' loss beside the classes'.", COUNT
    ),
    "detection.candidates": Setting(
        100, "Most certain boxes, of which an image's are chosen.", POSITIVE, "boxes"
    ),
    "detection.least": Setting(0.05, "Least score of a detection.", SHARE),
    "detection.overlap": Setting(
        0.6, "Overlap of two boxes of a class above which one is dropped.", UNTIL_1
    ),
}
"""Dotted name of a setting -> its entry, a part of `schema.SCHEMA`."""
