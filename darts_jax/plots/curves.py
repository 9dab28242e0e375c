"""What a search recorded, by epoch: one line a run, or a mean over seeds.

What a history is says `analysis.history`. Where a run has several seeds, each is a thin
line, their mean a thick one and one standard deviation a band.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darts_jax.analysis.measures import MEASURES
from darts_jax.errors import InputError
from darts_jax.plots.history import Line, Panel, panels_of, summary, title_of, told
from darts_jax.plots.style import (
    FAINT_INK,
    FOOT_HEIGHT,
    LINE_HEIGHT,
    TITLE_HEIGHT,
    Style,
    add_axes,
    clean,
    draw_legend,
    legend_height,
    make_figure,
    note,
    spread,
    whole_numbers,
    widest,
    write,
)

_WIDTH, _LEFT, _MARGIN = 5.0, 0.6, 0.15
_LONGEST = 1.5  # of a name beside its line; longer ones go into a legend
_TALL, _LOW = 2.5, 1.45  # axes alone, and among others
_NARROW = 3.0  # a panel of two columns
_NOTE = 0.2
_GAP, _TURN, _SAMPLE = 0.1, 0.14, 0.36  # from an axes' end to the text beside it

_LOSSES = ("loss", "valid_loss")
_ACCURACIES = ("accuracy", "held_out_accuracy", "discretized_accuracy")
_BALANCED = ("held_out_balanced_accuracy", "discretized_balanced_accuracy")
_SKIPS = ("skips", "skip_share")


def plot_losses(history: pd.DataFrame) -> Figure:
    """Losses of the supernet; raises InputError as all of these do."""
    return _plot(history, [_LOSSES])


def plot_accuracies(history: pd.DataFrame) -> Figure:
    """Accuracies of the supernet, and of what its genotype keeps of it."""
    return _plot(history, [_ACCURACIES])


def plot_balanced_accuracies(history: pd.DataFrame) -> Figure:
    """Draws the mean over classes of the supernet's accuracies, and its genotype's."""
    return _plot(history, [_BALANCED])


def plot_entropy(history: pd.DataFrame) -> Figure:
    """How undecided the edges are: 1 is undecided, 0 is decided."""
    return _plot(history, [("entropy",)])


def plot_skips(history: pd.DataFrame) -> Figure:
    """Skip connections that the genotype keeps, and what they weigh."""
    return _plot(history, [(column,) for column in _SKIPS])


def plot_eigenvalue(history: pd.DataFrame) -> Figure:
    """Top eigenvalue of the held-out loss in the architecture (Zela et al., 2020)."""
    return _plot(history, [("eigenvalue",)])


def plot_gap(history: pd.DataFrame) -> Figure:
    """Accuracy that the supernet loses when only its genotype is left of it."""
    return _plot(history, [("discretization_gap",)])


def plot_truth(history: pd.DataFrame) -> Figure:
    """What a benchmark knows of the genotype of each epoch."""
    return _plot(history, [("benchmark_accuracy",)])


def plot_overview(history: pd.DataFrame) -> Figure:
    """All that was recorded, in two columns of small panels."""
    return _plot(history, [(column,) for column in MEASURES], columns=2)


def _plot(
    history: pd.DataFrame, groups: Sequence[Sequence[str]], columns: int = 1
) -> Figure:
    """Draws groups of measures, each a panel; of several runs, each measure one.

    Raises:
      InputError: the history has none of these measures.
    """
    panels, names = panels_of(history, groups)
    if not panels:
        first = groups[0][0]
        raise InputError(f"the history has no {first}; {MEASURES[first].source}")
    is_beside = len(names) == 1 or (
        len(panels) == 1 and widest([line.beside for line in panels[0]]) <= _LONGEST
    )
    figure = _draw(panels, {} if is_beside else names, min(columns, len(panels)))
    few = len(panels) <= len(_ACCURACIES)
    sentences = " ".join(told(panel) for panel in panels)
    figure.set_label(sentences if few else summary(panels, names))
    return figure


def _draw(panels: Sequence[Panel], legend: dict[str, Style], columns: int) -> Figure:
    rows = -(-len(panels) // columns)
    width = _WIDTH if columns == 1 else columns * _NARROW
    seeds = max(line.seeds for panel in panels for line in panel)
    top = _NOTE if seeds > 1 else 0.0
    tall = _TALL if len(panels) == 1 else _LOW
    if not legend:
        # A line of text for each, one above the other.
        tall = max([tall, *(LINE_HEIGHT * (len(panel) + 1) for panel in panels)])
    cell = TITLE_HEIGHT + tall + FOOT_HEIGHT
    foot = legend_height(legend, width) if legend else 0.0
    figure = make_figure(width, top + rows * cell + foot)
    if seeds > 1:
        text = f"thick: mean of up to {seeds} seeds; band: one standard deviation"
        note(figure, text, top=0.1, left=_LEFT)
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        labels = [] if legend else [line.beside for line in panel]
        left = column * width / columns + _LEFT
        wide = (column + 1) * width / columns - _room(labels) - left
        axes = add_axes(figure, left, top + row * cell + TITLE_HEIGHT, wide, tall)
        _draw_panel(axes, panel)
        if labels:
            _label_ends(axes, panel, tall, wide)
    if legend:
        draw_legend(figure, legend)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    clean(axes, title_of(panel), "epoch")
    for line in panel:
        _draw_line(axes, line)
    _limit(axes, panel)


def _room(labels: Sequence[str]) -> float:
    """To the right of axes, for what stands beside them."""
    if not labels:
        return _MARGIN
    sample = _TURN + _SAMPLE if len(labels) > 1 else 0.0
    return sample + _GAP + widest(labels) + 0.05


def _draw_line(axes: Axes, line: Line) -> None:
    style, mean = line.style, line.mean
    epochs = mean.index.to_numpy()
    if line.seeds > 1:
        for seed in line.values:
            own = line.values[seed].dropna()
            axes.plot(own.index, own, color=style.color, linewidth=0.6, alpha=0.5)
        # One seed has no spread.
        error = line.values.std(axis=1).fillna(0.0)
        low, high = mean - error, mean + error
        axes.fill_between(epochs, low, high, color=style.color, alpha=0.15, linewidth=0)
    look = style.line()
    if len(mean) < 2 or np.diff(epochs).max() > 1:
        # Epochs lie between: show where something was measured.
        look["marker"] = "o"
    axes.plot(epochs, mean, label=line.label, zorder=3, **look)
    end: dict[str, Any] = {"color": style.color, "markersize": 4.5, "zorder": 4}
    end["clip_on"] = False
    axes.plot(epochs[-1:], mean.iloc[-1:], marker="o", **end)


def _limit(axes: Axes, panel: Panel) -> None:
    measure = panel[0].measure
    whole_numbers(axes.xaxis)
    if measure.is_count:
        whole_numbers(axes.yaxis)
    epochs = [epoch for line in panel for epoch in line.values.index]
    first, last = min(epochs), max(epochs)
    axes.set_xlim(first - 0.03 * max(last - first, 1), max(last, first + 1))
    shown = [*axes.dataLim.intervaly, measure.low, measure.high]
    known = [value for value in shown if value is not None]
    low, high = min(known), max(known)
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    if measure.low == measure.high == 0:
        axes.axhline(0, color=FAINT_INK, linewidth=0.8, zorder=1)


def _label_ends(axes: Axes, panel: Panel, tall: float, wide: float) -> None:
    """Names and last values to the right of axes, none on another.

    Where there are several each comes with a sample of its line.
    """
    ends = [axes.transLimits.transform(line.end) for line in panel]
    heights = [float(y) * tall for _, y in ends]
    order = np.argsort(heights, kind="stable")
    room = [LINE_HEIGHT] * len(order)
    places = spread([heights[i] for i in order], room, 0.0, tall)
    for i, y in zip(order, places, strict=True):
        line, x = panel[i], 0.0
        if len(panel) > 1:
            start = (ends[i][0] - 1) * wide, heights[i]
            _draw_sample(axes, line.style, start, y, (wide, tall))
            x = _TURN + _SAMPLE
        place = 1 + (x + _GAP) / wide, y / tall
        write(axes, *place, line.beside, transform=axes.transAxes)


def _draw_sample(
    axes: Axes,
    style: Style,
    start: tuple[float, float],
    y: float,
    size: tuple[float, float],
) -> None:
    """A piece of a line beside axes, tied to where that line ends."""
    wide, tall = size
    place: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    thread = place | {"color": style.color, "linewidth": 0.7}
    x = np.array([start[0], _TURN]) / wide + 1
    axes.plot(x, np.array([start[1], y]) / tall, **thread)
    x = np.array([_TURN, _TURN + _SAMPLE]) / wide + 1
    axes.plot(x, np.array([y, y]) / tall, **place | style.line())
