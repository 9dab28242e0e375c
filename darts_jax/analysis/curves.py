"""What a search recorded by epoch, as curves; of several runs, a line for each.

A history is a tidy frame: a row for each epoch. A column ``run`` names what the rows
are of; where a column ``seed`` tells rows of one run apart, the mean of the seeds is
drawn in a band from the least to the greatest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from darts_jax.analysis.style import (
    legend_below,
    line_look,
    picture,
    tidy,
    whole_epochs,
)
from darts_jax.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Panel:
    """Columns that are drawn in one frame.

    Attributes:
      unit: of the vertical axis.
      columns: name -> what a legend calls it.
      scale: of the numbers.
      span: of the axis, where it is known.
      whole: whether its numbers are counts.
      writes: what makes a search record it.
    """

    title: str
    unit: str
    columns: Mapping[str, str]
    scale: float = 1.0
    span: tuple[float, float] | None = None
    whole: bool = False
    writes: str = "every search records it"


_PROBES = "search.diagnostics.{}_every asks for it"
LOSS = Panel("Loss", "cross entropy", {"loss": "training half"})
ACCURACIES = Panel(
    "Accuracy of the supernet",
    "%",
    {
        "accuracy": "training half",
        "held_out_accuracy": "validation half",
        "discretized_accuracy": "validation half, genotype alone",
    },
    scale=100,
)
GAP = Panel(
    "Discretisation gap",
    "points lost",
    {"discretization_gap": "discretisation gap"},
    scale=100,
)
ENTROPY = Panel(
    "Entropy of the edges", "1: undecided", {"entropy": "entropy"}, span=(0, 1.03)
)
SKIPS = Panel("Skip connections", "kept edges", {"skips": "skips"}, whole=True)
SKIP_SHARE = Panel("Weight of skip connections", "share", {"skip_share": "share"})
EIGENVALUE = Panel(
    "Top eigenvalue by alpha",
    "of the validation loss",
    {"eigenvalue": "eigenvalue"},
    writes=_PROBES.format("eigenvalue"),
)
COSINE = Panel(
    "First order beside exact",
    "cosine",
    {"hypergradient_cosine": "cosine"},
    writes=_PROBES.format("cosine"),
)
TRUTH = Panel(
    "Benchmark's accuracy of the genotype",
    "%",
    {"benchmark_accuracy": "genotype"},
    writes="a search in nasbench201 records it where its table is at hand",
)
GRADIENT = Panel("Gradient of the architecture", "norm", {"gradient_norm": "norm"})
OVERVIEW = (
    *(LOSS, ACCURACIES, GAP, TRUTH, ENTROPY),
    *(SKIPS, SKIP_SHARE, GRADIENT, EIGENVALUE, COSINE),
)


def plot_losses(history: pd.DataFrame) -> Figure:
    """Losses by epoch."""
    return _figure(history, [LOSS])


def plot_accuracies(history: pd.DataFrame) -> Figure:
    """Accuracies of the supernet, and of its genotype alone, by epoch."""
    return _figure(history, [ACCURACIES])


def plot_gap(history: pd.DataFrame) -> Figure:
    """What the supernet loses when nothing but its genotype is kept, by epoch."""
    return _figure(history, [GAP])


def plot_entropy(history: pd.DataFrame) -> Figure:
    """Mean entropy of the edges by epoch, as a share of the most."""
    return _figure(history, [ENTROPY])


def plot_skips(history: pd.DataFrame) -> Figure:
    """Skip connections kept, and their share of the weight, by epoch."""
    return _figure(history, [SKIPS, SKIP_SHARE])


def plot_eigenvalue(history: pd.DataFrame) -> Figure:
    """Top eigenvalue of the validation loss by alpha, by epoch."""
    return _figure(history, [EIGENVALUE])


def plot_truth(history: pd.DataFrame) -> Figure:
    """The benchmark's accuracy of every epoch's genotype."""
    return _figure(history, [TRUTH])


def plot_overview(history: pd.DataFrame) -> Figure:
    """Everything that was recorded, a frame for each kind."""
    there = [panel for panel in OVERVIEW if _present(history, panel)]
    return _figure(history, there or [LOSS])


@dataclasses.dataclass(frozen=True)
class _Line:
    """One run's column by epoch; rows are seeds."""

    name: str
    epochs: np.ndarray
    values: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        # An epoch that some seeds did not come to has the mean of the others.
        return np.nanmean(self.values, axis=0)


