"""Curves of what searches recorded, by epoch.

A history is a tidy frame with a row for each epoch, the columns ``epoch`` and some of
`measures.MEASURES`, and, if it is of several searches, ``run`` (their names) and
``seed``. Of several rows for one epoch the last one counts. Each run is a line; where a
run has several seeds, each seed is a thin line, their mean a thick one and one standard
deviation a band.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darts_jax.analysis.measures import MEASURES, Measure, find_measure
from darts_jax.errors import InputError
from darts_jax.plots.style import (
    FAINT_INK,
    FOOT_HEIGHT,
    LINE_HEIGHT,
    TITLE_HEIGHT,
    Style,
    add_axes,
    draw_legend,
    legend_height,
    make_figure,
    place_apart,
    series_style,
    style_axes,
    use_whole_numbers,
    widest_text,
    write_note,
    write_text,
)


@dataclasses.dataclass(frozen=True)
class Line:
    """Values of one measure in one run.

    Attributes:
      measure: the measure.
      values: a row for each epoch, a column for each seed.
      label: text beside the line, or in the legend.
      style: look of the line.
    """

    measure: Measure
    values: pd.DataFrame
    label: str
    style: Style

    @property
    def mean(self) -> pd.Series:
        """Mean over seeds, by epoch."""
        return self.values.mean(axis=1)

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return self.values.shape[1]

    @property
    def beside(self) -> str:
        """Text at the end of the line: its label and its last value."""
        return f"{self.label} {self.measure.format(self.mean.iloc[-1])}".lstrip()

    @property
    def end(self) -> tuple[float, float]:
        """Last epoch, and the mean there."""
        return float(self.mean.index[-1]), float(self.mean.iloc[-1])


Panel = list[Line]
"""The lines of one pair of axes."""


# Lengths in inches.
_WIDTH = 5.0  # of a figure of one column
_NARROW = 3.0  # of each of two columns
_LEFT = 0.6
_MARGIN = 0.15
_TALL = 2.5  # of axes alone
_LOW = 1.45  # of axes among others
_NOTE = 0.2
_LONGEST = 1.5  # of a name beside its line; longer ones go into a legend
# From the end of axes to the text beside it: to the sample of a line, its length, and
# from there to the text.
_TURN = 0.14
_SAMPLE = 0.36
_GAP = 0.1

CURVES: dict[str, tuple[tuple[str, ...], ...]] = {
    "losses": (("loss", "valid_loss"),),
    "accuracies": (("accuracy", "held_out_accuracy", "discretized_accuracy"),),
    "balanced_accuracies": (
        ("held_out_balanced_accuracy", "discretized_balanced_accuracy"),
    ),
    "entropy": (("entropy",),),
    "skips": (("skips",), ("skip_share",)),
    "eigenvalue": (("eigenvalue",),),
    "gap": (("discretization_gap",),),
    "truth": (("benchmark_accuracy",),),
    "overview": tuple((column,) for column in MEASURES),
}
"""Name of a picture -> its groups of measures; each group is a panel."""

_DESCRIBED = 3  # panels that a text alternative describes one by one


def plot_curves(name: str, history: pd.DataFrame) -> Figure:
    """Plots groups of measures by epoch; with several runs, a panel for each measure.

    Args:
      name: name of the picture, a key of ``CURVES``, or "scores" for those of a
        user's own measure. An overview has two columns.
      history: a row for each epoch; see the module.

    Returns:
      The figure; its label describes it in a sentence.

    Raises:
      InputError: the history has no epochs or none of these measures.
    """
    groups = _find_scores(history) if name == "scores" else CURVES[name]
    panels, runs = _make_panels(history, groups)
    if not panels:
        first = groups[0][0]
        raise InputError(f"the history has no {first}; {find_measure(first).source}")
    is_beside = len(runs) == 1 or (
        len(panels) == 1
        and widest_text([line.beside for line in panels[0]]) <= _LONGEST
    )
    columns = min(2 if name == "overview" else 1, len(panels))
    figure = _draw_panels(panels, {} if is_beside else runs, columns)
    if len(panels) <= _DESCRIBED:
        figure.set_label(" ".join(_describe_panel(panel) for panel in panels))
    else:
        figure.set_label(_describe_panels(panels, runs))
    return figure


def _find_scores(history: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Returns the columns of each score after every epoch, of whatever name."""
    names = [
        str(column).removeprefix(begin)
        for begin in ("held_out_", "discretized_")
        for column in history
        if str(column).startswith(begin)
    ]
    return tuple(
        (f"held_out_{name}", f"discretized_{name}")
        for name in dict.fromkeys(names or ["accuracy"])
    )


