"""Pictures of the weights of every edge's operations: by epoch, and at the end."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from darts_jax.analysis.diagnostics import mean_weights
from darts_jax.bilevel.discretization import (
    WeightReader,
    require_finite_alpha,
    softmax_weights,
)
from darts_jax.documentation import implements
from darts_jax.plots.cells import cell_title, draw_supernet
from darts_jax.plots.choices import plot_choices
from darts_jax.plots.heatmap import (
    CELL_HEIGHT,
    CELL_WIDTH,
    draw_heatmap,
    names_height,
    names_overhang,
    names_width,
)
from darts_jax.plots.style import (
    FOOT_HEIGHT,
    INK,
    TEXT_SIZE,
    Style,
    add_axes,
    draw_legend,
    legend_height,
    make_figure,
    operation_styles,
    series_style,
    style_axes,
    use_whole_numbers,
    write_heading,
    write_note,
)
from darts_jax.spaces.graph import Cell, Space
from darts_jax.spaces.modules import ChoiceSpace
from darts_jax.spaces.widths import TAKE

Logits = Mapping[str, Float[np.ndarray, "epoch edge op"]]
"""Kind of cell -> saved architecture parameters; other keys are ignored."""

_COLUMNS = 4
_MARKS = 6  # on a line

# Lengths in inches: of a panel's axes, its title, the gap between panels, the margins
# left and right of them, and the heading of a cell.
_WIDE = 1.08
_TALL = 0.85
_TITLE = 0.32
_GAP = 0.2
_LEFT = 0.5
_RIGHT = 0.15
_HEADING = 0.46
_ROW = _TITLE + _TALL
_COURSE_TALL = 1.45


class AlphaPlot(Protocol):
    """Picture of the weights that architecture parameters give.

    Args:
      space: the search space.
      alpha: kind -> architecture parameters [epoch, edge, op].
      read: weights of the parameters of an epoch.

    Returns:
      The figure; its label describes it in a sentence.

    Raises:
      InputError: the parameters of an epoch are NaN or infinite.
    """

    def __call__(
        self, space: Space, alpha: Logits, read: WeightReader = ...
    ) -> Figure: ...


@implements(AlphaPlot)
def plot_alpha(
    space: Space, alpha: Logits, read: WeightReader = softmax_weights
) -> Figure:
    """Plots the weight of each operation by epoch, a panel for each edge."""
    if isinstance(space, ChoiceSpace):
        own = _weights(space, alpha, read)
        return plot_choices(space.decisions, {k: w[:, 0] for k, w in own.items()})
    styles = operation_styles(_operation_names(space))
    columns = {k: _count_columns(len(cell.edges)) for k, cell in space.cells.items()}
    rows = {k: -(-len(c.edges) // columns[k]) for k, c in space.cells.items()}
    most = max(columns.values())
    width = _LEFT + most * (_WIDE + _GAP) - _GAP + _RIGHT
    heights = {k: _HEADING + n * _ROW + FOOT_HEIGHT for k, n in rows.items()}
    figure = make_figure(width, sum(heights.values()) + legend_height(styles, width))
    weights = _weights(space, alpha, read)
    top = 0.0
    highest = max(float(values.max()) for values in weights.values())
    for kind, cell in space.cells.items():
        write_heading(figure, f"{cell_title(kind)}: weights by epoch", top + 0.08)
        write_note(figure, _describe_inputs(cell), top + 0.3)
        panels = _add_panels(figure, top + _HEADING, len(cell.edges), columns[kind])
        for e, axes in enumerate(panels):
            _draw_edge(axes, cell, e, weights[kind][:, e], styles)
            axes.set_ylim(-0.04 * highest, 1.06 * highest)
        _label_outer_axes(panels, columns[kind])
        top += heights[kind]
    draw_legend(figure, styles)
    figure.set_label(_describe(space, weights))
    return figure


@implements(AlphaPlot)
def plot_course(
    space: Space,
    alpha: Logits,
    truth: Sequence[float] | None = None,
    read: WeightReader = softmax_weights,
) -> Figure:
    """Plots a search at a glance, by epoch: how good its genotype is, what it prefers.

    Below are the weights of the operations, means over the edges that have them, a
    panel for each kind of cell.

    Args:
      truth: true accuracy in percent of the genotype of each epoch, if it is known; it
        has a panel of its own above.
    """
    styles = operation_styles(_operation_names(space))
    means = mean_weights(space, alpha, read)
    count = len(next(iter(alpha.values())))
    epochs = np.arange(1, count + 1)
    # A line of one epoch is a point.
    point: dict[str, Any] = {"marker": "."} if count == 1 else {}
    panels = [*(["truth"] if truth is not None else []), *means]
    width, row = 5.0, _TITLE + _COURSE_TALL + FOOT_HEIGHT
    figure = make_figure(width, len(panels) * row + legend_height(styles, width))
    for i, panel in enumerate(panels):
        wide = width - _LEFT - _RIGHT
        axes = add_axes(figure, _LEFT, i * row + _TITLE, wide, _COURSE_TALL)
        use_whole_numbers(axes.xaxis)
        axes.set_xlim(0, 1.02 * max(count, 2))
        every = max(1, count // _MARKS)
        if panel == "truth" and truth is not None:
            style_axes(axes, "true accuracy of the genotype, %", "epoch")
            line = point | series_style(0).line()
            axes.plot(epochs, truth, markevery=every, **line)
            continue
        style_axes(axes, f"{cell_title(panel)}: mean weight of an operation", "epoch")
        for name, values in means[panel].items():
            line = point | styles[name].line()
            axes.plot(epochs, values, markevery=every, **line)
    draw_legend(figure, styles)
    figure.set_label(_describe_course(means, truth))
    return figure


@implements(AlphaPlot)
def plot_heatmap(
    space: Space, alpha: Logits, read: WeightReader = softmax_weights
) -> Figure:
    """Plots the weights after the last epoch, edges by operations.

    The strongest operation of each edge has a frame.
    """
    weights = _weights(space, alpha, read)
    if isinstance(space, ChoiceSpace):
        return draw_supernet(space, {kind: own[-1] for kind, own in weights.items()})
    names = {kind: _edge_names(cell) for kind, cell in space.cells.items()}
    left = 0.1 + max(names_width(rows) for rows in names.values())
    most = max(len(cell.operations) for cell in space.cells.values())
    right = names_overhang(_operation_names(space))
    width = max(3.4, left + most * CELL_WIDTH + right)
    above = {k: _HEADING + names_height(c.operations) for k, c in space.cells.items()}
    height = sum(
        above[kind] + len(cell.edges) * CELL_HEIGHT + 0.15
        for kind, cell in space.cells.items()
    )
    figure = make_figure(width, height)
    top = 0.0
    for kind, cell in space.cells.items():
        write_heading(figure, f"{cell_title(kind)}: weights at the end", top + 0.08)
        write_note(figure, _describe_inputs(cell), top + 0.3)
        table = _arrange_by_operation(cell, weights[kind][-1])
        cells_top = top + above[kind]
        axes = draw_heatmap(
            figure, left, cells_top, table, rows=names[kind], columns=cell.operations
        )
        for row, column in enumerate(np.nanargmax(table, axis=-1)):
            corner = (column + 0.04, row + 0.06)
            frame = Rectangle(
                corner, 0.92, 0.88, fill=False, edgecolor=INK, linewidth=2
            )
            axes.add_patch(frame)
        top += above[kind] + len(cell.edges) * CELL_HEIGHT + 0.15
    figure.set_label(_describe(space, weights))
    return figure


def _count_columns(edges: int) -> int:
    """Returns the number of columns that leaves the fewest places empty."""
    return min(range(min(edges, 3), _COLUMNS + 1), key=lambda n: (-edges % n, -n))


def _add_panels(figure: Figure, top: float, count: int, columns: int) -> list[Axes]:
    panels = []
    for e in range(count):
        row, column = divmod(e, columns)
        left = _LEFT + column * (_WIDE + _GAP)
        panels.append(add_axes(figure, left, top + row * _ROW + _TITLE, _WIDE, _TALL))
    return panels


def _label_outer_axes(panels: Sequence[Axes], columns: int) -> None:
    """Keeps numbers along the lowest and the leftmost axes alone."""
    for e, axes in enumerate(panels):
        is_lowest = e + columns >= len(panels)
        axes.tick_params(labelleft=e % columns == 0, labelbottom=is_lowest)
        axes.set_xlabel("epoch" if is_lowest else "")


def _operation_names(space: Space) -> list[str]:
    """Returns the operations of all kinds of cells, each once."""
    cells = space.cells.values()
    return list(dict.fromkeys(name for cell in cells for name in cell.operations))


def _describe_inputs(cell: Cell) -> str:
    """Says which states of a cell are its inputs."""
    if cell.inputs == 1:
        return "0 is the input of the cell"
    *others, last = map(str, range(cell.inputs))
    return f"{', '.join(others)} and {last} are the inputs of the cell"


def _edge_names(cell: Cell) -> list[str]:
    return [
        f"column {edge.target}"
        if TAKE in edge.operations
        else f"{edge.source} -> {edge.target}"
        for edge in cell.edges
    ]


def _weights(
    space: Space, alpha: Logits, read: WeightReader
) -> dict[str, Float[np.ndarray, "epoch edge op"]]:
    """Returns kind -> weights; negative where an edge has no such operation.

    Raises:
      InputError: the parameters of an epoch are NaN or infinite.
    """
    epochs = len(next(iter(alpha.values())))
    for epoch in range(epochs):
        own = {kind: alpha[kind][epoch] for kind in space.cells}
        require_finite_alpha(space, own, f" after epoch {epoch + 1}")
    return {
        kind: np.stack([read(cell, epoch) for epoch in np.asarray(alpha[kind])])
        for kind, cell in space.cells.items()
    }


def _arrange_by_operation(
    cell: Cell, weights: Float[np.ndarray, "edge op"]
) -> Float[np.ndarray, "edge operation"]:
    """Returns weights with a column for each operation of the cell, NaN for absent."""
    table = np.full((len(cell.edges), len(cell.operations)), np.nan)
    for e, edge in enumerate(cell.edges):
        for o, operation in enumerate(edge.operations):
            table[e, cell.operations.index(operation)] = weights[e, o]
    return table


def _draw_edge(
    axes: Axes,
    cell: Cell,
    e: int,
    weights: Float[np.ndarray, "epoch op"],
    styles: Mapping[str, Style],
) -> None:
    style_axes(axes, _edge_names(cell)[e], size=TEXT_SIZE)
    epochs = np.arange(1, len(weights) + 1)
    use_whole_numbers(axes.xaxis, 3)
    for o, operation in enumerate(cell.edges[e].operations):
        axes.plot(
            epochs,
            weights[:, o],
            label=operation,
            markevery=max(1, len(epochs) // _MARKS),
            **styles[operation].line(),
        )


def _describe_course(
    means: Mapping[str, Mapping[str, Float[np.ndarray, " epoch"]]],
    truth: Sequence[float] | None,
) -> str:
    told = []
    if truth is not None:
        told.append(
            f"The true accuracy of the genotype is {truth[0]:.2f} % after the first "
            f"epoch and {truth[-1]:.2f} % after epoch {len(truth)}."
        )
    for kind, own in means.items():
        last = {name: float(values[-1]) for name, values in own.items()}
        best = max(last, key=lambda name: last[name])
        told.append(
            f"In the {cell_title(kind)} {best} weighs most in the end, "
            f"{last[best]:.2f} on average."
        )
    return " ".join(told)


def _describe(
    space: Space, weights: Mapping[str, Float[np.ndarray, "epoch edge op"]]
) -> str:
    return " ".join(
        _describe_cell(kind, cell, weights[kind]) for kind, cell in space.cells.items()
    )


def _describe_cell(
    kind: str, cell: Cell, weights: Float[np.ndarray, "epoch edge op"]
) -> str:
    last = weights[-1]
    best: Sequence[int] = last.argmax(-1).tolist()
    shares = [float(last[e, o]) for e, o in enumerate(best)]
    e = int(np.argmax(shares))
    operation = cell.edges[e].operations[best[e]]
    place = f"{operation} on {_edge_names(cell)[e]} with {shares[e]:.2f}"
    return (
        f"After {len(weights)} epochs the strongest operation of the "
        f"{cell_title(kind)} is {place}; the least decided of its {len(shares)} edges "
        f"gives its strongest {min(shares):.2f}."
    )
