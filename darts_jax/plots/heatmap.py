"""Heatmaps: tables of shares with a number and a shade in every cell."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from darts_jax.plots import style

SHADES = colormaps["cividis"]
"""Colours of shares; their lightness rises, in colour and in grey."""

CELL_WIDTH = 0.52
CELL_HEIGHT = 0.26

_TILT = np.pi / 4  # of names over columns


def names_height(names: Sequence[str]) -> float:
    """Returns the height in inches of the tilted names over the columns.

    Args:
      names: the names.
    """
    return (style.widest_text(names) + 0.12) * float(np.sin(_TILT)) + 0.06


def names_width(names: Sequence[str], size: float = style.TEXT_SIZE) -> float:
    """Returns the width in inches of the names beside the rows.

    Args:
      names: the names.
      size: size of their letters, in points.
    """
    return style.widest_text(names, size) + 0.12


def names_overhang(names: Sequence[str], margin: float = 0.1) -> float:
    """Returns the room in inches to the right of the cells.

    The tilted name of the last column reaches beyond its cell.

    Args:
      names: the names over the columns.
      margin: room beyond the name.
    """
    return max(margin, 0.75 * style.widest_text(names) - CELL_WIDTH / 2 + margin)


def draw_heatmap(
    figure: Figure,
    left: float,
    top: float,
    shares: Float[np.ndarray, "row column"],
    rows: Sequence[str],
    columns: Sequence[str],
) -> Axes:
    """Draws a table of shares into a figure.

    Args:
      figure: the figure.
      left: left side of the cells, in inches; the names of rows stand left of it.
      top: upper side of the cells, in inches; the names of columns stand above.
      shares: shares in [0, 1]; the shades span 0 to the largest. NaN: no such cell.
      rows: names of the rows.
      columns: names of the columns.
    """
    height, width = shares.shape
    axes = style.add_axes(figure, left, top, width * CELL_WIDTH, height * CELL_HEIGHT)
    highest = max(float(np.nanmax(np.append(shares, 0.0))), 1e-9)
    axes.set_facecolor(style.PALE)
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
    axes.tick_params(length=0, labelcolor=style.INK, labelfontfamily=style.FAMILY)
    axes.xaxis.tick_top()
    axes.set_xticks(
        np.arange(width) + 0.5,
        columns,
        size=style.LABEL_SIZE,
        rotation=45,
        ha="left",
        rotation_mode="anchor",
    )
    axes.set_yticks(np.arange(height) + 0.5, rows, size=style.TEXT_SIZE)
    for row, column in np.argwhere(np.isfinite(shares)):
        share = float(shares[row, column])
        ink = _ink(share / highest)
        text = f"{share:.2f}"
        style.write_text(axes, column + 0.5, row + 0.5, text, color=ink, ha="center")
    return axes


def _ink(shade: float) -> str:
    """Returns white or black, whichever has more contrast (WCAG 2) with a shade."""
    parts = np.array(to_rgb(SHADES(shade)))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"
