"""Tables of shares with a number and a shade in every cell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from darts_jax.plots.style import (
    FAMILY,
    INK,
    LABEL_SIZE,
    PALE,
    TEXT_SIZE,
    add_axes,
    widest,
    write,
)

SHADES = colormaps["cividis"]  # its lightness rises, in colour and in grey
CELL = 0.52, 0.26  # width and height of a cell
_TILT = np.pi / 4  # of names over columns


def names_height(names: Sequence[str]) -> float:
    """That the names over the columns take."""
    return (widest(names) + 0.12) * float(np.sin(_TILT)) + 0.06


def names_width(names: Sequence[str], size: float = TEXT_SIZE) -> float:
    """That the names beside the rows take."""
    return widest(names, size) + 0.12


def draw_heatmap(
    figure: Figure,
    corner: tuple[float, float],
    shares: Float[np.ndarray, "row column"],
    rows: Sequence[str],
    columns: Sequence[str],
) -> Axes:
    """Draws a table into a figure; NaN is a cell that there is not.

    Args:
      corner: left and top of the cells; names stand to the left and above.
      shares: in [0, 1]; the shades span 0 to the largest.
    """
    height, width = shares.shape
    axes = add_axes(figure, *corner, width * CELL[0], height * CELL[1])
    highest = max(float(np.nanmax(np.append(shares, 0.0))), 1e-9)
    axes.set_facecolor(PALE)
    axes.pcolormesh(
        np.ma.masked_invalid(shares),
        cmap=SHADES,
        vmin=0,
        vmax=highest,
        edgecolors="white",
        linewidth=1.0,
    )
    axes.set_ylim(height, 0)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK, labelfontfamily=FAMILY)
    axes.xaxis.tick_top()
    tilted: dict[str, Any] = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"}
    axes.set_xticks(np.arange(width) + 0.5, columns, size=LABEL_SIZE, **tilted)
    axes.set_yticks(np.arange(height) + 0.5, rows, size=TEXT_SIZE)
    for row, column in np.argwhere(np.isfinite(shares)):
        share = float(shares[row, column])
        ink = _ink(share / highest)
        write(axes, column + 0.5, row + 0.5, f"{share:.2f}", color=ink, ha="center")
    return axes


def _ink(shade: float) -> str:
    """White or black, whichever has more contrast (WCAG 2) with a shade."""
    parts = np.array(to_rgb(SHADES(shade)))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"
