"""Histories of searches as lines to draw, and what they show in sentences.

A history is a tidy frame with a row for each epoch, the columns ``epoch`` and some of
`measures.MEASURES`, and, if it is of several searches, ``run`` (their names) and
``seed``. Of an epoch that is told twice the last row counts.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from darts_jax.analysis.measures import MEASURES, Measure
from darts_jax.errors import InputError
from darts_jax.plots.style import Style, series


@dataclasses.dataclass(frozen=True)
class Line:
    """One run's values of one measure.

    Attributes:
      values: epoch -> a column for each seed.
      label: stands beside it, or in the legend.
    """

    measure: Measure
    values: pd.DataFrame
    label: str
    style: Style

    @property
    def mean(self) -> pd.Series:
        return self.values.mean(axis=1)

    @property
    def seeds(self) -> int:
        return self.values.shape[1]

    @property
    def beside(self) -> str:
        """What stands at its end."""
        return f"{self.label} {self.measure.format(self.mean.iloc[-1])}".lstrip()

    @property
    def end(self) -> tuple[float, float]:
        """Its last epoch, and the mean there."""
        return float(self.mean.index[-1]), float(self.mean.iloc[-1])


Panel = list[Line]
"""The lines of one pair of axes."""


def panels_of(
    history: pd.DataFrame, groups: Sequence[Sequence[str]]
) -> tuple[list[Panel], dict[str, Style]]:
    """What each panel shows, and the look of each run."""
    if "epoch" not in history:
        raise InputError("a history needs a column epoch")
    runs = _named(history, "run")
    names = {name: series(i) for i, name in enumerate(dict.fromkeys(runs))}
    if len(names) == 1:
        panels = [_of_measures(history, group) for group in groups]
    else:
        columns = [c for group in groups for c in group if c in history]
        panels = [_of_runs(history, runs, names, column) for column in columns]
    return [panel for panel in panels if panel], names


def _of_measures(history: pd.DataFrame, group: Sequence[str]) -> Panel:
    known = {c: _values(history, c) for c in group if c in history}
    known = {column: values for column, values in known.items() if len(values)}
    panel = []
    for column, values in known.items():
        label = MEASURES[column].short if len(known) > 1 else ""
        style = series(group.index(column))
        panel.append(Line(MEASURES[column], values, label, style))
    return panel


def _of_runs(
    history: pd.DataFrame, runs: pd.Series, names: dict[str, Style], column: str
) -> Panel:
    panel = []
    for name, style in names.items():
        values = _values(history[runs == name], column)
        if len(values):
            panel.append(Line(MEASURES[column], values, name, style))
    return panel


def _named(history: pd.DataFrame, column: str) -> pd.Series:
    """A column as text, empty where there is none."""
    if column not in history:
        return pd.Series("", index=history.index)
    return history[column].astype(str)


def _values(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Epoch -> a column for each seed; without the epochs of which nothing is known."""
    measure = MEASURES[column]
    told = pd.DataFrame(
        {
            "epoch": history["epoch"].astype(int),
            "seed": _named(history, "seed"),
            "value": pd.to_numeric(history[column]).astype(float) * measure.scale,
        }
    )
    told = told[np.isfinite(told["value"])]
    told = told.drop_duplicates(["epoch", "seed"], keep="last")
    return told.pivot(index="epoch", columns="seed", values="value").sort_index()


def title_of(panel: Panel) -> str:
    """What its measures have in common: "Accuracy, %"."""
    titles = [line.measure.title for line in panel]
    if len(set(titles)) == 1:
        return titles[0]
    *_, word = panel[0].measure.name.split()
    return dataclasses.replace(panel[0].measure, name=word).title


def summary(panels: Sequence[Panel], names: dict[str, Style]) -> str:
    """What many panels show, in a sentence."""
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
        f"{', '.join(measures)}. {told(compared)}"
    )


def told(panel: Panel) -> str:
    """What a panel shows, in a sentence."""
    epochs = max(int(line.values.index[-1]) for line in panel)
    measure = panel[0].measure
    over = f"over {epochs} epochs" if epochs > 1 else "after 1 epoch"
    if len(panel) > 4:
        return _extremes_told(panel, over)
    parts = [_course(line) for line in panel]
    if len({line.measure.name for line in panel}) == len(panel):
        named = [f"{p.measure.name} {c}" for p, c in zip(panel, parts, strict=True)]
        text = f"{', '.join(named)} {over}."
    else:
        named = [f"{p.label} {c}" for p, c in zip(panel, parts, strict=True)]
        text = f"{measure.name} {over}: {', '.join(named)}."
    return text[0].upper() + text[1:]


def _extremes_told(panel: Panel, over: str) -> str:
    ends = [float(line.mean.iloc[-1]) for line in panel]
    low, high = int(np.argmin(ends)), int(np.argmax(ends))
    measure = panel[0].measure
    name = measure.name[0].upper() + measure.name[1:]
    return (
        f"{name} of {len(panel)} runs {over}: lowest at the end is "
        f"{panel[low].label} with {measure.format_with_unit(ends[low])}, highest "
        f"{panel[high].label} with {measure.format_with_unit(ends[high])}."
    )


def _course(line: Line) -> str:
    first, last = float(line.mean.iloc[0]), float(line.mean.iloc[-1])
    start, end = line.measure.format(first), line.measure.format_with_unit(last)
    if len(line.mean) == 1:
        return f"is {end}"
    if line.measure.format_with_unit(first) == end:
        return f"stays at {end}"
    return f"{'falls' if last < first else 'rises'} from {start} to {end}"
