"""What every operation of every edge weighs: by epoch, and at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from darts_jax.analysis.style import (
    FAINT_INK,
    FAMILY,
    INK,
    RULE,
    legend_below,
    line_look,
    picture,
    tidy,
    whole_epochs,
)
from darts_jax.spaces.graph import Cell, Space

_TITLES = {"normal": "normal cell", "reduce": "reduction cell"}


def plot_alpha(
    space: Space, weights: Mapping[str, Float[np.ndarray, "epoch edge op"]]
) -> Figure:
    """A frame for each edge, from its source (row) to its target (column).

    Args:
      weights: kind -> weights as `discretization.reading_of` reads them: -1 where an
        edge has no such operation.
    """
    names = _operations(space)
    looks = {name: line_look(number) for number, name in enumerate(names)}
    grids = {kind: _grid(cell) for kind, cell in space.cells.items()}
    columns = max(width for _, width in grids.values())
    rows = sum(height for height, _ in grids.values())
    width = max(1.55 * columns, 5.2)
    figure = picture(width, 0.95 * rows + 0.45 * len(grids) + 0.7)
    span = _span([weights[kind] for kind in grids])
    parts = figure.subfigures(
        len(grids),
        squeeze=False,
        height_ratios=[height for height, _ in grids.values()],
    )[:, 0]
    for part, (kind, cell) in zip(parts, space.cells.items(), strict=True):
        title = _TITLES.get(kind, kind) if len(grids) > 1 else ""
        part.suptitle(title, fontsize=11, fontweight="bold", family=FAMILY, color=INK)
        height, _ = grids[kind]
        frames = part.subplots(height, columns, squeeze=False, sharex=True, sharey=True)
        for axes in frames.ravel():
            axes.set_axis_off()
        for number, edge in enumerate(cell.edges):
            axes = frames[edge.source, edge.target - cell.inputs]
            axes.set_axis_on()
            axes.set_ylim(*span)
            own = weights[kind][:, number]
            _draw_edge(axes, own, edge.operations, looks)
            _tidy_frame(axes, f"{edge.source} → {edge.target}")
    handles = [Line2D([], [], label=name, **looks[name]) for name in names]
    legend_below(figure, handles, int(width / 1.85))
    figure.set_label(_told(space, {kind: w[-1] for kind, w in weights.items()}))
    return figure


def plot_heatmap(
    space: Space, weights: Mapping[str, Float[np.ndarray, "edge op"]]
) -> Figure:
    """A row for each edge, a column for each operation; light is much."""
    names = _operations(space)
    heights = [len(cell.edges) for cell in space.cells.values()]
    figure = picture(1.6 + 0.62 * len(names), 0.27 * sum(heights) + 1.2 * len(heights))
    frames = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    least, most = _span([weights[kind] for kind in space.cells], margin=0)
    for axes, (kind, cell) in zip(frames, space.cells.items(), strict=True):
        table = np.full((len(cell.edges), len(names)), np.nan)
        for number, edge in enumerate(cell.edges):
            at = [names.index(operation) for operation in edge.operations]
            table[number, at] = weights[kind][number, : len(at)]
        axes.imshow(table, cmap="cividis", vmin=least, vmax=most, aspect="auto")
        _write_numbers(axes, table, (least + most) / 2)
        tidy(axes, _TITLES.get(kind, kind) if len(heights) > 1 else "")
        axes.grid(visible=False)
        axes.set_yticks(
            range(len(cell.edges)), [f"{e.source} → {e.target}" for e in cell.edges]
        )
        last = kind == list(space.cells)[-1]
        axes.set_xticks(range(len(names)), names if last else [""] * len(names))
        axes.tick_params(axis="x", rotation=45, length=0)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    figure.set_label(_told(space, weights))
    return figure


def _operations(space: Space) -> list[str]:
    return list(
        dict.fromkeys(o for cell in space.cells.values() for o in cell.operations)
    )


def _grid(cell: Cell) -> tuple[int, int]:
    """Rows and columns: sources, and nodes."""
    return 1 + max(edge.source for edge in cell.edges), cell.nodes


def _span(
    weights: Sequence[Float[np.ndarray, "..."]], margin: float = 0.06
) -> tuple[float, float]:
    """From the least to the greatest weight; -1 is none."""
    every = np.concatenate([each[each >= 0] for each in weights])
    least, most = float(every.min()), float(every.max())
    beyond = margin * max(most - least, 0.01)
    return least - beyond, most + beyond


def _draw_edge(
    axes: Axes,
    weights: Float[np.ndarray, "epoch op"],
    operations: tuple[str, ...],
    looks: Mapping[str, dict[str, Any]],
) -> None:
    epochs = np.arange(1, len(weights) + 1)
    marker = "o" if len(epochs) == 1 else ""
    for column, name in enumerate(operations):
        look = {**looks[name], "linewidth": 1.3}
        axes.plot(epochs, weights[:, column], marker=marker, markersize=3, **look)


def _tidy_frame(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=8, family=FAMILY, color=INK, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)
    axes.tick_params(labelsize=6.5, colors=FAINT_INK, labelcolor=INK, length=2)
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    whole_epochs(axes, 3)


def _write_numbers(
    axes: Axes, table: Float[np.ndarray, "edge op"], middle: float
) -> None:
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            axes.text(
                column,
                row,
                f"{value:.2f}",
                size=6.5,
                family=FAMILY,
                color="black" if value > middle else "white",
                horizontalalignment="center",
                verticalalignment="center",
            )


def _told(space: Space, last: Mapping[str, Float[np.ndarray, "edge op"]]) -> str:
    """The strongest operation of every edge, in words."""
    parts = []
    for kind, cell in space.cells.items():
        strongest = []
        for edge, weights in zip(cell.edges, last[kind], strict=True):
            best = int(np.argmax(weights[: len(edge.operations)]))
            named = f"{edge.source} to {edge.target} {edge.operations[best]}"
            strongest.append(f"{named} {weights[best]:.2f}")
        parts.append(f"{_TITLES.get(kind, kind)}: {', '.join(strongest)}")
    return (
        f"Strongest operation of every edge after the last epoch. {'; '.join(parts)}."
    )
