"""Accuracy against cost: which of several networks no other beats in both."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from darts_jax.analysis.pareto import pareto_front
from darts_jax.errors import InputError
from darts_jax.plots.style import (
    FAINT_INK,
    FOOT_HEIGHT,
    INK,
    LABEL_SIZE,
    MARKERS,
    TITLE_HEIGHT,
    Style,
    add_axes,
    clean,
    draw_legend,
    legend_height,
    make_figure,
    series,
    text_width,
    write,
)

_WIDTH, _LEFT, _RIGHT, _TALL = 5.0, 0.6, 0.15, 3.0
_FRONT = "Pareto front"
_LETTER = 0.15  # height of a label's room
_REACHES = (0.1, 0.22)  # from a point to its label
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (-1, 1), (1, -1), (1, 1), (-1, -1))


def plot_front(points: pd.DataFrame, cost: str, accuracy: str, label: str) -> Figure:
    """Accuracy against cost, a mark a network, and the Pareto front as steps.

    A column ``group``, if there is one, tells marks apart. Labels never lie on one
    another or on a mark: where there is no room, there is none, the front's come first.

    Args:
      cost, accuracy, label: names of columns; the first two also name the axes.

    Raises:
      InputError: a column or every point is missing.
    """
    for column in (cost, accuracy, label):
        if column not in points:
            known = ", ".join(map(str, points.columns))
            raise InputError(f"no column {column} of points; there are {known}")
    known = points[np.isfinite(points[[cost, accuracy]].astype(float)).all(axis=1)]
    if known.empty:
        raise InputError(f"no point has both {cost} and {accuracy}")
    x, y = (known[column].to_numpy(float) for column in (cost, accuracy))
    groups = pd.Series("", known.index)
    if "group" in known:
        groups = known["group"].astype(str)
    styles = _styles(list(dict.fromkeys(groups)))
    legend = {name: style for name, style in styles.items() if name}
    top = TITLE_HEIGHT + _TALL + FOOT_HEIGHT
    figure = make_figure(_WIDTH, top + legend_height(legend, _WIDTH))
    wide = _WIDTH - _LEFT - _RIGHT
    axes = add_axes(figure, _LEFT, TITLE_HEIGHT, wide, _TALL)
    clean(axes, accuracy, cost)

    on_front = pareto_front(x, y)
    _draw_front(axes, x[on_front], y[on_front], x.max(), styles[_FRONT])
    for name in dict.fromkeys(groups):
        own = (groups == name).to_numpy()
        look: dict[str, Any] = {"color": styles[name].color, "edgecolors": "white"}
        look |= {"marker": styles[name].marker, "linewidths": 0.8, "zorder": 3}
        axes.scatter(x[own], y[own], s=48, **look)
    axes.margins(0.08, 0.12)
    # The limits are to stay, as labels stand in inches.
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    names = known[label].astype(str).tolist()
    places = axes.transLimits.transform(np.column_stack([x, y])) * (wide, _TALL)
    _label(axes, places, names, on_front, (wide, _TALL))
    draw_legend(figure, legend)
    figure.set_label(_told(x, y, names, on_front, cost, accuracy))
    return figure


def _styles(groups: Sequence[str]) -> dict[str, Style]:
    marks = itertools.cycle(MARKERS)
    styles = {
        group: Style(series(i).color, width=0.0, marker=mark)
        for i, (group, mark) in enumerate(zip(groups, marks, strict=False))
    }
    return styles | {_FRONT: Style(FAINT_INK, (4.5, 2.2), width=1.4)}


def _draw_front(
    axes: Axes,
    cost: Float[np.ndarray, " point"],
    accuracy: Float[np.ndarray, " point"],
    most: float,
    style: Style,
) -> None:
    """What accuracy each cost buys, up to the ``most`` that any point costs."""
    order = np.lexsort((accuracy, cost))
    x, y = cost[order], accuracy[order]
    if x[-1] < most:
        x, y = np.append(x, most), np.append(y, y[-1])
    axes.step(x, y, where="post", zorder=2, **style.line())


def _label(
    axes: Axes,
    places: Float[np.ndarray, "point 2"],
    names: Sequence[str],
    first: Bool[np.ndarray, " point"],
    size: tuple[float, float],
) -> None:
    """Writes the names that have room near their points, those of some first.

    Args:
      places: of the points, in inches from the lower left corner of the axes.
      size: of the axes.
    """
    taken = [Bbox.from_bounds(x - 0.06, y - 0.06, 0.12, 0.12) for x, y in places]
    taken += _steps(places[first], places[:, 0].max())
    whole = Bbox.from_bounds(0, 0, *size)
    for i in np.argsort(~first, kind="stable"):
        for box in _boxes(places[i], text_width(names[i]) + 0.08):
            inside = whole.x0 <= box.x0 and box.x1 <= whole.x1
            inside = inside and whole.y0 <= box.y0 and box.y1 <= whole.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                _write(axes, places[i], box, names[i], size)
                break


def _steps(front: Float[np.ndarray, "point 2"], most: float) -> list[Bbox]:
    """Where the line of the front runs."""
    ordered = front[np.lexsort((front[:, 1], front[:, 0]))]
    ordered = np.append(ordered, [[most, ordered[-1, 1]]], axis=0)
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(ordered):
        boxes.append(Bbox.from_extents(x0, y0 - 0.02, x1, y0 + 0.02))
        boxes.append(Bbox.from_extents(x1 - 0.02, y0, x1 + 0.02, y1))
    return boxes


def _boxes(point: Float[np.ndarray, "2"], width: float) -> Iterator[Bbox]:
    """Where a label may stand, the best place first."""
    for reach in _REACHES:
        for right, up in _SIDES:
            x = point[0] + right * reach + (right - 1) * width / 2
            y = point[1] + up * (reach + 0.02) - _LETTER / 2
            yield Bbox.from_bounds(x, y, width, _LETTER)


def _write(
    axes: Axes,
    point: Float[np.ndarray, "2"],
    box: Bbox,
    name: str,
    size: tuple[float, float],
) -> None:
    center = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    place = center[0] / size[0], center[1] / size[1]
    near = np.clip(point, (box.x0, box.y0), (box.x1, box.y1))
    if np.hypot(*(near - point)) > 0.13:
        x, y = np.array([point, near]).T / np.array([size]).T
        look: dict[str, Any] = {"color": FAINT_INK, "linewidth": 0.6, "zorder": 1}
        axes.plot(x, y, transform=axes.transAxes, **look)
    look = {"ha": "center", "size": LABEL_SIZE, "color": INK, "zorder": 5}
    write(axes, *place, name, transform=axes.transAxes, **look)


def _told(
    x: Float[np.ndarray, " point"],
    y: Float[np.ndarray, " point"],
    names: Sequence[str],
    on_front: Bool[np.ndarray, " point"],
    cost: str,
    accuracy: str,
) -> str:
    front = [i for i in np.lexsort((y, x)) if on_front[i]]
    low, top = front[0], front[-1]
    return (
        f"{accuracy} against {cost} of {len(x)} networks, {len(front)} of them on the "
        f"Pareto front: from {names[low]} ({y[low]:.4g} at {x[low]:.4g}) to "
        f"{names[top]} ({y[top]:.4g} at {x[top]:.4g})."
    )
