"""Widths of a network's parts: their names, how they are rounded, how they are chosen.

This module needs the standard library only.
"""

STEM, FEATURES = "stem", "features"
"""Names of widths that are no cell's."""

_SHARE = "width_"


def rounded(width: float, divisor: int = 8) -> int:
    """To the nearest multiple, and up where that takes more than a tenth away.

    The rule of MobileNetV2's and EfficientNet's released code.
    """
    near = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return near if near >= 0.9 * width else near + divisor


def width_share(operation: str) -> float | None:
    """Of ``width_0.75`` 0.75; of an operation that is no choice of a width, None."""
    name, prefix, share = operation.partition(_SHARE)
    return float(share) if prefix and not name else None


def width_choice(share: float) -> str:
    """The operation that keeps a share of the channels, as `width_share` reads it."""
    return f"{_SHARE}{share:g}"