def _draw_panels(
    panels: Sequence[Panel], legend: dict[str, Style], columns: int
) -> Figure:
    """Draws panels in columns; without a legend, names stand beside the lines."""
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
        write_note(figure, text, top=0.1, left=_LEFT)
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        labels = [] if legend else [line.beside for line in panel]
        left = column * width / columns + _LEFT
        wide = (column + 1) * width / columns - _label_room(labels) - left
        axes = add_axes(figure, left, top + row * cell + TITLE_HEIGHT, wide, tall)
        _draw_panel(axes, panel)
        if labels:
            _label_ends(axes, panel, tall, wide)
    if legend:
        draw_legend(figure, legend)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    style_axes(axes, _panel_title(panel), "epoch")
    for line in panel:
        _draw_line(axes, line)
    _set_limits(axes, panel)


def _label_room(labels: Sequence[str]) -> float:
    """Returns the room to the right of axes for the labels of their lines."""
    if not labels:
        return _MARGIN
    sample = _TURN + _SAMPLE if len(labels) > 1 else 0.0
    return sample + _GAP + widest_text(labels) + 0.05


def _draw_line(axes: Axes, line: Line) -> None:
    style = line.style
    mean = line.mean
    epochs = mean.index.to_numpy()
    if line.seeds > 1:
        for seed in line.values:
            own = line.values[seed].dropna()
            axes.plot(own.index, own, color=style.color, linewidth=0.6, alpha=0.5)
        # One seed has no spread.
        error = line.values.std(axis=1).fillna(0.0)
        axes.fill_between(
            epochs,
            mean - error,
            mean + error,
            color=style.color,
            alpha=0.15,
            linewidth=0,
        )
    look = style.line()
    if len(mean) < 2 or np.diff(epochs).max() > 1:
        # Some epochs have no value: mark those that have one.
        look["marker"] = "o"
    axes.plot(epochs, mean, label=line.label, zorder=3, **look)
    axes.plot(
        epochs[-1:],
        mean.iloc[-1:],
        marker="o",
        markersize=4.5,
        color=style.color,
        zorder=4,
        clip_on=False,
    )


def _set_limits(axes: Axes, panel: Panel) -> None:
    measure = panel[0].measure
    use_whole_numbers(axes.xaxis)
    if measure.is_count:
        use_whole_numbers(axes.yaxis)
    epochs = [epoch for line in panel for epoch in line.values.index]
    first = min(epochs)
    last = max(epochs)
    axes.set_xlim(first - 0.03 * max(last - first, 1), max(last, first + 1))
    ends = [*axes.dataLim.intervaly, measure.low, measure.high]
    known = [value for value in ends if value is not None]
    low = min(known)
    high = max(known)
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    if measure.low == measure.high == 0:
        axes.axhline(0, color=FAINT_INK, linewidth=0.8, zorder=1)


def _label_ends(axes: Axes, panel: Panel, tall: float, wide: float) -> None:
    """Writes names and last values to the right of axes, none on another.

    Several lines each have a sample beside their name.
    """
    ends = [axes.transLimits.transform(line.end) for line in panel]
    heights = [float(y) * tall for _, y in ends]
    order = np.argsort(heights, kind="stable")
    room = [LINE_HEIGHT] * len(order)
    places = place_apart([heights[i] for i in order], room, 0.0, tall)
    for i, y in zip(order, places, strict=True):
        line = panel[i]
        x = 0.0
        if len(panel) > 1:
            start = (ends[i][0] - 1) * wide, heights[i]
            _draw_sample(axes, line.style, start, y, (wide, tall))
            x = _TURN + _SAMPLE
        right = 1 + (x + _GAP) / wide
        write_text(axes, right, y / tall, line.beside, transform=axes.transAxes)


def _draw_sample(
    axes: Axes,
    style: Style,
    start: tuple[float, float],
    y: float,
    size: tuple[float, float],
) -> None:
    """Draws a piece of a line beside axes, and a thread to where that line ends.

    Args:
      axes: the axes.
      style: look of the line.
      start: end of the line, in inches from the lower right corner of the axes.
      y: height of the sample, in inches.
      size: width and height of the axes, in inches.
    """
    wide, tall = size
    beside = axes.transAxes
    axes.plot(
        np.array([start[0], _TURN]) / wide + 1,
        np.array([start[1], y]) / tall,
        transform=beside,
        clip_on=False,
        color=style.color,
        linewidth=0.7,
    )
    axes.plot(
        np.array([_TURN, _TURN + _SAMPLE]) / wide + 1,
        np.array([y, y]) / tall,
        transform=beside,
        clip_on=False,
        **style.line(),
    )


# Histories as lines


