"""Settings of how images are read, and of how those that train are changed."""

from darts_jax.data.reading import FITS, parse_size
from darts_jax.settings.setting import (
    COUNT,
    SHARE,
    UNTIL_1,
    OneOf,
    Parsed,
    Range,
    Setting,
)


def augmentations(
    part: str, whose: str, *, pad: int = 0, flip: bool = False, cutout: int = 0
) -> dict[str, Setting]:
    """Returns the settings of random changes of training images.

    Args:
      part: section of the config.
      whose: words for the images.
      pad: default of the padding.
      flip: default of the mirroring.
      cutout: default of the square.
    """
    colours = {
        "brightness": "levels",
        "contrast": "differences from the mean gray",
        "saturation": "differences from each pixel's gray",
    }
    return {
        f"{part}.crop_area": Setting(
            1.0,
            f"Least share of {whose} that a crop at random keeps, which is scaled to "
            "their size (0.08 for ImageNet); 1: no such crop.",
            UNTIL_1,
        ),
        f"{part}.pad": Setting(
            pad,
            f"Padding of {whose}, before a crop at random; of signals, most steps of a "
            "shift.",
            COUNT,
            "pixels",
        ),
        f"{part}.flip": Setting(flip, f"Mirrors {whose} at random."),
        **{
            f"{part}.jitter.{name}": Setting(
                0.0,
                f"Most by which a factor at random, of {what}, differs from 1.",
                Range(least=0, most=1),
            )
            for name, what in colours.items()
        },
        f"{part}.jitter.hue": Setting(
            0.0,
            "Most by which hues move at random; 1 is once around.",
            Range(least=0, most=0.5),
        ),
        f"{part}.noise": Setting(
            0.0,
            f"Deviation of normal noise that is added to {whose}, once normalised.",
            COUNT,
        ),
        f"{part}.cutout": Setting(
            cutout,
            f"Side of a square that is cut out of {whose} at random; 0: none.",
            COUNT,
            "pixels",
        ),
    }


READING_SCHEMA: dict[str, Setting] = {
    "data.size": Setting(
        "",
        "Height and width that images are brought to; empty: as stored.",
        Parsed(parse_size, "such as 32 or 48x64"),
        "pixels",
    ),
    "data.fit": Setting(
        "crop",
        "How an image comes to its size: crop at the centre, or squeeze each side.",
        OneOf(FITS),
    ),
    "data.channels": Setting(
        0,
        "Channels of an image: 1 gray, 3 RGB; 0: as stored, of a stream RGB.",
        OneOf((1, 3, 0)),
    ),
    "data.bits": Setting(
        8,
        "Bits that files of 16 bits a channel use, of which the upper 8 count.",
        Range(least=8, most=16),
        "bits",
    ),
    "data.background": Setting(
        255, "Gray level behind transparent pixels.", Range(least=0, most=255)
    ),
    "data.skip_unreadable": Setting(
        False, "Leaves out files of a folder that cannot be read, and names them."
    ),
    "data.short_side": Setting(
        0,
        "Shorter side that an image is scaled to before its centre is cropped to its "
        "size (256 for ImageNet's test); 0: just covers it.",
        COUNT,
        "pixels",
    ),
    "data.label": Setting(
        "", "Column of CSV files with the labels; empty: label, class or target."
    ),
    "data.top": Setting(
        0,
        "Also tells how often the right class is among this many; 0: does not.",
        COUNT,
        "classes",
    ),
}
"""Dotted name of a setting -> its entry, a part of `schema.SCHEMA`."""

NETWORKS = ("cifar", "imagenet")
"""Stems of a network: one convolution, or three of stride 2."""

RETRAIN_SCHEMA: dict[str, Setting] = {
    "retrain.mixup": Setting(
        0.0,
        "Parameter of the Beta distribution by whose shares images and labels are "
        "mixed; 0: they are not.",
        COUNT,
    ),
    "retrain.ema_decay": Setting(
        0.0,
        "Decay of the exponential moving averages of weights and statistics that are "
        "tested in their place; 0: there are none.",
        SHARE,
        scalar="ema_decay",
    ),
}
"""Dotted name of a setting -> its entry, a part of `schema.SCHEMA`."""
