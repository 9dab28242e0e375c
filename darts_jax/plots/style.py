"""The one look of all pictures: colours, letters, panels, and how they are saved.

Nothing is told by colour alone: what differs in colour differs in dashes, marks or
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

INK, FAINT_INK, PALE = "#1F2933", "#6B7280", "#E4E7EB"
FAMILY = "DejaVu Sans"  # comes with matplotlib, so a picture is the same everywhere
TITLE_SIZE, TEXT_SIZE, LABEL_SIZE = 11.0, 9.0, 8.0  # points
LETTERS: dict[str, Any] = {"family": FAMILY, "size": TEXT_SIZE}
LINE_HEIGHT = 0.17  # of a line of text beside others
TITLE_HEIGHT, FOOT_HEIGHT = 0.34, 0.46  # of what stands above and below axes
LEGEND_ROW = 0.24

_RC: dict[Any, Any] = {"svg.hashsalt": "darts_jax", "svg.fonttype": "none"}


@dataclasses.dataclass(frozen=True)
class Style:
    """How a line is drawn: by colour and, for greyscale, by dashes and marks.

    One without a width is nothing but its marks, and those are filled.
    """

    color: str
    dashes: tuple[float, ...] = ()
    width: float = 1.8
    alpha: float = 1.0
    marker: str = ""

    @property
    def linestyle(self) -> tuple[float, tuple[float, ...] | None]:
        return 0.0, self.dashes or None

    def line(self) -> dict[str, Any]:
        """What a line of matplotlib takes."""
        return {
            "color": self.color,
            "linestyle": self.linestyle,
            "linewidth": self.width,
            "alpha": self.alpha,
            "marker": self.marker or None,
            "markersize": 4.0 if self.width else 6.5,
            "markerfacecolor": "white" if self.width else self.color,
        }


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
    "activation": Style("#56B4E9", width=2.0),
    "attention": Style("#0072B2", (10, 2.4), width=2.2),
    "feed-forward": Style("#D55E00", (2.6, 3.0), width=2.0),
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
    "attention": "attention",
    "ffn": "feed-forward",
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


def kind_of(operation: str) -> str:
    """The key of ``STYLES`` for an operation; unknown ones count as convolutions."""
    for prefix, kind in _PREFIXES.items():
        if operation.startswith(prefix):
            return kind
    return "convolution"


def operation_styles(operations: Iterable[str]) -> dict[str, Style]:
    """A style for each operation: its kind's, and a mark if it is not the first."""
    found: dict[str, Style] = {}
    seen: dict[str, int] = {}
    for operation in operations:
        kind = kind_of(operation)
        rank = seen.setdefault(kind, 0)
        seen[kind] += 1
        marker = MARKERS[(rank - 1) % len(MARKERS)] if rank else ""
        width = max(STYLES[kind].width, 1.5)
        look = dataclasses.replace(STYLES[kind], alpha=1.0, marker=marker, width=width)
        found[operation] = look
    return found


