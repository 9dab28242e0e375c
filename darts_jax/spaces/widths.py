"""Widths of a network's parts: their names, rounding and choice.

Choices that are no operations have names beside those of operations: how wide a cell
is, and which columns of a table a network reads.

This module needs the standard library only.
"""

STEM = "stem"
FEATURES = "features"
"""Names of the widths that belong to no cell."""

COLUMNS = "columns"
"""Kind of cell whose edges choose columns: edge ``e`` decides on column ``e``.

It stands in no layout, as it decides what enters the network.
"""

TAKE = "take"
LEAVE_OUT = "leave_out"
"""Names of the choices of an edge that decides on a column."""

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


def is_structural(operation: str) -> bool:
    """Returns whether a name is of a choice that no module of an edge carries out.

    Args:
      operation: its name.
    """
    return operation in (TAKE, LEAVE_OUT) or width_share(operation) is not None


def width_choice(share: float) -> str:
    """Returns the name of the choice that keeps a share of the channels.

    Args:
      share: as `width_share` reads it from the name.
    """
    return f"{_SHARE}{share:g}"
