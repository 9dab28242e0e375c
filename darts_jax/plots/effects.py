"""Picture of differences between settings, with their intervals."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from darts_jax.analysis.measures import MEASURES, Measure
from darts_jax.plots.style import (
    FAINT_INK,
    FOOT_HEIGHT,
    INK,
    TITLE_HEIGHT,
    add_axes,
    make_figure,
    series_style,
    style_axes,
    widest_text,
    write_note,
    write_text,
)

# Lengths in inches: height of a row and of a note, width of the axes, the margin of the
# figure, and the gap between axes and the text beside them.
_ROW = 0.34
_NOTE = 0.19
_PLOT = 3.0
_MARGIN = 0.15
_GAP = 0.12


def plot_effects(effects: pd.DataFrame, measure: str) -> Figure:
    """Plots a mark and its 95 % interval for each comparison.

    A mark is filled where the p-value that is adjusted for all comparisons is below
    0.05, and hollow elsewhere.

    Args:
      effects: a row for each comparison, as `analysis.effects.effects` returns it.
      measure: the column of a history that was compared.

    Returns:
      The figure; its label describes it in a sentence.
    """
    known = MEASURES.get(measure, Measure(measure.replace("_", " ")))
    rows = effects.to_dict("records")
    names = [_comparison_name(row) for row in rows]
    results = [_format_result(row, known) for row in rows]
    left = _MARGIN + widest_text(names) + _GAP
    width = left + _PLOT + _GAP + widest_text(results) + _MARGIN
    tall = _ROW * max(len(rows), 1)
    notes = _notes(rows)
    height = TITLE_HEIGHT + tall + FOOT_HEIGHT + _NOTE * len(notes) + _MARGIN
    width = max(width, 2 * _MARGIN + widest_text(notes))
    figure = make_figure(width, height)
    axes = add_axes(figure, left, TITLE_HEIGHT, _PLOT, tall)
    style_axes(axes, f"{_title(known)}: what a choice does", "difference")
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color=FAINT_INK, linewidth=0.8, zorder=1)
    for place, (row, name, text) in enumerate(zip(rows, names, results, strict=True)):
        _draw_interval(axes, len(rows) - 1 - place, row, known.scale)
        y = 1 - (place + 0.5) / len(rows)
        beside = axes.transAxes
        write_text(axes, -_GAP / _PLOT, y, name, ha="right", transform=beside)
        write_text(axes, 1 + _GAP / _PLOT, y, text, transform=beside)
    axes.set(ylim=(-0.5, max(len(rows), 1) - 0.5), yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.margins(x=0.06)
    for i, line in enumerate(notes):
        below = TITLE_HEIGHT + tall + FOOT_HEIGHT + _NOTE * i
        write_note(figure, line, below, _MARGIN)
    figure.set_label(_describe(rows, known))
    return figure


def _draw_interval(axes: Axes, y: int, row: dict[str, Any], scale: float) -> None:
    color = series_style(0).color
    low, middle, high = (scale * row[key] for key in ("low", "difference", "high"))
    if not np.isfinite(middle):
        return
    if np.isfinite([low, high]).all():
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, zorder=2)
        axes.plot(
            [low, high],
            [y, y],
            color=color,
            marker="|",
            markersize=8,
            linestyle="",
            zorder=2,
        )
    axes.plot(
        [middle],
        [y],
        color=INK,
        marker="o",
        markersize=7,
        markeredgewidth=1.6,
        markerfacecolor=color if row["p_holm"] < 0.05 else "white",
        markeredgecolor=color,
        zorder=3,
    )


def _title(measure: Measure) -> str:
    words = measure.name[0].upper() + measure.name[1:]
    # A difference of two percentages is points of them.
    unit = "points" if measure.unit == "%" else measure.unit
    return f"{words}, {unit}" if unit else words


def _comparison_name(row: dict[str, Any]) -> str:
    short = str(row["setting"]).rpartition(".")[2]
    return f"{short} {row['value']} against {row['against']}"


def _format_result(row: dict[str, Any], measure: Measure) -> str:
    if not np.isfinite(row["difference"]):
        return "nothing to compare *"
    low, middle, high = (
        f"{measure.scale * row[key]:+.3g}" for key in ("low", "difference", "high")
    )
    text = middle
    if np.isfinite(row["low"]):
        text += f" ({low} to {high})"
    if np.isfinite(row["p"]):
        text += f", p {row['p']:.2g}"
    pairs = "1 pair" if row["pairs"] == 1 else f"{row['pairs']} pairs"
    text += f", {pairs}" if row["pairs"] else ", unpaired"
    return f"{text} *" if row["note"] else text


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    count = len(rows)
    comparisons = "one comparison" if count == 1 else f"{count} comparisons"
    return [
        f"95 % intervals of each comparison alone; {comparisons}.",
        "Filled: p, adjusted for all of them by Holm, is below 0.05.",
        *dict.fromkeys(f"* {row['note']}" for row in rows if row["note"]),
    ]


def _describe(rows: list[dict[str, Any]], measure: Measure) -> str:
    each = "; ".join(
        f"{_comparison_name(row)} {_format_result(row, measure)}" for row in rows
    )
    return " ".join([f"{_title(measure)}: {each}.", *_notes(rows)])
