"""Pictures of cells: those of a genotype, and all edges of a supernet.

Every operation is a label between its two states. Colour and, for greyscale, dashes
show the kind of the operation.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from darts_jax.files import open_place
from darts_jax.plots.cell_layout import BOX, RADIUS, CellLayout, Point, Slot
from darts_jax.plots.choices import draw_choices
from darts_jax.plots.style import (
    FAINT_INK,
    FAMILY,
    INK,
    OPERATION_STYLES,
    PALE,
    TITLE_SIZE,
    Style,
    draw_legend,
    legend_height,
    make_figure,
    operation_kind,
    save_figure,
    save_pictures,
    write_text,
)
from darts_jax.spaces import SPACES, modules
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import Cell, CellGenotype, Genotype, KeptEdge, Space
from darts_jax.spaces.widths import COLUMNS, TAKE

_TITLES = {"reduce": "reduction"}
_TITLE_HEIGHT = 0.42

_SQUARE = 0.34  # side of a column's square, and the gap
_COLUMNS_IN_A_ROW = 15

# Width in points of an edge of a supernet with weight 0 and 1, and least opacity.
_THINNEST = 0.7
_THICKEST = 5.0
_PALEST = 0.35


def draw_genotype(genotype: Genotype, path: str | Path | None = None) -> Figure:
    """Draws the cells of a genotype one above the other, with a legend.

    Args:
      genotype: the genotype.
      path: file in which the drawing is saved too; its suffix names the format.

    Returns:
      The figure; its label describes it in a sentence.

    Raises:
      InputError: matplotlib cannot write that format, or the genotype is none of its
        space, where that is registered.
    """
    if genotype.space in SPACES:
        check_genotype(genotype)
    if modules.is_module(genotype.space):
        decisions = modules.get_decisions(genotype.space)
        return _saved(draw_choices(decisions, modules.choices_of(genotype)), path)
    layouts = {
        kind: CellLayout(cell)
        for kind, cell in genotype.cells.items()
        if kind != COLUMNS
    }
    styles = {kind: _edge_styles(layout) for kind, layout in layouts.items()}
    columns = genotype.cells.get(COLUMNS)
    taken = [float(c.operation == TAKE) for c in columns.choices] if columns else []
    figure = _draw_cells(layouts, styles, taken)
    figure.set_label(_describe_genotype(genotype))
    return _saved(figure, path)


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        save_figure(figure, open_place(path))
    return figure


def save_drawing(genotype: Genotype, stem: Path) -> tuple[Path, Path]:
    """Writes ``stem.svg`` and ``stem.png``, each as a whole or not at all.

    The same genotype gives the same bytes of SVG.

    Args:
      genotype: the genotype.
      stem: path of the files without their suffix.

    Returns:
      The paths of the two files.
    """
    return save_pictures(draw_genotype(genotype), stem)


def draw_supernet(
    space: Space, weights: Mapping[str, Float[np.ndarray, "edge op"]]
) -> Figure:
    """Draws all edges of a space's cells, each with its strongest operation.

    The larger its weight, the thicker and darker is the edge; the label has the number.

    Args:
      space: the search space.
      weights: kind -> mixing weights in [0, 1]; entries where an edge has no such
        operation take no part.

    Returns:
      The figure; its label describes it in a sentence.
    """
    if isinstance(space, modules.ChoiceSpace):
        shares = {kind: own[0] for kind, own in weights.items()}
        best = {
            d.name: d.options[int(np.argmax(shares[d.name]))] for d in space.decisions
        }
        return draw_choices(space.decisions, best, shares)
    strongest = {
        kind: _find_strongest(cell, weights[kind]) for kind, cell in space.cells.items()
    }
    layouts = {}
    styles = {}
    for kind, cell in space.cells.items():
        if kind == COLUMNS:
            continue
        layouts[kind] = _lay_out_strongest(cell, strongest[kind])
        styles[kind] = _weighted_styles(layouts[kind], strongest[kind])
    taken = np.asarray(weights.get(COLUMNS, np.zeros((0, 1))))[:, 0]
    figure = _draw_cells(layouts, styles, taken)
    figure.set_label(
        " ".join(
            _describe_strongest(kind, cell, strongest[kind])
            for kind, cell in space.cells.items()
        )
    )
    return figure


def cell_title(kind: str) -> str:
    """Returns the name of a kind of cell for people.

    Args:
      kind: the kind, such as "reduce".
    """
    return f"{_TITLES.get(kind, kind)} cell"


# Supernets


Strongest = list[tuple[str, float]]
"""For each edge its strongest operation and the weight of that."""


def _find_strongest(cell: Cell, weights: Float[np.ndarray, "edge op"]) -> Strongest:
    known = np.where(cell.mask, np.asarray(weights), -np.inf)
    best = known.argmax(-1)
    return [
        (edge.operations[i], float(known[e, i]))
        for e, (edge, i) in enumerate(zip(cell.edges, best, strict=True))
    ]


def _lay_out_strongest(cell: Cell, strongest: Strongest) -> CellLayout:
    # The label is the operation's name, longer by a number: its kind stays the same.
    choices = tuple(
        KeptEdge(edge.target, edge.source, f"{operation} {weight:.2f}")
        for edge, (operation, weight) in zip(cell.edges, strongest, strict=True)
    )
    return CellLayout(CellGenotype(cell.inputs, choices, cell.output))


def _weighted_styles(layout: CellLayout, strongest: Strongest) -> list[Style]:
    """Returns the styles of edges by their weights; edges to the output keep theirs."""
    styles = _edge_styles(layout)
    for i, (_, weight) in enumerate(strongest):
        styles[i] = _weighted_style(styles[i], weight)
    return styles


def _weighted_style(style: Style, weight: float) -> Style:
    width = _THINNEST + (_THICKEST - _THINNEST) * weight
    # Dashes are in units of the width: as long as before.
    dashes = tuple(dash * style.width / width for dash in style.dashes)
    alpha = _PALEST + (1 - _PALEST) * min(1.0, 1.5 * weight)
    return dataclasses.replace(style, width=width, dashes=dashes, alpha=alpha)


def _describe_strongest(kind: str, cell: Cell, strongest: Strongest) -> str:
    weights = [weight for _, weight in strongest]
    first = int(np.argmax(weights))
    edge = cell.edges[first]
    operation, weight = strongest[first]
    return (
        f"In the {cell_title(kind)} the strongest of {len(weights)} edges is "
        f"{edge.source} -> {edge.target} with {operation} at {weight:.2f}; the weakest "
        f"has {min(weights):.2f}."
    )


# Cells


def _draw_cells(
    layouts: Mapping[str, CellLayout],
    styles: Mapping[str, Sequence[Style]],
    taken: Sequence[float] | np.ndarray = (),
) -> Figure:
    """Draws cells one above the other, with a legend.

    Args:
      layouts: kind -> layout of its cell.
      styles: kind -> style of each of its edges.
      taken: weight with which each column of a table is taken, in [0, 1]; empty: none
        are chosen.
    """
    width = max([6.0, *(layout.width for layout in layouts.values())])
    legend = _legend_styles(layouts.values())
    height = sum(layout.height + _TITLE_HEIGHT for layout in layouts.values())
    height += legend_height(legend, width)
    rows = -(-len(taken) // _COLUMNS_IN_A_ROW)
    strip = rows * _SQUARE + _TITLE_HEIGHT + 0.15 if rows else 0.0
    height += strip
    figure = make_figure(width, height)
    top = height - strip
    if rows:
        axes = figure.add_axes((0, top / height, 1, strip / height))
        _draw_columns(axes, taken, width, strip)
    for kind, layout in layouts.items():
        top -= _TITLE_HEIGHT + layout.height
        axes = figure.add_axes(
            (
                (width - layout.width) / 2 / width,
                top / height,
                layout.width / width,
                layout.height / height,
            )
        )
        _draw_cell(axes, layout, cell_title(kind), styles[kind])
    draw_legend(figure, legend)
    return figure


def _draw_columns(
    axes: Axes, taken: Sequence[float] | np.ndarray, width: float, height: float
) -> None:
    """Draws a numbered square for each column, the darker the more it is taken."""
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    style = OPERATION_STYLES["skip connection"]
    count = sum(weight > 0.5 for weight in taken)
    title = f"columns: {count} of {len(taken)} taken"
    axes.text(
        width / 2,
        _TITLE_HEIGHT * 0.6,
        title,
        ha="center",
        family=FAMILY,
        size=TITLE_SIZE,
        weight="bold",
        color=INK,
    )
    left = (width - min(len(taken), _COLUMNS_IN_A_ROW) * _SQUARE) / 2
    for i, weight in enumerate(taken):
        row, column = divmod(i, _COLUMNS_IN_A_ROW)
        x = left + (column + 0.5) * _SQUARE
        y = _TITLE_HEIGHT + (row + 0.5) * _SQUARE
        side = 0.86 * _SQUARE
        shade = (*to_rgb(style.color), 0.75 * weight)
        _draw_box(axes, (x, y), (side, side), 0.03, lw=0.8, fc=shade, ec=style.color)
        ink = INK if weight > 0.5 else FAINT_INK
        write_text(axes, x, y, str(i + 1), color=ink, ha="center", zorder=5)


def _edge_styles(layout: CellLayout) -> list[Style]:
    """Returns the style of each edge of a cell, by the kind of its operation."""
    kinds = [operation_kind(name) if name else "output" for name, _ in layout.edges]
    return [OPERATION_STYLES[kind] for kind in kinds]


def _legend_styles(layouts: Iterable[CellLayout]) -> dict[str, Style]:
    """Returns the kinds of operations in some cells, with their styles."""
    names = [name for layout in layouts for name, _ in layout.edges]
    present = {operation_kind(name) if name else "output" for name in names}
    present.add("output")
    return {kind: style for kind, style in OPERATION_STYLES.items() if kind in present}


def _describe_genotype(genotype: Genotype) -> str:
    parts = []
    for kind, cell in genotype.cells.items():
        counts = collections.Counter(choice.operation for choice in cell.choices)
        named = ", ".join(f"{n} {name}" for name, n in counts.most_common())
        parts.append(f"the {cell_title(kind)} keeps {named or 'nothing'}")
    return f"Of a genotype of {genotype.space}, {'; '.join(parts)}."


def _draw_cell(
    axes: Axes, layout: CellLayout, title: str, styles: Sequence[Style]
) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    axes.set_aspect("equal")
    axes.set_title(title, family=FAMILY, size=TITLE_SIZE, weight="bold", color=INK)
    for (operation, chain), style in zip(layout.edges, styles, strict=True):
        _draw_edge(axes, layout, operation, chain, style)
    names = [f"$c_{{k-{n}}}$" for n in range(layout.cell.inputs, 0, -1)]
    names += [str(node) for node in range(layout.cell.states - layout.cell.inputs)]
    for name, slot in zip([*names, "$c_k$"], layout.states, strict=True):
        if layout.shown[slot.number]:
            _draw_state(axes, layout.x[slot.column], slot.y, name)


def _draw_state(axes: Axes, x: float, y: float, name: str) -> None:
    if name.isdigit():
        node = Circle((x, y), RADIUS, fc="white", ec=INK, lw=1.5, zorder=4)
        axes.add_patch(node)
    else:
        size = (2 * BOX, 2 * RADIUS)
        _draw_box(axes, (x, y), size, 0.1, fc=PALE, ec=INK, lw=1.5)
    write_text(axes, x, y, name, size=11, ha="center", zorder=5)


def _draw_edge(
    axes: Axes,
    layout: CellLayout,
    operation: str | None,
    chain: Sequence[Slot],
    style: Style,
) -> None:
    points = layout.points(chain)
    tip = points[-1]
    points[-1] = (tip[0] - 0.08, tip[1])
    vertices = [points[0]]
    codes = [Curve.MOVETO]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (x0 + x1) / 2
        vertices += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    axes.add_patch(
        PathPatch(
            Curve(vertices, codes),
            fill=False,
            edgecolor=style.color,
            alpha=style.alpha,
            linestyle=style.linestyle,
            linewidth=style.width,
            zorder=1 if operation in (None, "none") else 2,
        )
    )
    half = 0.05 * max(1.0, style.width / 2.6)
    arrow = [tip, (tip[0] - 0.11, tip[1] - half), (tip[0] - 0.11, tip[1] + half)]
    axes.add_patch(
        Polygon(arrow, color=style.color, alpha=style.alpha, linewidth=0, zorder=3)
    )
    for slot in chain:
        if slot.kind == "label" and operation is not None:
            center = (layout.x[slot.column], slot.y)
            _draw_label(axes, center, layout.label, operation, style)


def _draw_label(
    axes: Axes, center: Point, size: Point, operation: str, style: Style
) -> None:
    _draw_box(axes, center, size, 0.06, fc="white", ec=style.color, lw=1.0)
    ink = FAINT_INK if style.alpha <= 0.6 else INK
    x, y = center
    write_text(axes, x, y, operation, color=ink, ha="center", zorder=5)


def _draw_box(
    axes: Axes, center: Point, size: Point, rounding: float, **look: Any
) -> None:
    width, height = size
    corner = (center[0] - width / 2, center[1] - height / 2)
    boxstyle = f"round,pad=0,rounding_size={rounding}"
    box = FancyBboxPatch(corner, width, height, boxstyle=boxstyle, zorder=4, **look)
    axes.add_patch(box)