def series(index: int) -> Style:
    """Of one of several equals; 49 differ in colour and dashes, the first 7 in both."""
    count = len(_SERIES)
    color = _SERIES[index % count].color
    look = _SERIES[(index + index // count) % count]
    return dataclasses.replace(look, color=color)


def text_width(text: str, size: float = LABEL_SIZE) -> float:
    """Of the ink of a text in points."""
    outline = TextPath((0, 0), text, size=size, prop=FontProperties(family=FAMILY))
    return float(outline.get_extents().width) / 72


def widest(texts: Collection[str], size: float = LABEL_SIZE) -> float:
    """The room in which the longest of some texts fits, none if there is none."""
    # Ink is narrower than a letter's advance.
    return max((text_width(text, size) + 0.03 for text in texts if text), default=0.0)


def wrapped(text: str, width: float, size: float = LABEL_SIZE) -> str:
    """A text in lines that fit a width."""
    letters = len(text)
    while letters > 1:
        lines = textwrap.wrap(text, letters, break_long_words=False)
        if widest(lines, size) <= width:
            return "\n".join(lines)
        letters -= 1
    return text


class Picture(Figure):
    """A figure that a notebook shows by itself, with its text alternative."""

    def _repr_mimebundle_(self, **ignored: Any) -> dict[str, Any]:
        del ignored
        shown = _bytes(self, "png", dpi=100)
        return {"image/png": shown, "text/plain": str(self.get_label())}


def make_figure(width: float, height: float) -> Picture:
    """An empty white one."""
    return Picture(figsize=(width, height), facecolor="white")


def add_axes(
    figure: Figure, left: float, top: float, width: float, height: float
) -> Axes:
    """Axes at a place of a figure."""
    whole, tall = figure.get_size_inches()
    box = (left / whole, 1 - (top + height) / tall, width / whole, height / tall)
    return figure.add_axes(box)


def clean(axes: Axes, title: str, below: str = "", size: float = TITLE_SIZE) -> None:
    """Takes away what says nothing, and names what is left.

    Args:
      title: what goes up, with its unit.
      below: what goes to the right.
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


def whole_numbers(axis: Axis, most: int = 6) -> None:
    """Only such along an axis."""
    steps = [1, 2, 5, 10]
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=steps))


def write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """A text at a place of axes, centred in height."""
    letters: dict[str, Any] = {"size": LABEL_SIZE, "color": INK, "family": FAMILY}
    axes.text(x, y, text, **{"va": "center"} | letters | look)


def head(figure: Figure, text: str, top: float = 0.08, left: float = 0.1) -> None:
    """A line over all axes."""
    _stand(figure, text, top, left, size=TITLE_SIZE, weight="bold", color=INK)


def note(figure: Figure, text: str, top: float, left: float = 0.1) -> None:
    """A faint line that says how to read a picture."""
    _stand(figure, text, top, left, size=LABEL_SIZE, color=FAINT_INK)


def _stand(figure: Figure, text: str, top: float, left: float, **look: Any) -> None:
    width, height = figure.get_size_inches()
    place = left / width, 1 - top / height
    figure.text(*place, text, family=FAMILY, va="top", **look)


def legend_grid(names: Collection[str], width: float) -> tuple[int, int]:
    """Columns and rows of the legend that a width has room for."""
    entry = 0.85 + widest(names, TEXT_SIZE)
    columns = max(1, min(len(names), int(width / entry)))
    rows = math.ceil(len(names) / columns)
    return math.ceil(len(names) / rows), rows


def legend_height(names: Collection[str], width: float) -> float:
    """Of a legend in a figure of a width."""
    return 0.2 + LEGEND_ROW * legend_grid(names, width)[1]


def draw_legend(figure: Figure, styles: Mapping[str, Style]) -> None:
    """Below all else: name -> how it is drawn."""
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


def spread(
    wanted: Sequence[float],
    heights: Sequence[float],
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """The places nearest to the wanted ones that keep order and distances.

    Less the distances it is isotonic regression, by pooling adjacent violators.

    Args:
      heights: of what stands there, its neighbours touching it.
      low, high: between which the centres stay, as far as there is room.
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
    """Writes ``stem.svg`` and ``stem.png``, each as a whole or not at all."""
    svg, png = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png"))
    save_figure(figure, svg)
    save_figure(figure, png)
    return svg, png


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a whole or not at all, of the same bytes each time.

    Raises:
      InputError: matplotlib cannot write the format that the suffix names.
    """
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in figure.canvas.get_supported_filetypes():
        raise InputError(f"cannot draw to {path}: write a .svg, .png or .pdf")
    write_atomically(path, _bytes(figure, suffix))


def svg_text(figure: Figure) -> str:
    """A figure as SVG, the same text each time; its title is the text alternative."""
    text = _bytes(figure, "svg").decode()
    return text[text.index("<svg") :]  # what is before is of a file, not of a page


def img_tag(figure: Figure) -> str:
    """A figure as an element of a page that shows it alike in every browser."""
    data = base64.b64encode(_bytes(figure, "png", dpi=100)).decode()
    told = html.escape(str(figure.get_label()))
    return f'<img src="data:image/png;base64,{data}" alt="{told}">'


def _bytes(figure: Figure, suffix: str, dpi: int = 160) -> bytes:
    told = str(figure.get_label()) or None
    metadata = {"svg": {"Date": None, "Title": told}, "png": {"Description": told}}
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        known = {k: v for k, v in metadata.get(suffix, {}).items() if v or k == "Date"}
        figure.savefig(buffer, format=suffix, dpi=dpi, metadata=known or None)
    return buffer.getvalue()
