"""Style of all pictures: colours, letters, axes, legends, and how they are saved.

No information is in colour alone: what differs in colour differs in dashes, marks or
letters too. Lengths are in inches, places from the upper left corner of the figure.
"""

import base64
import dataclasses
import html
import io
import itertools
import math
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from darts_jax.errors import InputError
from darts_jax.files import write_atomically
from darts_jax.models.operations.activations import ACTIVATIONS
from darts_jax.spaces.widths import LEAVE_OUT, TAKE

INK = "#1F2933"
FAINT_INK = "#6B7280"
PALE = "#E4E7EB"
FAMILY = "DejaVu Sans"  # comes with matplotlib, so a picture is the same everywhere

# Sizes of letters, in points.
TITLE_SIZE = 11.0
TEXT_SIZE = 9.0
LABEL_SIZE = 8.0
LETTERS: dict[str, Any] = {"family": FAMILY, "size": TEXT_SIZE}

# Heights of a line of text, of the title above and the names below axes, and of a row
# of a legend.
LINE_HEIGHT = 0.17
TITLE_HEIGHT = 0.34
FOOT_HEIGHT = 0.46
LEGEND_ROW = 0.24

_LEFT = 0.1  # of a heading and a note, in inches
_RC: dict[Any, Any] = {"svg.hashsalt": "darts_jax", "svg.fonttype": "none"}


@dataclasses.dataclass(frozen=True)
class Style:
    """Look of a line: a colour and, for greyscale, dashes and marks.

    A line of width 0 has marks alone, and those are filled.

    Attributes:
      color: colour of line and marks.
      dashes: lengths of dashes and gaps, in units of the width; empty: a solid line.
      width: width in points.
      alpha: opacity.
      marker: mark, as matplotlib names it; empty: none.
    """

    color: str
    dashes: tuple[float, ...] = ()
    width: float = 1.8
    alpha: float = 1.0
    marker: str = ""

    @property
    def linestyle(self) -> tuple[float, tuple[float, ...] | None]:
        """Dashes as matplotlib takes them."""
        return 0.0, self.dashes or None

    def line(self) -> dict[str, Any]:
        """Returns the keyword arguments of a line of matplotlib."""
        return {
            "color": self.color,
            "linestyle": self.linestyle,
            "linewidth": self.width,
            "alpha": self.alpha,
            "marker": self.marker or None,
            "markersize": 4.0 if self.width else 6.5,
            "markerfacecolor": "white" if self.width else self.color,
        }


# The colours of Okabe and Ito (2008), which the colour-blind distinguish.
OPERATION_STYLES = {
    "separable convolution": Style("#0072B2"),
    "dilated convolution": Style("#D55E00", (7, 1.6, 1.4, 1.6)),
    "convolution": Style("#000000", width=2.4),
    "inverted residual": Style("#56B4E9", (9, 1.2), width=2.4),
    "width": Style("#CC79A7", (2.4, 1.2)),
    "pooling": Style("#E69F00", (1.2, 1.2), width=2.2),
    "skip connection": Style("#009E73", (4.5, 2.2)),
    "noise": Style("#CC79A7", (7, 1.6, 1.4, 1.6, 1.4, 1.6)),
    "activation": Style("#56B4E9", width=2.0),
    "attention": Style("#0072B2", (10, 2.4), width=2.2),
    "taken column": Style("#009E73", (3.4, 1.2)),
    "column left out": Style("#8C8C8C", (1.2, 2.6), width=1.2),
    "dense layer": Style("#0072B2", (12, 1.4), width=2.0),
    "residual layer": Style("#D55E00", (7, 1.6, 1.4, 1.6), width=2.0),
    "feed-forward": Style("#D55E00", (2.6, 3.0), width=2.0),
    "none": Style("#8C8C8C", (1.2, 2.6), width=1.0, alpha=0.6),
    "output": Style("#B4B4B4", width=1.1),
}
"""Kind of operation -> look of its edges."""

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
    "attention": "attention",
    "ffn": "feed-forward",
    TAKE: "taken column",
    LEAVE_OUT: "column left out",
    "dense": "dense layer",
    "residual": "residual layer",
} | dict.fromkeys(ACTIVATIONS, "activation")
_SERIES = (
    Style("#0072B2"),
    Style("#D55E00", (5, 1.8)),
    Style("#009E73", (1.2, 1.2), width=2.1),
    Style("#000000", (7, 1.6, 1.4, 1.6), width=1.5),
    Style("#E69F00", (10, 2.4), width=2.1),
    Style("#CC79A7", (7, 1.6, 1.4, 1.6, 1.4, 1.6)),
    Style("#56B4E9", (2.6, 3.0), width=2.1),
)
MARKERS = "osD^vPX"
"""Marks that differ without colour."""


