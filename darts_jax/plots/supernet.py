"""Pictures of a supernet: all its edges, and how sure each is of an operation."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from darts_jax.plots.draw import cell_title, draw_layouts, edge_styles
from darts_jax.plots.layout import Layout
from darts_jax.plots.style import Style
from darts_jax.spaces.graph import Cell, CellGenotype, Choice, Space

_THINNEST, _THICKEST = 0.7, 5.0  # points
_PALEST = 0.35  # opacity


def draw_supernet(
    space: Space, weights: Mapping[str, Float[np.ndarray, "edge op"]]
) -> Figure:
    """Draws all edges of a space's cells, each as its strongest operation.

    The more that weighs, the thicker and darker is the edge; the label says how much.

    Args:
      weights: kind -> mixing weights in [0, 1]; what stands where an edge has no such
        operation takes no part.
    """
    strongest = {k: _strongest(c, weights[k]) for k, c in space.cells.items()}
    layouts = {k: _layout(c, strongest[k]) for k, c in space.cells.items()}
    styles = {k: _styles(layouts[k], strongest[k]) for k in space.cells}
    figure = draw_layouts(layouts, styles)
    figure.set_label(_told(space, strongest))
    return figure


Strongest = list[tuple[str, float]]
"""Of each edge: its strongest operation, and what that weighs."""


def _strongest(cell: Cell, weights: Float[np.ndarray, "edge op"]) -> Strongest:
    known = np.where(cell.mask, np.asarray(weights), -np.inf)
    best = known.argmax(-1)
    return [
        (edge.operations[i], float(known[e, i]))
        for e, (edge, i) in enumerate(zip(cell.edges, best, strict=True))
    ]


def _layout(cell: Cell, strongest: Strongest) -> Layout:
    # The label is the operation's name, longer by a number: its kind stays the same.
    choices = tuple(
        Choice(edge.target, edge.source, f"{operation} {weight:.2f}")
        for edge, (operation, weight) in zip(cell.edges, strongest, strict=True)
    )
    return Layout(CellGenotype(cell.inputs, choices, cell.output))


def _styles(layout: Layout, strongest: Strongest) -> list[Style]:
    """Edges as strong as they weigh; those to the output as they are."""
    styles = edge_styles(layout)
    for i, (_, weight) in enumerate(strongest):
        styles[i] = _as_strong(styles[i], weight)
    return styles


def _as_strong(style: Style, share: float) -> Style:
    width = _THINNEST + (_THICKEST - _THINNEST) * share
    # Dashes are in units of the width: as long as before.
    dashes = tuple(dash * style.width / width for dash in style.dashes)
    alpha = _PALEST + (1 - _PALEST) * min(1.0, 1.5 * share)
    return dataclasses.replace(style, width=width, dashes=dashes, alpha=alpha)


def _told(space: Space, strongest: Mapping[str, Strongest]) -> str:
    return " ".join(
        _cell_told(kind, cell, strongest[kind]) for kind, cell in space.cells.items()
    )


def _cell_told(kind: str, cell: Cell, strongest: Strongest) -> str:
    weights: Sequence[float] = [weight for _, weight in strongest]
    first = int(np.argmax(weights))
    edge, (operation, weight) = cell.edges[first], strongest[first]
    return (
        f"In the {cell_title(kind)} the strongest of {len(weights)} edges is "
        f"{edge.source} -> {edge.target} with {operation} at {weight:.2f}; the weakest "
        f"has {min(weights):.2f}."
    )
