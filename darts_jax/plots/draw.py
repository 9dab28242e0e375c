"""Pictures of genotypes: every operation a label between its two states.

The kind of an operation is told by colour and, for greyscale, by dashes.
"""

import collections
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from darts_jax.plots.layout import BOX, RADIUS, Layout, Point, Slot
from darts_jax.plots.style import (
    FAINT_INK,
    FAMILY,
    INK,
    PALE,
    STYLES,
    TITLE_SIZE,
    Style,
    draw_legend,
    kind_of,
    legend_height,
    make_figure,
    save_figure,
    save_pictures,
    write,
)
from darts_jax.spaces import SPACES
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import CellGenotype, Genotype

_TITLES = {"reduce": "reduction"}
_TITLE = 0.42


def draw_genotype(genotype: Genotype, path: str | Path | None = None) -> Figure:
    """Draws the cells of a genotype one above the other, with a legend.

    Args:
      path: where to save the drawing too; its suffix names the format.

    Raises:
      InputError: matplotlib cannot write that format, or the genotype is none of its
        space, where that is registered.
    """
    if genotype.space in SPACES:
        check_genotype(genotype)
    cells = {kind: Layout(cell) for kind, cell in genotype.cells.items()}
    styles = {kind: edge_styles(layout) for kind, layout in cells.items()}
    figure = draw_layouts(cells, styles)
    figure.set_label(_told(genotype))
    if path is not None:
        save_figure(figure, Path(path))
    return figure


def draw_layouts(
    cells: Mapping[str, Layout], styles: Mapping[str, Sequence[Style]]
) -> Figure:
    """Draws cells one above the other, with a legend.

    Args:
      cells: kind -> where everything of it stands.
      styles: kind -> of each of its edges.
    """
    layouts = list(cells.values())
    width = max([6.0, *(layout.width for layout in layouts)])
    kinds = _kinds(layouts)
    height = sum(layout.height + _TITLE for layout in layouts)
    height += legend_height(kinds, width)
    figure = make_figure(width, height)
    top = height
    for kind, layout in cells.items():
        top -= _TITLE + layout.height
        box = ((width - layout.width) / 2 / width, top / height)
        size = (layout.width / width, layout.height / height)
        axes = figure.add_axes((*box, *size))
        _draw(axes, layout, cell_title(kind), styles[kind])
    draw_legend(figure, kinds)
    return figure


def edge_styles(layout: Layout) -> list[Style]:
    """Of each edge of a cell, by what it does."""
    kinds = [kind_of(name) if name else "output" for name, _ in layout.edges]
    return [STYLES[kind] for kind in kinds]


def cell_title(kind: str) -> str:
    """A kind of cell, for people."""
    return f"{_TITLES.get(kind, kind)} cell"


def draw_cell(axes: Axes, cell: CellGenotype, title: str) -> None:
    """Draws a cell into axes. Labels fit if an inch of the layout is one on paper."""
    layout = Layout(cell)
    _draw(axes, layout, title, edge_styles(layout))


def save_drawing(genotype: Genotype, stem: Path) -> tuple[Path, Path]:
    """Writes ``stem.svg`` and ``stem.png``, each as a whole or not at all.

    The same genotype gives the same bytes of SVG.
    """
    return save_pictures(draw_genotype(genotype), stem)


def _told(genotype: Genotype) -> str:
    """What the picture of a genotype shows, in a sentence."""
    parts = []
    for kind, cell in genotype.cells.items():
        counts = collections.Counter(choice.operation for choice in cell.choices)
        named = ", ".join(f"{n} {name}" for name, n in counts.most_common())
        parts.append(f"the {cell_title(kind)} keeps {named or 'nothing'}")
    return f"Of a genotype of {genotype.space}, {'; '.join(parts)}."


def _draw(axes: Axes, layout: Layout, title: str, styles: Sequence[Style]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    axes.set_aspect("equal")
    look: dict[str, Any] = {"size": TITLE_SIZE, "weight": "bold", "color": INK}
    axes.set_title(title, family=FAMILY, **look)
    for (operation, chain), style in zip(layout.edges, styles, strict=True):
        _draw_edge(axes, layout, operation, chain, style)
    names = [f"$c_{{k-{n}}}$" for n in range(layout.cell.inputs, 0, -1)]
    names += [str(node) for node in range(layout.cell.states - layout.cell.inputs)]
    for name, slot in zip([*names, "$c_k$"], layout.states, strict=True):
        _draw_state(axes, layout.x[slot.column], slot.y, name)


def _draw_state(axes: Axes, x: float, y: float, name: str) -> None:
    if name.isdigit():
        node = Circle((x, y), RADIUS, fc="white", ec=INK, lw=1.5, zorder=4)
        axes.add_patch(node)
    else:
        size = (2 * BOX, 2 * RADIUS)
        _draw_box(axes, (x, y), size, 0.1, fc=PALE, ec=INK, lw=1.5)
    write(axes, x, y, name, size=11, ha="center", zorder=5)


def _draw_edge(
    axes: Axes,
    layout: Layout,
    operation: str | None,
    chain: Sequence[Slot],
    style: Style,
) -> None:
    points = layout.points(chain)
    tip = points[-1]
    points[-1] = (tip[0] - 0.08, tip[1])
    vertices, codes = [points[0]], [Curve.MOVETO]
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
    head = [tip, (tip[0] - 0.11, tip[1] - half), (tip[0] - 0.11, tip[1] + half)]
    axes.add_patch(
        Polygon(head, color=style.color, alpha=style.alpha, linewidth=0, zorder=3)
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
    write(axes, *center, operation, color=ink, ha="center", zorder=5)


def _draw_box(
    axes: Axes, center: Point, size: Point, rounding: float, **look: Any
) -> None:
    corner = (center[0] - size[0] / 2, center[1] - size[1] / 2)
    boxstyle = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=boxstyle, zorder=4, **look))


def _kinds(layouts: Sequence[Layout]) -> dict[str, Style]:
    """What the legend explains."""
    names = [name for layout in layouts for name, _ in layout.edges]
    present = {kind_of(name) if name else "output" for name in names} | {"output"}
    return {kind: style for kind, style in STYLES.items() if kind in present}
