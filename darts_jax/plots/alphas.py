"""What the operations of every edge weigh: by epoch, and after the last one."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from darts_jax.bilevel.discretization import (
    WeightReader,
    require_finite_alpha,
    softmax_weights,
)
from darts_jax.plots.draw import cell_title
from darts_jax.plots.heatmap import CELL, draw_heatmap, names_height, names_width
from darts_jax.plots.style import (
    FOOT_HEIGHT,
    INK,
    TEXT_SIZE,
    Style,
    add_axes,
    clean,
    draw_legend,
    head,
    legend_height,
    make_figure,
    note,
    operation_styles,
    whole_numbers,
    widest,
)
from darts_jax.spaces.graph import Cell, Space

Logits = Mapping[str, Float[np.ndarray, "epoch edge op"]]
"""kind -> architecture parameters as they were saved; what else is there is left."""

_COLUMNS = 4
_WIDE, _TALL = 1.08, 0.85  # of a panel
_TITLE, _GAP, _LEFT, _RIGHT, _HEAD = 0.32, 0.2, 0.5, 0.15, 0.46
_ROW = _TITLE + _TALL
_MARKS = 6  # on a line


def plot_alpha(
    space: Space, alpha: Logits, read: WeightReader = softmax_weights
) -> Figure:
    """Weight of each operation by epoch, a panel for each edge.

    Args:
      read: weights of the parameters of an epoch.
    """
    styles = operation_styles(_operations(space))
    columns = {k: _columns(len(cell.edges)) for k, cell in space.cells.items()}
    rows = {k: -(-len(c.edges) // columns[k]) for k, c in space.cells.items()}
    most = max(columns.values())
    width = _LEFT + most * (_WIDE + _GAP) - _GAP + _RIGHT
    heights = {k: _HEAD + n * _ROW + FOOT_HEIGHT for k, n in rows.items()}
    figure = make_figure(width, sum(heights.values()) + legend_height(styles, width))
    top, weights = 0.0, _weights(space, alpha, read)
    highest = max(float(values.max()) for values in weights.values())
    for kind, cell in space.cells.items():
        head(figure, f"{cell_title(kind)}: weights by epoch", top + 0.08)
        note(figure, _numbered(cell), top + 0.3)
        panels = _panels(figure, top + _HEAD, len(cell.edges), columns[kind])
        for e, axes in enumerate(panels):
            _draw_edge(axes, cell, e, weights[kind][:, e], styles)
            axes.set_ylim(-0.04 * highest, 1.06 * highest)
        _name_outer(panels, columns[kind])
        top += heights[kind]
    draw_legend(figure, styles)
    figure.set_label(_told(space, weights))
    return figure


def plot_heatmap(
    space: Space, alpha: Logits, read: WeightReader = softmax_weights
) -> Figure:
    """Weights after the last epoch, edges by operations; the strongest is framed."""
    weights = _weights(space, alpha, read)
    names = {kind: _names(cell) for kind, cell in space.cells.items()}
    left = 0.1 + max(names_width(rows) for rows in names.values())
    most = max(len(cell.operations) for cell in space.cells.values())
    lean = max(0.1, 0.75 * widest(_operations(space)) - CELL[0] / 2 + 0.1)
    width = max(3.4, left + most * CELL[0] + lean)
    above = {k: _HEAD + names_height(c.operations) for k, c in space.cells.items()}
    height = sum(
        above[kind] + len(cell.edges) * CELL[1] + 0.15
        for kind, cell in space.cells.items()
    )
    figure = make_figure(width, height)
    top = 0.0
    for kind, cell in space.cells.items():
        head(figure, f"{cell_title(kind)}: weights at the end", top + 0.08)
        note(figure, _numbered(cell), top + 0.3)
        table = _table(cell, weights[kind][-1])
        corner = left, top + above[kind]
        axes = draw_heatmap(figure, corner, table, names[kind], cell.operations)
        for row, column in enumerate(np.nanargmax(table, axis=-1)):
            place = (column + 0.04, row + 0.06), 0.92, 0.88
            axes.add_patch(Rectangle(*place, fill=False, edgecolor=INK, linewidth=2))
        top += above[kind] + len(cell.edges) * CELL[1] + 0.15
    figure.set_label(_told(space, weights))
    return figure


def _columns(edges: int) -> int:
    """As many as leave the fewest places empty, the most of those."""
    return min(range(min(edges, 3), _COLUMNS + 1), key=lambda n: (-edges % n, -n))


def _panels(figure: Figure, top: float, count: int, columns: int) -> list[Axes]:
    panels = []
    for e in range(count):
        row, column = divmod(e, columns)
        left = _LEFT + column * (_WIDE + _GAP)
        panels.append(add_axes(figure, left, top + row * _ROW + _TITLE, _WIDE, _TALL))
    return panels


def _name_outer(panels: Sequence[Axes], columns: int) -> None:
    """Numbers along the lowest and the leftmost axes alone."""
    for e, axes in enumerate(panels):
        is_lowest = e + columns >= len(panels)
        axes.tick_params(labelleft=e % columns == 0, labelbottom=is_lowest)
        axes.set_xlabel("epoch" if is_lowest else "")


def _operations(space: Space) -> list[str]:
    """Of all kinds, each once."""
    cells = space.cells.values()
    return list(dict.fromkeys(name for cell in cells for name in cell.operations))


def _numbered(cell: Cell) -> str:
    """How the states of a cell are counted."""
    if cell.inputs == 1:
        return "0 is the input of the cell"
    *others, last = map(str, range(cell.inputs))
    return f"{', '.join(others)} and {last} are the inputs of the cell"


def _names(cell: Cell) -> list[str]:
    return [f"{edge.source} -> {edge.target}" for edge in cell.edges]


def _weights(
    space: Space, alpha: Logits, read: WeightReader
) -> dict[str, Float[np.ndarray, "epoch edge op"]]:
    """kind -> weights; negative where an edge has no such operation.

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


def _table(
    cell: Cell, weights: Float[np.ndarray, "edge op"]
) -> Float[np.ndarray, "edge operation"]:
    """Weights with a column for each operation of the cell; NaN where it is none."""
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
    clean(axes, _names(cell)[e], size=TEXT_SIZE)
    epochs = np.arange(1, len(weights) + 1)
    whole_numbers(axes.xaxis, 3)
    for o, operation in enumerate(cell.edges[e].operations):
        look = styles[operation].line() | {"markevery": max(1, len(epochs) // _MARKS)}
        axes.plot(epochs, weights[:, o], label=operation, **look)


def _told(
    space: Space, weights: Mapping[str, Float[np.ndarray, "epoch edge op"]]
) -> str:
    return " ".join(
        _cell_told(kind, cell, weights[kind]) for kind, cell in space.cells.items()
    )


def _cell_told(
    kind: str, cell: Cell, weights: Float[np.ndarray, "epoch edge op"]
) -> str:
    last = weights[-1]
    best: Sequence[int] = last.argmax(-1).tolist()
    shares = [float(last[e, o]) for e, o in enumerate(best)]
    e = int(np.argmax(shares))
    operation = cell.edges[e].operations[best[e]]
    place = f"{operation} on {_names(cell)[e]} with {shares[e]:.2f}"
    return (
        f"After {len(weights)} epochs the strongest operation of the "
        f"{cell_title(kind)} is {place}; the least decided of its {len(shares)} edges "
        f"gives its strongest {min(shares):.2f}."
    )