def operation_kind(operation: str) -> str:
    """Returns the kind of an operation, a key of ``OPERATION_STYLES``.

    Args:
      operation: its name; an unknown one counts as a convolution.
    """
    for prefix, kind in _PREFIXES.items():
        if operation.startswith(prefix):
            return kind
    return "convolution"


def operation_styles(operations: Iterable[str]) -> dict[str, Style]:
    """Returns a style for each operation: its kind's, with a mark if not the first.

    Args:
      operations: names of operations.
    """
    found: dict[str, Style] = {}
    seen: dict[str, int] = {}
    for operation in operations:
        kind = operation_kind(operation)
        rank = seen.setdefault(kind, 0)
        seen[kind] += 1
        marker = MARKERS[(rank - 1) % len(MARKERS)] if rank else ""
        width = max(OPERATION_STYLES[kind].width, 1.5)
        found[operation] = dataclasses.replace(
            OPERATION_STYLES[kind], alpha=1.0, marker=marker, width=width
        )
    return found


def series_style(index: int) -> Style:
    """Returns the style of one of several equal lines.

    The first 7 differ in colour and in dashes, the first 49 in one of them.

    Args:
      index: number of the line, from 0.
    """
    count = len(_SERIES)
    color = _SERIES[index % count].color
    style = _SERIES[(index + index // count) % count]
    return dataclasses.replace(style, color=color)


def text_width(text: str, size: float = LABEL_SIZE) -> float:
    """Returns the width in inches of the ink of a text.

    Args:
      text: the text.
      size: size of its letters, in points.
    """
    outline = TextPath((0, 0), text, size=size, prop=FontProperties(family=FAMILY))
    return float(outline.get_extents().width) / 72


def widest_text(texts: Collection[str], size: float = LABEL_SIZE) -> float:
    """Returns the width in inches in which each of some texts fits; 0 without any.

    Args:
      texts: the texts.
      size: size of their letters, in points.
    """
    # Ink is narrower than a letter's advance.
    return max((text_width(text, size) + 0.03 for text in texts if text), default=0.0)


def wrap_text(text: str, width: float) -> str:
    """Breaks a text in letters of a label into lines that fit a width.

    Args:
      text: the text.
      width: the width in inches.
    """
    letters = len(text)
    while letters > 1:
        lines = textwrap.wrap(text, letters, break_long_words=False)
        if widest_text(lines, LABEL_SIZE) <= width:
            return "\n".join(lines)
        letters -= 1
    return text


class NotebookFigure(Figure):
    """A figure that a notebook shows by itself, with its text alternative."""

    def _repr_mimebundle_(self, **ignored: Any) -> dict[str, Any]:
        del ignored
        png = _render_figure(self, "png", dpi=100)
        return {"image/png": png, "text/plain": str(self.get_label())}


def make_figure(width: float, height: float) -> NotebookFigure:
    """Makes an empty white figure.

    Args:
      width: width in inches.
      height: height in inches.
    """
    return NotebookFigure(figsize=(width, height), facecolor="white")


def add_axes(
    figure: Figure, left: float, top: float, width: float, height: float
) -> Axes:
    """Adds axes at a place of a figure, in inches.

    Args:
      figure: the figure.
      left: distance from its left side.
      top: distance from its upper side.
      width: width of the axes.
      height: height of the axes.
    """
    whole, tall = figure.get_size_inches()
    box = (left / whole, 1 - (top + height) / tall, width / whole, height / tall)
    return figure.add_axes(box)


def style_axes(
    axes: Axes, title: str, below: str = "", size: float = TITLE_SIZE
) -> None:
    """Removes needless lines from axes, and names them.

    Args:
      axes: the axes.
      title: name of the vertical axis, with its unit; it stands above.
      below: name of the horizontal axis.
      size: size of the title, in points.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    # Never an exponent over the axis, where the title is.
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(
        color=FAINT_INK,
        labelsize=min(size, TEXT_SIZE),
        labelcolor=INK,
        labelfontfamily=FAMILY,
        length=3,
    )
    axes.set_title(
        title, loc="left", color=INK, family=FAMILY, size=size, weight="bold"
    )
    axes.set_xlabel(below, color=INK, family=FAMILY, size=TEXT_SIZE)


def use_whole_numbers(axis: Axis, most: int = 6) -> None:
    """Restricts the ticks of an axis to whole numbers.

    Args:
      axis: the axis.
      most: largest number of intervals between ticks.
    """
    steps = [1, 2, 5, 10]
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=steps))


def write_text(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Writes a text at a place of axes, centred in height.

    Args:
      axes: the axes.
      x: the place, in their coordinates.
      y: the place, in their coordinates.
      text: the text.
      **look: arguments of matplotlib's `Axes.text`.
    """
    letters: dict[str, Any] = {"size": LABEL_SIZE, "color": INK, "family": FAMILY}
    axes.text(x, y, text, **{"va": "center"} | letters | look)


def write_heading(figure: Figure, text: str, top: float = 0.08) -> None:
    """Writes a heading of a figure.

    Args:
      figure: the figure.
      text: the heading.
      top: distance from its upper side, in inches.
    """
    _write_line(figure, text, top, _LEFT, size=TITLE_SIZE, weight="bold", color=INK)


def write_note(figure: Figure, text: str, top: float, left: float = _LEFT) -> None:
    """Writes a faint line that says how to read a picture.

    Args:
      figure: the figure.
      text: the line.
      top: distance from its upper side, in inches.
      left: distance from its left side, in inches.
    """
    _write_line(figure, text, top, left, size=LABEL_SIZE, color=FAINT_INK)


def _write_line(
    figure: Figure, text: str, top: float, left: float, **look: Any
) -> None:
    width, height = figure.get_size_inches()
    x = left / width
    y = 1 - top / height
    figure.text(x, y, text, family=FAMILY, va="top", **look)


def legend_grid(names: Collection[str], width: float) -> tuple[int, int]:
    """Returns the columns and rows of a legend for which a width has room.

    Args:
      names: names in the legend.
      width: the width in inches.
    """
    entry = 0.85 + widest_text(names, TEXT_SIZE)
    columns = max(1, min(len(names), int(width / entry)))
    rows = math.ceil(len(names) / columns)
    return math.ceil(len(names) / rows), rows


def legend_height(names: Collection[str], width: float) -> float:
    """Returns the height in inches of a legend in a figure of a width.

    Args:
      names: names in the legend.
      width: the width in inches.
    """
    return 0.2 + LEGEND_ROW * legend_grid(names, width)[1]


def draw_legend(figure: Figure, styles: Mapping[str, Style]) -> None:
    """Draws a legend at the foot of a figure.

    Args:
      figure: the figure.
      styles: name -> style of its line.
    """
    columns, _ = legend_grid(styles, figure.get_size_inches()[0])
    handles = [Line2D([], [], label=k, **style.line()) for k, style in styles.items()]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=columns,
        frameon=False,
        prop=LETTERS,
        labelcolor=INK,
        handlelength=3.2,
    )


def place_apart(
    wanted: Sequence[float],
    heights: Sequence[float],
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """Returns the places nearest to the wanted ones at which nothing overlaps.

    After subtraction of the distances it is isotonic regression, by pooling adjacent
    violators.

    Args:
      wanted: wanted centres, in rising order.
      heights: height of what stands at each centre.
      low: least centre, as far as there is room.
      high: greatest centre, as far as there is room.
    """
    gaps = [(a + b) / 2 for a, b in itertools.pairwise(heights)]
    offsets = list(itertools.accumulate(gaps, initial=0.0))
    pools: list[list[float]] = []
    for y, offset in zip(wanted, offsets, strict=True):
        pools.append([y - offset])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    levels = [fmean(pool) for pool in pools for _ in pool]
    highest = high - offsets[-1]
    return [
        max(low, min(level, highest)) + offset
        for level, offset in zip(levels, offsets, strict=True)
    ]


def save_pictures(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Writes ``stem.svg`` and ``stem.png``, each as a whole or not at all.

    Args:
      figure: the figure.
      stem: path of the files without their suffix.

    Returns:
      The paths of the two files.
    """
    svg = stem.with_name(f"{stem.name}.svg")
    png = stem.with_name(f"{stem.name}.png")
    save_figure(figure, svg)
    save_figure(figure, png)
    return svg, png


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a whole or not at all, with the same bytes each time.

    Args:
      figure: the figure.
      path: the file; its suffix names the format.

    Raises:
      InputError: matplotlib cannot write the format that the suffix names.
    """
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in figure.canvas.get_supported_filetypes():
        raise InputError(f"cannot draw to {path}: write a .svg, .png or .pdf")
    write_atomically(path, _render_figure(figure, suffix))


def svg_text(figure: Figure) -> str:
    """Returns a figure as SVG, the same text each time.

    Args:
      figure: the figure; its label, the text alternative, is the title of the SVG.
    """
    text = _render_figure(figure, "svg").decode()
    return text[text.index("<svg") :]  # the lines before belong to a file, not a page


def img_tag(figure: Figure) -> str:
    """Returns a figure as an HTML image that looks alike in every browser.

    Args:
      figure: the figure; its label is the text alternative.
    """
    data = base64.b64encode(_render_figure(figure, "png", dpi=100)).decode()
    alternative = html.escape(str(figure.get_label()))
    return f'<img src="data:image/png;base64,{data}" alt="{alternative}">'


def _render_figure(figure: Figure, suffix: str, dpi: int = 160) -> bytes:
    label = str(figure.get_label()) or None
    metadata = {"svg": {"Date": None, "Title": label}, "png": {"Description": label}}
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        known = {k: v for k, v in metadata.get(suffix, {}).items() if v or k == "Date"}
        figure.savefig(buffer, format=suffix, dpi=dpi, metadata=known or None)
    return buffer.getvalue()
