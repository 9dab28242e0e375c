"""One look for all pictures, and one way to write them.

Colours are those of Okabe and Ito (2008), which the colour-blind tell apart; whatever a
colour tells, a dash, a marker or a word tells too, for greyscale.
"""

import io
import re
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from darts_jax.errors import InputError
from darts_jax.files import write_whole

FAMILY = "DejaVu Sans"  # comes with matplotlib, so a picture is the same everywhere
INK, FAINT_INK, RULE = "#1F2933", "#6B7280", "#D5D9DE"
COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#000000"),
    *("#E69F00", "#CC79A7", "#56B4E9", "#8C8C8C"),
)
DASHES: tuple[tuple[float, ...], ...] = (
    *((), (5, 2), (1.2, 1.4), (7, 1.6, 1.4, 1.6)),
    *((9, 2.5), (3, 1.3), (7, 1.6, 1.4, 1.6, 1.4, 1.6), (1.2, 2.8)),
)
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "*")
_RC: dict[Any, Any] = {"svg.hashsalt": "darts_jax", "svg.fonttype": "none"}
_SIZES = {"title": 10, "label": 9, "tick": 8}


class Picture(Figure):
    """A figure that a notebook shows by itself, however it is set up.

    What it shows in words, for who cannot see it, is its label (`text_of`).
    """

    def _repr_mimebundle_(self, **ignored: Any) -> dict[str, Any]:
        del ignored
        return {"image/png": picture_bytes(self, "png", 100), "text/plain": str(self)}

    def __str__(self) -> str:
        return text_of(self) or super().__str__()


def picture(width: float, height: float) -> Picture:
    """An empty figure, of so many inches."""
    return Picture(figsize=(width, height), layout="constrained", facecolor="white")


def text_of(figure: Figure) -> str:
    """What a picture shows, in words."""
    return str(figure.get_label() or "")


def line_look(number: int) -> dict[str, Any]:
    """The colour and dashes of the n-th of several lines."""
    dashes = DASHES[(number + number // len(DASHES)) % len(DASHES)]
    color = COLORS[number % len(COLORS)]
    return {"color": color, "linestyle": (0.0, dashes or None), "linewidth": 1.8}


def tidy(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Titles, and nothing that is not needed."""
    axes.set_title(title, fontsize=_SIZES["title"], color=INK, family=FAMILY)
    axes.set_xlabel(x, fontsize=_SIZES["label"], color=INK, family=FAMILY)
    axes.set_ylabel(y, fontsize=_SIZES["label"], color=INK, family=FAMILY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)
    axes.tick_params(labelsize=_SIZES["tick"], colors=FAINT_INK, labelcolor=INK)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def whole_epochs(axes: Axes, most: int = 6) -> None:
    """Ticks at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True))


def legend_below(figure: Figure, handles: list[Any], columns: int) -> None:
    """One legend for all panels."""
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=max(columns, 1),
        frameon=False,
        prop={"family": FAMILY, "size": 9},
        labelcolor=INK,
        handlelength=3.2,
    )


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
    write_whole(path, picture_bytes(figure, suffix, 160))


def picture_bytes(figure: Figure, suffix: str, dpi: int) -> bytes:
    """A figure as the content of a file."""
    undated = {"Date": None} if suffix == "svg" else None
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format=suffix, dpi=dpi, metadata=undated)
    return buffer.getvalue()


def svg_text(figure: Figure) -> str:
    """A figure as an element of a page."""
    text = picture_bytes(figure, "svg", 100).decode()
    return re.sub(r"^.*?(?=<svg)", "", text, flags=re.DOTALL)


def renderer_of(figure: Figure) -> Any:
    """What measures texts, once the layout is made."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()
