"""Picture of a confusion matrix: shares of each class by predicted class."""

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
    CELL_HEIGHT,
    CELL_WIDTH,
    SHADES,
    draw_heatmap,
    names_height,
    names_overhang,
    names_width,
)
from darts_jax.plots.style import (
    FAMILY,
    INK,
    LABEL_SIZE,
    PALE,
    TEXT_SIZE,
    add_axes,
    make_figure,
    use_whole_numbers,
    widest_text,
    write_heading,
    write_note,
    write_text,
)

NUMBERED = 12
"""Largest number of classes for which every cell has its number."""

_NAMED = 40  # largest number of classes whose names have room along the axes
_MOST = 400  # cells along a side of a picture; more are pooled
_LONGEST = 24  # letters of a name

# Lengths in inches: side of the axes, room above, left, below and right of them.
_SIDE = 4.6
_ABOVE = 0.5
_LEFT = 0.75
_FOOT = 0.55
_BAR = 1.15


def plot_confusion(confusion: Confusion, names: Sequence[str]) -> Figure:
    """Plots the shares of each class's images by predicted class.

    Rows are true classes and add up to 1; a class without images is left pale. Where
    there are many classes cells have shades alone, and neighbours share one.

    Args:
      confusion: number of images [true class, predicted class].
      names: name of every class.

    Returns:
      A heatmap; its label describes it in a sentence.
    """
    short = [_shorten(name) for name in names]
    counts = confusion.sum(axis=1, keepdims=True)
    shares = np.where(counts > 0, confusion / np.maximum(counts, 1), np.nan)
    plot = _plot_numbers if len(names) <= NUMBERED else _plot_shades
    figure = plot(shares, short)
    figure.set_label(_describe(confusion, names))
    return figure


def _plot_numbers(
    shares: Float[np.ndarray, "true predicted"], names: list[str]
) -> Figure:
    left = 0.1 + names_width(names)
    above = _ABOVE + names_height(names)
    width = left + len(names) * CELL_WIDTH + names_overhang(names)
    figure = make_figure(max(3.6, width), above + len(names) * CELL_HEIGHT + 0.15)
    _write_titles(figure, "shares of a true class (row) by predicted class (column)")
    draw_heatmap(figure, left, above, shares, rows=names, columns=names)
    return figure


def _plot_shades(
    shares: Float[np.ndarray, "true predicted"], names: list[str]
) -> Figure:
    count = len(names)
    is_named = count <= _NAMED
    size = LABEL_SIZE - 1 if is_named else TEXT_SIZE
    left = 0.1 + names_width(names, size) if is_named else _LEFT
    foot = 0.15 + widest_text(names, size) if is_named else _FOOT
    figure = make_figure(left + _SIDE + _BAR, _ABOVE + _SIDE + foot)
    _write_titles(figure, "shares of a true class (down) by predicted class (across)")
    axes = add_axes(figure, left, _ABOVE, _SIDE, _SIDE)
    axes.set_facecolor(PALE)
    image = axes.imshow(
        np.ma.masked_invalid(_pool_shares(shares)),
        cmap=SHADES,
        norm=PowerNorm(0.5, vmin=0, vmax=1),  # rare mistakes stay visible
        extent=(0, count, count, 0),
        interpolation="nearest",
        aspect="auto",
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK, labelfontfamily=FAMILY, labelsize=size)
    if is_named:
        axes.set_xticks(np.arange(count) + 0.5, names, rotation=90)
        axes.set_yticks(np.arange(count) + 0.5, names)
    else:
        use_whole_numbers(axes.xaxis)
        use_whole_numbers(axes.yaxis)
        axes.set_xlabel("number of the class", family=FAMILY, size=TEXT_SIZE, color=INK)
    scale = add_axes(figure, left + _SIDE + 0.2, _ABOVE, 0.14, _SIDE)
    bar = figure.colorbar(image, cax=scale)
    bar.outline.set_visible(False)
    scale.tick_params(length=0, labelcolor=INK, labelfontfamily=FAMILY, labelsize=8)
    write_text(scale, 0, 1.03, "share", transform=scale.transAxes)
    return figure


def _shorten(name: str) -> str:
    """Returns the beginning of a name, without signs that start a formula."""
    short = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return short.replace("$", r"\$")


def _write_titles(figure: Figure, explanation: str) -> None:
    write_heading(figure, "What each class is taken for")
    write_note(figure, explanation, 0.3)


def _pool_shares(
    shares: Float[np.ndarray, "true predicted"],
) -> Float[np.ndarray, "row column"]:
    """Returns the largest share of each block of cells: no confusion disappears."""
    block = -(-len(shares) // _MOST)
    if block == 1:
        return shares
    lacking = -len(shares) % block
    padded = np.pad(shares, (0, lacking), constant_values=np.nan)
    side = len(padded) // block
    blocks = padded.reshape(side, block, side, block)
    found = np.where(np.isnan(blocks), -1.0, blocks).max(axis=(1, 3))
    return np.where(found < 0, np.nan, found)


def _describe(confusion: Confusion, names: Sequence[str]) -> str:
    worst = worst_first(class_results(confusion, names))[0]
    text = (
        f"{int(confusion.sum())} images of {len(names)} classes, balanced accuracy "
        f"{balanced_accuracy(confusion):.1%}. The class of least recall is "
        f"{worst.name}, {worst.recall:.1%} of {worst.images} images"
    )
    if worst.taken_for is None:
        return f"{text}."
    return f"{text}; its commonest mistake is {worst.taken_for}."
