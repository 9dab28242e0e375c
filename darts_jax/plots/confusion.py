"""Pictures of a confusion matrix: which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from darts_jax.analysis.class_metrics import (
    Confusion,
    balanced_accuracy,
    class_results,
    worst_first,
)
from darts_jax.plots.heatmap import (
    CELL,
    SHADES,
    draw_heatmap,
    names_height,
    names_width,
)
from darts_jax.plots.style import (
    FAMILY,
    INK,
    LABEL_SIZE,
    PALE,
    TEXT_SIZE,
    add_axes,
    head,
    make_figure,
    note,
    whole_numbers,
    widest,
    write,
)

NUMBERED = 12
"""Up to so many classes every cell has its number."""

_NAMED = 40  # classes whose names have room along the axes
_MOST = 400  # cells along a side of a picture; more are joined
_SIDE, _HEAD, _LEFT, _FOOT, _BAR = 4.6, 0.5, 0.75, 0.55, 1.15
_LONGEST = 24  # letters of a name


def plot_confusion(confusion: Confusion, names: Sequence[str]) -> Figure:
    """Draws which share of each class's images is taken for which class.

    Rows are true classes and add up to 1; a class without images is left pale. Where
    there are many classes cells have shades alone, and neighbours share one.
    """
    shown = [_shown(name) for name in names]
    counts = confusion.sum(axis=1, keepdims=True)
    shares = np.where(counts > 0, confusion / np.maximum(counts, 1), np.nan)
    drawn = _numbered if len(names) <= NUMBERED else _shaded
    figure = drawn(shares, shown)
    figure.set_label(_told(confusion, names))
    return figure


def _numbered(shares: Float[np.ndarray, "true predicted"], names: list[str]) -> Figure:
    left, above = 0.1 + names_width(names), _HEAD + names_height(names)
    lean = max(0.1, 0.75 * widest(names) - CELL[0] / 2 + 0.1)
    width = max(3.6, left + len(names) * CELL[0] + lean)
    figure = make_figure(width, above + len(names) * CELL[1] + 0.15)
    _name(figure, "shares of a true class (row) by predicted class (column)")
    draw_heatmap(figure, (left, above), shares, names, names)
    return figure


def _shaded(shares: Float[np.ndarray, "true predicted"], names: list[str]) -> Figure:
    count = len(names)
    is_named = count <= _NAMED
    size = LABEL_SIZE - 1 if is_named else TEXT_SIZE
    left = 0.1 + names_width(names, size) if is_named else _LEFT
    foot = 0.15 + widest(names, size) if is_named else _FOOT
    figure = make_figure(left + _SIDE + _BAR, _HEAD + _SIDE + foot)
    _name(figure, "shares of a true class (down) by predicted class (across)")
    axes = add_axes(figure, left, _HEAD, _SIDE, _SIDE)
    axes.set_facecolor(PALE)
    joined, extent = _joined(shares), (0, count, count, 0)
    shown = axes.imshow(
        np.ma.masked_invalid(joined),
        cmap=SHADES,
        norm=PowerNorm(0.5, vmin=0, vmax=1),  # rare mistakes are to be seen
        extent=extent,
        interpolation="nearest",
        aspect="auto",
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK, labelfontfamily=FAMILY, labelsize=size)
    if is_named:
        axes.set_xticks(np.arange(count) + 0.5, names, rotation=90)
        axes.set_yticks(np.arange(count) + 0.5, names)
    else:
        whole_numbers(axes.xaxis)
        whole_numbers(axes.yaxis)
        axes.set_xlabel("number of the class", family=FAMILY, size=TEXT_SIZE, color=INK)
    scale = add_axes(figure, left + _SIDE + 0.2, _HEAD, 0.14, _SIDE)
    bar = figure.colorbar(shown, cax=scale)
    bar.outline.set_visible(False)
    scale.tick_params(length=0, labelcolor=INK, labelfontfamily=FAMILY, labelsize=8)
    write(scale, 0, 1.03, "share", transform=scale.transAxes)
    return figure


def _shown(name: str) -> str:
    """The beginning of a name, of which nothing is read as a formula."""
    short = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return short.replace("$", r"\$")


def _name(figure: Figure, how: str) -> None:
    head(figure, "What each class is taken for")
    note(figure, how, 0.3)


def _joined(
    shares: Float[np.ndarray, "true predicted"],
) -> Float[np.ndarray, "row column"]:
    """The largest share of each block of cells, so that no confusion is lost."""
    block = -(-len(shares) // _MOST)
    if block == 1:
        return shares
    lacking = -len(shares) % block
    padded = np.pad(shares, (0, lacking), constant_values=np.nan)
    side = len(padded) // block
    blocks = padded.reshape(side, block, side, block)
    found = np.where(np.isnan(blocks), -1.0, blocks).max(axis=(1, 3))
    return np.where(found < 0, np.nan, found)


def _told(confusion: Confusion, names: Sequence[str]) -> str:
    worst = worst_first(class_results(confusion, names))[0]
    text = (
        f"{int(confusion.sum())} images of {len(names)} classes, balanced accuracy "
        f"{balanced_accuracy(confusion):.1%}. The class of least recall is "
        f"{worst.name}, {worst.recall:.1%} of {worst.images} images"
    )
    if worst.taken_for is None:
        return f"{text}."
    return f"{text}; its commonest mistake is {worst.taken_for}."
