"""Pictures of a user's network: its choices from input to output, and their weights.

What a network does between two choices is the user's; the picture has the choices in
the order in which the network asks for them, those within an option of another one
under it. An option is a box, filled as far as its weight reaches; what is chosen has a
heavy frame. Choices that the network with these choices does not ask for are pale.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from darts_jax.plots.style import (
    FAINT_INK,
    FOOT_HEIGHT,
    INK,
    PALE,
    TITLE_HEIGHT,
    add_axes,
    make_figure,
    place_apart,
    series_style,
    style_axes,
    text_width,
    use_whole_numbers,
    widest_text,
    write_text,
)
from darts_jax.spaces.modules import Decision

# Lengths in inches.
_ROW = 0.62  # from one choice to the next
_BOX = 0.34  # height of an option
_GAP = 0.12
_MARGIN = 0.3
_INDENT = 0.3  # of a choice within another
_PADDING = 0.24
_LEAST = 0.6  # width of an option
_WIDEST = 9.0  # of a row of options, before it is broken
_FILL = "#9ec3e6"
_NAME_SIZE = 11
_NOTE_SIZE = 8
_WIDE, _TALL, _LEFT = 1.9, 1.1, 0.5  # of a panel of weights by epoch
_COLUMNS = 2
_LINE = 0.16  # height of a label

Weights = Mapping[str, Float[np.ndarray, " option"]]


def draw_choices(
    decisions: Sequence[Decision],
    chosen: Mapping[str, str],
    weights: Weights | None = None,
) -> Figure:
    """Draws the choices of a network, one below the other.

    Args:
      decisions: in the order in which the network asks for them.
      chosen: name of a choice -> the option that is taken.
      weights: name of a choice -> weight of each option, 0 to 1; None: none is shown.

    Returns:
      The figure; its label describes it in a sentence.
    """
    depths = {d.name: min(map(len, d.within)) for d in decisions}
    names = max(
        _INDENT * depths[d.name]
        + max(widest_text([d.name], _NAME_SIZE), widest_text([_note(d)], _NOTE_SIZE))
        for d in decisions
    )
    # From here on a length is in inches.
    rows = {d.name: _break(d.options, weights is not None) for d in decisions}
    lines = sum(map(len, rows.values()))
    widest = max(_width(row) for own in rows.values() for row in own)
    left = _MARGIN + names + 0.4
    width = left + widest + _MARGIN
    height = 2 * _MARGIN + _ROW * (lines + 2)
    figure = make_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    top = _MARGIN + _ROW / 2
    bottom = height - _MARGIN - _ROW / 2
    axes.plot([_MARGIN] * 2, [top, bottom], color=FAINT_INK, lw=1.2, zorder=0)
    for y, end in ((top, "input"), (bottom, "output")):
        write_text(axes, _MARGIN + 0.15, y, end, color=FAINT_INK)
        axes.plot([_MARGIN], [y], "o", color=FAINT_INK, ms=5)
    heights: dict[str, float] = {}
    y = top
    for decision in decisions:
        name = decision.name
        is_reached = decision.is_reached(chosen)
        mine = (
            None
            if weights is None
            else dict(
                zip(decision.options, np.asarray(weights[name], float), strict=True)
            )
        )
        heights[name] = y + _ROW
        start = (_MARGIN + _INDENT * depths[name], y + _ROW)
        _draw_name(axes, start, decision, heights, is_reached)
        for row in rows[name]:
            y += _ROW
            taken = chosen[name] if is_reached else None
            _draw_row(axes, (left, y), row, taken, mine)
    told = ", ".join(
        f"{d.name} {chosen[d.name]}" for d in decisions if d.is_reached(chosen)
    )
    figure.set_label(f"The choices of a network, from input to output: {told}.")
    return figure


def _note(decision: Decision) -> str:
    return f"if {decision.condition}" if decision.condition else ""


def _draw_name(
    axes: Axes,
    start: tuple[float, float],
    decision: Decision,
    heights: Mapping[str, float],
    is_reached: bool,
) -> None:
    """Draws the name of a choice, and the line to the one that it lies within."""
    x, y = start
    ink = INK if is_reached else FAINT_INK
    place = min(decision.within, key=len)
    if place:
        above = heights[place[-1][0]]
        corner = [x - _INDENT, x - _INDENT, x], [above, y, y]
        axes.plot(*corner, color=FAINT_INK, lw=1.2, zorder=0)
    axes.plot([x], [y], "o", color=ink, ms=5)
    note = _note(decision)
    up = 0.07 if note else 0.0
    write_text(axes, x + 0.15, y - up, decision.name, size=_NAME_SIZE, color=ink)
    if note:
        write_text(axes, x + 0.15, y + 0.12, note, size=_NOTE_SIZE, color=FAINT_INK)


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
    chosen: str | None,
    weights: Mapping[str, float] | None,
) -> None:
    """Draws options side by side; without a chosen one all are pale."""
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
            color=INK if taken or (weights and chosen) else FAINT_INK,
            ha="center",
            zorder=3,
        )
        x += wide + _GAP


def plot_choices(
    decisions: Sequence[Decision],
    weights: Mapping[str, Float[np.ndarray, "epoch option"]],
) -> Figure:
    """Plots the weights of the options of every choice by epoch.

    Args:
      decisions: in the order in which the network asks for them.
      weights: name of a choice -> weight of each option after every epoch.

    Returns:
      The figure; its label describes it in a sentence.
    """
    columns = min(_COLUMNS, len(decisions))
    room = 0.2 + max(widest_text(list(d.options)) for d in decisions)
    wide = _LEFT + _WIDE + room
    talls = [
        max([_TALL, *(_LINE * len(d.options) for d in decisions[i : i + columns])])
        for i in range(0, len(decisions), columns)
    ]
    height = sum(TITLE_HEIGHT + tall + FOOT_HEIGHT for tall in talls)
    figure = make_figure(columns * wide, height)
    top = 0.0
    for row, tall in enumerate(talls):
        for column, decision in enumerate(decisions[row * columns :][:columns]):
            axes = add_axes(
                figure, column * wide + _LEFT, top + TITLE_HEIGHT, _WIDE, tall
            )
            _draw_course(axes, decision, np.asarray(weights[decision.name]), tall)
        top += TITLE_HEIGHT + tall + FOOT_HEIGHT
    ends = []
    for decision in decisions:
        last = np.asarray(weights[decision.name])[-1]
        best = int(last.argmax())
        ends.append(f"{decision.name} {decision.options[best]} with {last[best]:.2f}")
    figure.set_label(f"Weights by epoch; in the end weigh most: {', '.join(ends)}.")
    return figure


def _draw_course(
    axes: Axes,
    decision: Decision,
    weights: Float[np.ndarray, "epoch option"],
    tall: float,
) -> None:
    """Draws a line for each option, with its name at the end."""
    style_axes(axes, decision.name, "epoch")
    use_whole_numbers(axes.xaxis, 5)
    epochs = np.arange(1, len(weights) + 1)
    axes.set_xlim(0.97, max(len(weights), 2))
    axes.set_ylim(-0.04, 1.04)
    heights = (weights[-1] + 0.04) / 1.08 * tall
    order = np.argsort(heights, kind="stable")
    wanted = [float(heights[i]) for i in order]
    places = place_apart(wanted, [_LINE] * len(order), 0.0, tall)
    # A line of one epoch is a point.
    point: dict[str, Any] = {"marker": "."} if len(epochs) == 1 else {}
    for i, place in zip(order, places, strict=True):
        style = series_style(int(i))
        axes.plot(epochs, weights[:, i], **(point | style.line()))
        beside = {"transform": axes.transAxes, "color": style.color}
        name = decision.options[i]
        write_text(axes, 1 + 0.1 / _WIDE, place / tall, name, **beside)
