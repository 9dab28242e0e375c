"""Picture of a user's network: its choices from input to output, with their options.

What a network does between two choices is the user's; the picture has the choices in
the order in which the network asks for them. An option is a box, filled as far as its
weight reaches; what is chosen has a heavy frame.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from darts_jax.plots.style import (
    FAINT_INK,
    INK,
    PALE,
    make_figure,
    text_width,
    write_text,
)

_ROW = 0.62  # inches from one choice to the next
_BOX = 0.34  # height of an option
_GAP = 0.12
_MARGIN = 0.3
_PADDING = 0.24
_LEAST = 0.6  # width of an option
_WIDEST = 9.0  # of a row of options, before it is broken
_FILL = "#9ec3e6"

Weights = Mapping[str, Float[np.ndarray, " option"]]


def draw_choices(
    options: Mapping[str, Sequence[str]],
    chosen: Mapping[str, str],
    weights: Weights | None = None,
) -> Figure:
    """Draws the choices of a network, one below the other.

    Args:
      options: name of a choice -> names of its options, in order.
      chosen: name of a choice -> the option that is taken.
      weights: name of a choice -> weight of each option, 0 to 1; None: none is shown.

    Returns:
      The figure; its label describes it in a sentence.
    """
    names = max(text_width(name, 11) for name in options) + 0.3
    # From here on a length is in inches.
    rows = {name: _break(own, weights is not None) for name, own in options.items()}
    lines = sum(map(len, rows.values()))
    widest = max(_width(row) for own in rows.values() for row in own)
    width = 2 * _MARGIN + names + widest
    height = 2 * _MARGIN + _ROW * (lines + 2)
    figure = make_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    spine = _MARGIN + names - 0.15
    top, bottom = _MARGIN + _ROW / 2, height - _MARGIN - _ROW / 2
    axes.plot([spine, spine], [top, bottom], color=FAINT_INK, lw=1.2, zorder=0)
    for y, end in ((top, "input"), (bottom, "output")):
        write_text(axes, spine - 0.15, y, end, color=FAINT_INK, ha="right")
        axes.plot([spine], [y], "o", color=FAINT_INK, ms=5)
    y = top
    for name, own in rows.items():
        mine = (
            None
            if weights is None
            else dict(zip(options[name], np.asarray(weights[name], float), strict=True))
        )
        for i, row in enumerate(own):
            y += _ROW
            if not i:
                write_text(axes, spine - 0.15, y, name, size=11, ha="right")
                axes.plot([spine], [y], "o", color=INK, ms=5)
            _draw_row(axes, (spine + 0.15, y), row, chosen[name], mine)
    told = ", ".join(f"{name} {chosen[name]}" for name in options)
    figure.set_label(f"The choices of a network, from input to output: {told}.")
    return figure


def _break(options: Sequence[str], weighted: bool) -> list[list[tuple[str, float]]]:
    """Returns rows of (option, width of its box) that are not too wide."""
    rows: list[list[tuple[str, float]]] = [[]]
    for option in options:
        text = f"{option}  0.00" if weighted else option
        wide = max(_LEAST, text_width(text, 10) + _PADDING)
        if rows[-1] and _width([*rows[-1], (option, wide)]) > _WIDEST:
            rows.append([])
        rows[-1].append((option, wide))
    return rows


def _width(row: Sequence[tuple[str, float]]) -> float:
    return sum(wide + _GAP for _, wide in row)


def _draw_row(
    axes: Axes,
    place: tuple[float, float],
    row: Sequence[tuple[str, float]],
    chosen: str,
    weights: Mapping[str, float] | None,
) -> None:
    x, y = place
    for option, wide in row:
        taken = option == chosen
        corner = (x, y - _BOX / 2)
        if weights is not None:
            share = wide * min(1.0, max(0.0, weights[option]))
            axes.add_patch(Rectangle(corner, share, _BOX, color=_FILL, lw=0, zorder=1))
        box = FancyBboxPatch(
            corner,
            wide,
            _BOX,
            boxstyle="square,pad=0",
            fc=PALE if taken and weights is None else "none",
            ec=INK if taken else FAINT_INK,
            lw=2.2 if taken else 0.8,
            zorder=2,
        )
        axes.add_patch(box)
        text = option if weights is None else f"{option}  {weights[option]:.2f}"
        write_text(
            axes,
            x + wide / 2,
            y,
            text,
            size=10,
            color=INK if taken or weights is not None else FAINT_INK,
            ha="center",
            zorder=3,
        )
        x += wide + _GAP
