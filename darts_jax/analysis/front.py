"""Accuracy against cost, and which architectures are not beaten in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from darts_jax.analysis.style import (
    COLORS,
    FAMILY,
    INK,
    MARKERS,
    legend_below,
    picture,
    renderer_of,
    tidy,
)
from darts_jax.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def pareto(
    cost: Float[np.ndarray, " point"], accuracy: Float[np.ndarray, " point"]
) -> Bool[np.ndarray, " point"]:
    """Points than which none is at least as good in both and better in one."""
    cost, accuracy = np.asarray(cost), np.asarray(accuracy)
    no_dearer = cost[None] <= cost[:, None]
    no_worse = accuracy[None] >= accuracy[:, None]
    better = (cost[None] < cost[:, None]) | (accuracy[None] > accuracy[:, None])
    beaten = np.asarray((no_dearer & no_worse & better).any(-1))
    return ~beaten


def plot_front(
    points: pd.DataFrame,
    cost: str,
    accuracy: str,
    label: str | None = None,
    group: str | None = None,
) -> Figure:
    """A dot for each architecture; the front is a line along those not beaten.

    Args:
      cost, accuracy: columns; they name the axes.
      label: column of the names to write beside the dots, where there is room.
      group: column by which dots are told apart, such as searched and random.

    Raises:
      InputError: no points.
    """
    if not len(points):
        raise InputError("no architectures to draw")
    figure = picture(5.6, 4.0)
    axes = figure.add_subplot()
    on_front = pareto(points[cost].to_numpy(float), points[accuracy].to_numpy(float))
    front = points[on_front].sort_values(cost)
    axes.step(
        *(front[cost], front[accuracy]), where="post", color=INK, lw=1.2, zorder=1
    )
    groups = points.groupby(group, sort=False) if group else [("architecture", points)]
    handles = []
    for number, (name, own) in enumerate(groups):
        handles.append(
            axes.scatter(
                own[cost],
                own[accuracy],
                s=46,
                marker=MARKERS[number % len(MARKERS)],
                color=COLORS[number % len(COLORS)],
                edgecolors="white",
                linewidths=0.8,
                zorder=2,
                label=str(name),
            )
        )
    tidy(axes, "", cost, accuracy)
    axes.margins(0.1)
    if group:
        legend_below(figure, handles, len(handles))
    if label:
        _write_names(figure, axes, points, (cost, accuracy, label))
    best = front.iloc[-1]
    figure.set_label(
        f"{accuracy} against {cost} of {len(points)} architectures; {len(front)} are "
        f"not beaten in both, from {front[cost].iloc[0]:.4g} with "
        f"{front[accuracy].iloc[0]:.4g} to {best[cost]:.4g} with {best[accuracy]:.4g}."
    )
    return figure


_PLACES = ((6, 4), (6, -10), (-6, 4), (-6, -10), (0, 8), (0, -14))


def _write_names(
    figure: Figure, axes: Axes, points: pd.DataFrame, columns: tuple[str, str, str]
) -> None:
    """Beside each dot in the first place that is free; without one, nowhere."""
    renderer = renderer_of(figure)
    taken = [
        axes.transData.transform((x, y))
        for x, y in points[[*columns[:2]]].to_numpy(float)
    ]
    boxes: list[Bbox] = []
    for x, y, name in points[[*columns]].itertuples(index=False):
        for dx, dy in _PLACES:
            text = axes.annotate(
                str(name),
                (x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                fontsize=8,
                family=FAMILY,
                color=INK,
            )
            box = text.get_window_extent(renderer).padded(1)
            inside = axes.get_window_extent(renderer)
            free = not any(box.overlaps(other) for other in boxes)
            clear = not any(box.contains(*dot) for dot in taken)
            if free and clear and inside.x0 <= box.x0 and box.x1 <= inside.x1:
                boxes.append(box)
                break
            text.remove()