def _make_panels(
    history: pd.DataFrame, groups: Sequence[Sequence[str]]
) -> tuple[list[Panel], dict[str, Style]]:
    """Returns the lines of each panel, and the style of each run."""
    if "epoch" not in history:
        raise InputError("a history needs a column epoch")
    runs = _text_column(history, "run")
    names = {name: series_style(i) for i, name in enumerate(dict.fromkeys(runs))}
    if len(names) == 1:
        panels = [_measure_panel(history, group) for group in groups]
    else:
        columns = [c for group in groups for c in group if c in history]
        panels = [_run_panel(history, runs, names, column) for column in columns]
    return [panel for panel in panels if panel], names


def _measure_panel(history: pd.DataFrame, group: Sequence[str]) -> Panel:
    known = {c: _values(history, c) for c in group if c in history}
    known = {column: values for column, values in known.items() if len(values)}
    panel = []
    for column, values in known.items():
        label = find_measure(column, history.columns).short if len(known) > 1 else ""
        style = series_style(group.index(column))
        panel.append(Line(find_measure(column, history.columns), values, label, style))
    return panel


def _run_panel(
    history: pd.DataFrame, runs: pd.Series, names: dict[str, Style], column: str
) -> Panel:
    panel = []
    for name, style in names.items():
        values = _values(history[runs == name], column)
        if len(values):
            panel.append(
                Line(find_measure(column, history.columns), values, name, style)
            )
    return panel


def _text_column(history: pd.DataFrame, column: str) -> pd.Series:
    """Returns a column as text, empty where there is none."""
    if column not in history:
        return pd.Series("", index=history.index)
    return history[column].astype(str)


def _values(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns a row for each epoch with a value, and a column for each seed."""
    measure = find_measure(column, history.columns)
    values = pd.DataFrame(
        {
            "epoch": history["epoch"].astype(int),
            "seed": _text_column(history, "seed"),
            "value": pd.to_numeric(history[column]).astype(float) * measure.scale,
        }
    )
    values = values[np.isfinite(values["value"])]
    values = values.drop_duplicates(["epoch", "seed"], keep="last")
    return values.pivot(index="epoch", columns="seed", values="value").sort_index()


def _panel_title(panel: Panel) -> str:
    """Returns the common name of a panel's measures, such as "Accuracy, %"."""
    titles = [line.measure.title for line in panel]
    if len(set(titles)) == 1:
        return titles[0]
    *_, word = panel[0].measure.name.split()
    return dataclasses.replace(panel[0].measure, name=word).title


def _describe_panels(panels: Sequence[Panel], names: dict[str, Style]) -> str:
    """Describes many panels in a sentence."""
    lines = [line for panel in panels for line in panel]
    if len(names) == 1:
        ends = [
            f"{own.measure.name} {own.measure.format_with_unit(own.end[1])}"
            for own in lines
        ]
        return f"Curves by epoch, which end at: {', '.join(ends)}."
    measures = dict.fromkeys(line.measure.name for line in lines)
    compared = next((p for p in panels if p[0].measure.unit == "%"), panels[0])
    return (
        f"Curves by epoch of {len(names)} runs ({', '.join(names)}): "
        f"{', '.join(measures)}. {_describe_panel(compared)}"
    )


def _describe_panel(panel: Panel) -> str:
    """Describes a panel in a sentence."""
    epochs = max(int(line.values.index[-1]) for line in panel)
    measure = panel[0].measure
    over = f"over {epochs} epochs" if epochs > 1 else "after 1 epoch"
    if len(panel) > 4:
        return _describe_extremes(panel, over)
    parts = [_describe_course(line) for line in panel]
    if len({line.measure.name for line in panel}) == len(panel):
        named = [f"{p.measure.name} {c}" for p, c in zip(panel, parts, strict=True)]
        text = f"{', '.join(named)} {over}."
    else:
        named = [f"{p.label} {c}" for p, c in zip(panel, parts, strict=True)]
        text = f"{measure.name} {over}: {', '.join(named)}."
    return text[0].upper() + text[1:]


def _describe_extremes(panel: Panel, over: str) -> str:
    ends = [float(line.mean.iloc[-1]) for line in panel]
    low = int(np.argmin(ends))
    high = int(np.argmax(ends))
    measure = panel[0].measure
    name = measure.name[0].upper() + measure.name[1:]
    return (
        f"{name} of {len(panel)} runs {over}: lowest at the end is "
        f"{panel[low].label} with {measure.format_with_unit(ends[low])}, highest "
        f"{panel[high].label} with {measure.format_with_unit(ends[high])}."
    )


def _describe_course(line: Line) -> str:
    first = float(line.mean.iloc[0])
    last = float(line.mean.iloc[-1])
    start = line.measure.format(first)
    end = line.measure.format_with_unit(last)
    if len(line.mean) == 1:
        return f"is {end}"
    if line.measure.format_with_unit(first) == end:
        return f"stays at {end}"
    return f"{'falls' if last < first else 'rises'} from {start} to {end}"
