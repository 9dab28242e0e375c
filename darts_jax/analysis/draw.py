"""Pictures of genotypes: every operation a label between its two states.

The kind of an operation is told by colour and, for greyscale, by dashes.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from darts_jax.analysis.layout import (
    BOX,
    LABEL_SIZE,
    RADIUS,
    Layout,
    Point,
    Slot,
    text_width,
)
from darts_jax.analysis.style import (
    FAINT_INK,
    FAMILY,
    INK,
    Picture,
    save_figure,
    save_pictures,
)
from darts_jax.spaces.graph import CellGenotype, Choice, Genotype, Space


@dataclasses.dataclass(frozen=True)
class Style:
    """How the edges of a kind are drawn: by colour and, for greyscale, by dashes."""

    color: str
    dashes: tuple[float, ...] = ()
    width: float = 1.8
    alpha: float = 1.0

    @property
    def linestyle(self) -> tuple[float, tuple[float, ...] | None]:
        return 0.0, self.dashes or None


# The colours of Okabe and Ito (2008), which the colour-blind tell apart.
STYLES = {
    "separable convolution": Style("#0072B2"),
    "dilated convolution": Style("#D55E00", (7, 1.6, 1.4, 1.6)),
    "convolution": Style("#000000", width=2.4),
    "pooling": Style("#E69F00", (1.2, 1.2), width=2.2),
    "skip connection": Style("#009E73", (4.5, 2.2)),
    "noise": Style("#CC79A7", (7, 1.6, 1.4, 1.6, 1.4, 1.6)),
    "none": Style("#8C8C8C", (1.2, 2.6), width=1.0, alpha=0.6),
    "output": Style("#B4B4B4", width=1.1),
}
_PREFIXES = {
    "sep_conv": "separable convolution",
    "dil_conv": "dilated convolution",
    "max_pool": "pooling",
    "avg_pool": "pooling",
    "skip_connect": "skip connection",
    "noise": "noise",
    "none": "none",
}

_TITLES = {"reduce": "reduction"}


def kind_of(operation: str) -> str:
    """The key of ``STYLES`` for an operation; unknown ones count as convolutions."""
    for prefix, kind in _PREFIXES.items():
        if operation.startswith(prefix):
            return kind
    return "convolution"


def draw_genotype(genotype: Genotype, path: str | Path | None = None) -> Figure:
    """Draws the cells of a genotype one above the other, with a legend.

    Args:
      path: where to save the drawing too; its suffix names the format.

    Raises:
      InputError: matplotlib cannot write that format.
    """
    figure = _draw_cells(genotype, None)
    figure.set_label(f"Cells of a genotype of {genotype.space}. {_told(genotype)}")
    if path is not None:
        save_figure(figure, Path(path))
    return figure


def draw_supernet(space: Space, weights: Mapping[str, np.ndarray]) -> Figure:
    """Draws all edges of a space's cells, each as strong as its strongest operation.

    Args:
      weights: kind -> [edge, op] in [0, 1], as `discretization.reading_of` reads them.
    """
    cells, strengths = {}, {}
    for kind, cell in space.cells.items():
        best = np.argmax(np.where(cell.mask, weights[kind], -1), axis=-1)
        most = np.take_along_axis(np.asarray(weights[kind]), best[:, None], -1)[:, 0]
        labels = [
            f"{edge.operations[column]} {weight:.2f}"
            for edge, column, weight in zip(cell.edges, best, most, strict=True)
        ]
        choices = [
            Choice(edge.target, edge.source, label)
            for edge, label in zip(cell.edges, labels, strict=True)
        ]
        cells[kind] = CellGenotype(cell.inputs, tuple(choices), cell.output)
        strengths[kind] = {
            (edge.source, edge.target): _strength(len(edge.operations), float(weight))
            for edge, weight in zip(cell.edges, most, strict=True)
        }
    genotype = Genotype(space.name, cells)
    figure = _draw_cells(genotype, strengths)
    figure.set_label(
        f"Supernet of {space.name}, the strongest operation of every edge with its "
        f"weight. {_told(genotype)}"
    )
    return figure


def _strength(operations: int, weight: float) -> float:
    """How far an edge is from weighing all of its operations alike."""
    even = 1 / operations
    return max(0.0, (weight - even) / (1 - even)) if operations > 1 else 1.0


def _told(genotype: Genotype) -> str:
    return "; ".join(str(genotype).splitlines()) + "."


Strengths = Mapping[tuple[int, int], float]
"""(source, target) -> 0 for an undecided edge, 1 for a decided one."""


def _draw_cells(
    genotype: Genotype, strengths: Mapping[str, Strengths] | None
) -> Picture:
    layouts = [Layout(cell) for cell in genotype.cells.values()]
    title = 0.42
    width = max([6.0, *(layout.width for layout in layouts)])
    columns, rows = _legend_grid(genotype, width)
    legend = 0.2 + 0.24 * rows
    height = sum(layout.height + title for layout in layouts) + legend
    figure = Picture(figsize=(width, height), facecolor="white")
    top = height
    for kind, layout in zip(genotype.cells, layouts, strict=True):
        top -= title + layout.height
        box = ((width - layout.width) / 2 / width, top / height)
        size = (layout.width / width, layout.height / height)
        axes = figure.add_axes((*box, *size))
        own = None if strengths is None else strengths[kind]
        _draw(axes, layout, f"{_TITLES.get(kind, kind)} cell", own)
    _draw_legend(figure, genotype, columns)
    return figure


def draw_cell(axes: Axes, cell: CellGenotype, title: str) -> None:
    """Draws a cell into axes. Labels fit if an inch of the layout is one on paper."""
    _draw(axes, Layout(cell), title, None)


def save_drawing(genotype: Genotype, stem: Path) -> tuple[Path, Path]:
    """Writes ``stem.svg`` and ``stem.png``, each as a whole or not at all.

    The same genotype gives the same bytes of SVG.
    """
    return save_pictures(draw_genotype(genotype), stem)


def _draw(
    axes: Axes,
    layout: Layout,
    title: str,
    strengths: Strengths | None,
) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    axes.set_aspect("equal")
    axes.set_title(title, fontsize=12, fontweight="bold", family=FAMILY, color=INK)
    for operation, chain in layout.edges:
        style = STYLES["output" if operation is None else kind_of(operation)]
        if strengths is not None and operation is not None:
            ends = layout.states.index(chain[0]), layout.states.index(chain[-1])
            style = _as_strong_as(style, strengths[ends])
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
        _draw_box(axes, (x, y), size, 0.1, fc="#E4E7EB", ec=INK, lw=1.5)
    _write(axes, (x, y), name, size=11, color=INK)


def _as_strong_as(style: Style, strength: float) -> Style:
    width, alpha = 0.5 + 4.0 * strength, 0.4 + 0.6 * strength
    return dataclasses.replace(style, width=width, alpha=min(alpha, 0.999))


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
    head = [tip, (tip[0] - 0.11, tip[1] - 0.05), (tip[0] - 0.11, tip[1] + 0.05)]
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
    ink = FAINT_INK if operation.startswith("none") else INK
    _write(axes, center, operation, size=LABEL_SIZE, color=ink)


def _draw_box(
    axes: Axes, center: Point, size: Point, rounding: float, **look: Any
) -> None:
    corner = (center[0] - size[0] / 2, center[1] - size[1] / 2)
    boxstyle = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=boxstyle, zorder=4, **look))


def _write(axes: Axes, center: Point, text: str, size: float, color: str) -> None:
    artist = axes.text(*center, text, size=size, color=color, family=FAMILY, zorder=5)
    artist.set(horizontalalignment="center", verticalalignment="center")


def _kinds(genotype: Genotype) -> list[str]:
    cells = genotype.cells.values()
    present = {kind_of(c.operation) for cell in cells for c in cell.choices}
    return [kind for kind in STYLES if kind in {*present, "output"}]


def _legend_grid(genotype: Genotype, width: float) -> tuple[int, int]:
    """Columns and rows of the legend that a width has room for."""
    kinds = _kinds(genotype)
    entry = 0.85 + max(text_width(kind, 9.0) for kind in kinds)
    columns = min(len(kinds), int(width / entry))
    rows = math.ceil(len(kinds) / columns)
    return math.ceil(len(kinds) / rows), rows


def _draw_legend(figure: Figure, genotype: Genotype, columns: int) -> None:
    styles = {kind: STYLES[kind] for kind in _kinds(genotype)}
    handles = [
        Line2D(
            [], [], color=s.color, ls=s.linestyle, lw=s.width, alpha=s.alpha, label=k
        )
        for k, s in styles.items()
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=columns,
        frameon=False,
        prop={"family": FAMILY, "size": 9},
        labelcolor=INK,
        handlelength=3.2,
    )