def _figure(history: pd.DataFrame, panels: Sequence[Panel]) -> Figure:
    for panel in panels:
        if not _present(history, panel):
            names = " or ".join(panel.columns)
            raise InputError(f"no {names} in this history: {panel.writes}")
    several = "run" in history and history["run"].nunique() > 1
    frames = [*(_single_columns(history, panels) if several else panels)]
    columns = min(len(frames), 3 if len(frames) > 4 else 2)
    rows = math.ceil(len(frames) / columns)
    width = 4.6 if columns == 1 else 3.3 * columns
    figure = picture(width, 2.5 * rows + (0.5 if several else 0))
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    told = list[str]()
    for axes, panel in zip(all_axes, frames, strict=False):
        lines = [*_lines(history, panel, several)]
        _draw(axes, panel, lines)
        told.append(_told(panel, lines))
        if not several and len(lines) > 1:
            place = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.2)}
            axes.legend(frameon=False, fontsize=7.5, handlelength=3.4, **place)
    for axes in all_axes[len(frames) :]:
        axes.set_axis_off()
    if several:
        runs = list(dict.fromkeys(history["run"]))
        handles = [Line2D([], [], label=n, **line_look(i)) for i, n in enumerate(runs)]
        longest = max(map(len, runs))
        legend_below(figure, handles, int(width / (0.7 + 0.075 * longest)))
    figure.set_label(" ".join(told))
    return figure


def _present(history: pd.DataFrame, panel: Panel) -> bool:
    return any(c in history and history[c].notna().any() for c in panel.columns)


def _single_columns(history: pd.DataFrame, panels: Sequence[Panel]) -> Iterator[Panel]:
    """A frame for every column, as each has a line for every run."""
    for panel in panels:
        for name, label in panel.columns.items():
            if name in history and history[name].notna().any():
                several = len(panel.columns) > 1
                title = f"{panel.title}:\n{label}" if several else panel.title
                yield dataclasses.replace(panel, title=title, columns={name: label})


def _lines(history: pd.DataFrame, panel: Panel, several: bool) -> Iterator[_Line]:
    groups = history.groupby("run", sort=False) if several else [("", history)]
    for run, own in groups:
        for column, label in panel.columns.items():
            if column not in own or not own[column].notna().any():
                continue
            seeds = own["seed"] if "seed" in own else np.zeros(len(own), int)
            table = own.assign(seed=seeds).pivot_table(
                index="seed", columns="epoch", values=column, aggfunc="last"
            )
            values = panel.scale * table.to_numpy(float)
            name = str(run) if several else label
            yield _Line(name, table.columns.to_numpy(), values)


def _draw(axes: Axes, panel: Panel, lines: Sequence[_Line]) -> None:
    for number, line in enumerate(lines):
        look: dict[str, Any] = line_look(number)
        known = np.isfinite(line.mean)
        marker = "o" if len(line.epochs) < 2 or known.sum() < len(known) else ""
        axes.plot(
            line.epochs[known],
            line.mean[known],
            label=line.name,
            marker=marker,
            markersize=4,
            **look,
        )
        if len(line.values) > 1:
            low, high = np.nanmin(line.values, 0), np.nanmax(line.values, 0)
            axes.fill_between(
                line.epochs, low, high, color=look["color"], alpha=0.13, linewidth=0
            )
    tidy(axes, panel.title, "epoch", panel.unit)
    whole_epochs(axes)
    if panel.span is not None:
        axes.set_ylim(*panel.span)
    if panel.whole:
        axes.set_ylim(-0.15, max(axes.get_ylim()[1], 1.1))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _told(panel: Panel, lines: Sequence[_Line]) -> str:
    """Where every line begins and ends, in words."""
    parts = []
    for line in lines:
        known = line.mean[np.isfinite(line.mean)]
        name = f"{line.name} " if len(lines) > 1 else ""
        parts.append(f"{name}from {known[0]:.3g} to {known[-1]:.3g}")
    last = max(int(line.epochs[-1]) for line in lines)
    title = panel.title.replace("\n", " ")
    seeds = max(len(line.values) for line in lines)
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    return f"{title} ({panel.unit}{mean}) by epoch up to {last}: {'; '.join(parts)}."
