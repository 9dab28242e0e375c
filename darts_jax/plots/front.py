"""Picture of accuracy against cost of several networks, with their Pareto front."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from darts_jax.analysis.pareto import pareto_front
from darts_jax.errors import InputError
from darts_jax.plots import style

_FRONT = "Pareto front"

# Lengths in inches: width of the figure, size of the axes and margins beside them.
_WIDTH = 5.0
_LEFT = 0.6
_RIGHT = 0.15
_WIDE = _WIDTH - _LEFT - _RIGHT
_TALL = 3.0

# Height of a label and distances from its point, in inches, and the directions there.
_LABEL_HEIGHT = 0.15
_DISTANCES = (0.1, 0.22)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (-1, 1), (1, -1), (1, 1), (-1, -1))


def plot_front(
    points: pd.DataFrame,
    cost: str,
    accuracy: str,
    label: str,
    more_is_better: bool = True,
) -> Figure:
    """Plots accuracy against cost, a mark for each network and the front as steps.

    Labels never lie on one another or on a mark: where there is no room, there is none.
    The labels of the front come first.

    Args:
      points: a row for each network. Networks of one ``group``, if there is such a
        column, have the same mark.
      cost: column of the cost; it names the horizontal axis.
      accuracy: column of the accuracy; it names the vertical axis.
      label: column of the labels.
      more_is_better: whether a larger accuracy is a better one.

    Returns:
      The figure; its label describes it in a sentence.

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
    x = known[cost].to_numpy(float)
    y = known[accuracy].to_numpy(float)
    groups = pd.Series("", known.index)
    if "group" in known:
        groups = known["group"].astype(str)
    styles = _group_styles(list(dict.fromkeys(groups)))
    legend = {name: look for name, look in styles.items() if name}
    top = style.TITLE_HEIGHT + _TALL + style.FOOT_HEIGHT
    figure = style.make_figure(_WIDTH, top + style.legend_height(legend, _WIDTH))
    axes = style.add_axes(figure, _LEFT, style.TITLE_HEIGHT, _WIDE, _TALL)
    style.style_axes(axes, accuracy, cost)

    on_front = pareto_front(x, y if more_is_better else -y)
    _draw_front(axes, x[on_front], y[on_front], x.max(), styles[_FRONT])
    for name in dict.fromkeys(groups):
        own = (groups == name).to_numpy()
        axes.scatter(
            x[own],
            y[own],
            s=48,
            color=styles[name].color,
            edgecolors="white",
            marker=styles[name].marker,
            linewidths=0.8,
            zorder=3,
        )
    axes.margins(0.08, 0.12)
    # Labels stand in inches: the limits must not change any more.
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    names = known[label].astype(str).tolist()
    places = axes.transLimits.transform(np.column_stack([x, y])) * (_WIDE, _TALL)
    _write_labels(axes, places, names, on_front)
    style.draw_legend(figure, legend)
    figure.set_label(_describe(x, y, names, on_front, cost, accuracy))
    return figure


def _group_styles(groups: Sequence[str]) -> dict[str, style.Style]:
    marks = itertools.cycle(style.MARKERS)
    styles = {
        group: style.Style(style.series_style(i).color, width=0.0, marker=mark)
        for i, (group, mark) in enumerate(zip(groups, marks, strict=False))
    }
    return styles | {_FRONT: style.Style(style.FAINT_INK, (4.5, 2.2), width=1.4)}


def _draw_front(
    axes: Axes,
    cost: Float[np.ndarray, " point"],
    accuracy: Float[np.ndarray, " point"],
    most: float,
    look: style.Style,
) -> None:
    """Draws the best accuracy at each cost as steps.

    Args:
      axes: the axes.
      cost: cost of the points of the front.
      accuracy: accuracy of the points of the front.
      most: cost at which the line ends.
      look: of the line.
    """
    order = np.lexsort((accuracy, cost))
    x = cost[order]
    y = accuracy[order]
    if x[-1] < most:
        x = np.append(x, most)
        y = np.append(y, y[-1])
    axes.step(x, y, where="post", zorder=2, **look.line())


def _write_labels(
    axes: Axes,
    places: Float[np.ndarray, "point 2"],
    names: Sequence[str],
    on_front: Bool[np.ndarray, " point"],
) -> None:
    """Writes the names that have room near their points, those of the front first.

    Args:
      axes: the axes.
      places: places of the points, in inches from the lower left corner of the axes.
      names: name of each point.
      on_front: whether a point is on the front.
    """
    taken = [Bbox.from_bounds(x - 0.06, y - 0.06, 0.12, 0.12) for x, y in places]
    taken += _step_boxes(places[on_front], places[:, 0].max())
    whole = Bbox.from_bounds(0, 0, _WIDE, _TALL)
    for i in np.argsort(~on_front, kind="stable"):
        for box in _label_boxes(places[i], style.text_width(names[i]) + 0.08):
            is_inside = whole.x0 <= box.x0 and box.x1 <= whole.x1
            is_inside = is_inside and whole.y0 <= box.y0 and box.y1 <= whole.y1
            if is_inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                _write_label(axes, places[i], box, names[i])
                break


def _step_boxes(front: Float[np.ndarray, "point 2"], most: float) -> list[Bbox]:
    """Returns boxes around the line of the front, in inches."""
    ordered = front[np.lexsort((front[:, 1], front[:, 0]))]
    ordered = np.append(ordered, [[most, ordered[-1, 1]]], axis=0)
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(ordered):
        boxes.append(Bbox.from_extents(x0, y0 - 0.02, x1, y0 + 0.02))
        boxes.append(Bbox.from_extents(x1 - 0.02, y0, x1 + 0.02, y1))
    return boxes


def _label_boxes(point: Float[np.ndarray, "2"], width: float) -> Iterator[Bbox]:
    """Yields the boxes where a label may stand, the best one first."""
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            x = point[0] + right * distance + (right - 1) * width / 2
            y = point[1] + up * (distance + 0.02) - _LABEL_HEIGHT / 2
            yield Bbox.from_bounds(x, y, width, _LABEL_HEIGHT)


def _write_label(
    axes: Axes, point: Float[np.ndarray, "2"], box: Bbox, name: str
) -> None:
    """Writes a name into a box, with a line to its point if that is far."""
    x = (box.x0 + box.x1) / 2 / _WIDE
    y = (box.y0 + box.y1) / 2 / _TALL
    near = np.clip(point, (box.x0, box.y0), (box.x1, box.y1))
    beside = axes.transAxes
    if np.linalg.norm(near - point) > 0.13:
        ends = np.array([point, near]) / (_WIDE, _TALL)
        axes.plot(
            ends[:, 0],
            ends[:, 1],
            transform=beside,
            color=style.FAINT_INK,
            linewidth=0.6,
            zorder=1,
        )
    style.write_text(axes, x, y, name, transform=beside, ha="center", zorder=5)


def _describe(
    x: Float[np.ndarray, " point"],
    y: Float[np.ndarray, " point"],
    names: Sequence[str],
    on_front: Bool[np.ndarray, " point"],
    cost: str,
    accuracy: str,
) -> str:
    front = [i for i in np.lexsort((y, x)) if on_front[i]]
    low = front[0]
    top = front[-1]
    return (
        f"{accuracy} against {cost} of {len(x)} networks, {len(front)} of them on the "
        f"Pareto front: from {names[low]} ({y[low]:.4g} at {x[low]:.4g}) to "
        f"{names[top]} ({y[top]:.4g} at {x[top]:.4g})."
    )
