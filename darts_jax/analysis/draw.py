"""Pictures of genotypes: every operation a label between its two states.

The kind of an operation is told by colour and, for greyscale, by dashes.
"""

import dataclasses
import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from darts_jax.analysis.layout import (
    BOX,
    FAMILY,
    LABEL_SIZE,
    RADIUS,
    Layout,
    Point,
    Slot,
    text_width,
)
from darts_jax.errors import InputError
from darts_jax.files import write_whole
from darts_jax.spaces.graph import CellGenotype, Genotype


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
    "inverted residual": Style("#56B4E9", (9, 1.2), width=2.4),
    "width": Style("#CC79A7", (2.4, 1.2)),
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
    "mb": "inverted residual",
    "ir": "inverted residual",
    "width": "width",
}

_TITLES = {"reduce": "reduction"}
_INK, _FAINT_INK = "#1F2933", "#6B7280"
_RC: dict[Any, Any] = {"svg.hashsalt": "darts_jax", "svg.fonttype": "none"}


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
    layouts = [Layout(cell) for cell in genotype.cells.values()]
    title = 0.42
    width = max([6.0, *(layout.width for layout in layouts)])
    columns, rows = _legend_grid(genotype, width)
    legend = 0.2 + 0.24 * rows
    height = sum(layout.height + title for layout in layouts) + legend
    figure = Figure(figsize=(width, height), facecolor="white")
    top = height
    for kind, layout in zip(genotype.cells, layouts, strict=True):
        top -= title + layout.height
        box = ((width - layout.width) / 2 / width, top / height)
        size = (layout.width / width, layout.height / height)
        _draw(figure.add_axes((*box, *size)), layout, f"{_TITLES.get(kind, kind)} cell")
    _draw_legend(figure, genotype, columns)
    if path is not None:
        save_figure(figure, Path(path))
    return figure


def draw_cell(axes: Axes, cell: CellGenotype, title: str) -> None:
    """Draws a cell into axes. Labels fit if an inch of the layout is one on paper."""
    _draw(axes, Layout(cell), title)


def save_drawing(genotype: Genotype, stem: Path) -> tuple[Path, Path]:
    """Writes ``stem.svg`` and ``stem.png``, each as a whole or not at all.

    The same genotype gives the same bytes of SVG.
    """
    return save_pictures(draw_genotype(genotype), stem)


def save_pictures(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Writes a figure as ``stem.svg`` and ``stem.png``."""
    svg, png = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png"))
    save_figure(figure, svg)
    save_figure(figure, png)
    return svg, png


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a whole or not at all, of the same bytes each time."""
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in figure.canvas.get_supported_filetypes():
        raise InputError(f"cannot draw to {path}: write a .svg, .png or .pdf")
    undated = {"Date": None} if suffix == "svg" else None
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format=suffix, dpi=160, metadata=undated)
    write_whole(path, buffer.getvalue())


def _draw(axes: Axes, layout: Layout, title: str) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    axes.set_aspect("equal")
    axes.set_title(title, fontsize=12, fontweight="bold", family=FAMILY, color=_INK)
    for operation, chain in layout.edges:
        _draw_edge(axes, layout, operation, chain)
    names = [f"$c_{{k-{n}}}$" for n in range(layout.cell.inputs, 0, -1)]
    names += [str(node) for node in range(layout.cell.states - layout.cell.inputs)]
    for name, slot in zip([*names, "$c_k$"], layout.states, strict=True):
        _draw_state(axes, layout.x[slot.column], slot.y, name)


def _draw_state(axes: Axes, x: float, y: float, name: str) -> None:
    if name.isdigit():
        node = Circle((x, y), RADIUS, fc="white", ec=_INK, lw=1.5, zorder=4)
        axes.add_patch(node)
    else:
        size = (2 * BOX, 2 * RADIUS)
        _draw_box(axes, (x, y), size, 0.1, fc="#E4E7EB", ec=_INK, lw=1.5)
    _write(axes, (x, y), name, size=11, color=_INK)


def _draw_edge(
    axes: Axes, layout: Layout, operation: str | None, chain: Sequence[Slot]
) -> None:
    style = STYLES["output" if operation is None else kind_of(operation)]
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
    ink = _FAINT_INK if style.alpha < 1 else _INK
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
        labelcolor=_INK,
        handlelength=3.2,
    )
