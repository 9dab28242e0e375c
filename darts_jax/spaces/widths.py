"""Widths of a network's parts: their names, rounding and choice.

This module needs the standard library only.
"""

STEM = "stem"
FEATURES = "features"
"""Names of the widths that belong to no cell."""

_SHARE = "width_"
_DIVISOR = 8


def rounded(width: float) -> int:
    """Returns the nearest multiple of 8; the next where that loses more than a tenth.

    The rule of MobileNetV2's and EfficientNet's released code.

    Args:
      width: number of channels.
    """
    near = max(_DIVISOR, int(width + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return near if near >= 0.9 * width else near + _DIVISOR


def width_share(operation: str) -> float | None:
    """Returns the share of its cell's channels that a choice of a width keeps.

    Files name such a choice like an operation. No other function reads this name.

    Args:
      operation: its name, as ``width_0.75``.

    Returns:
      The share, here 0.75; None for an operation that is no choice of a width.
    """
    name, prefix, share = operation.partition(_SHARE)
    return float(share) if prefix and not name else None


def width_choice(share: float) -> str:
    """Returns the name of the choice that keeps a share of the channels.

    Args:
      share: as `width_share` reads it from the name.
    """
    return f"{_SHARE}{share:g}"
