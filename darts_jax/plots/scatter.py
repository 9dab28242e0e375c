"""Picture of the accuracies of a supernet's paths against their true accuracies."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from darts_jax.analysis.ranking import ranking_quality
from darts_jax.plots.style import (
    FAINT_INK,
    FOOT_HEIGHT,
    INK,
    LEGEND_ROW,
    LETTERS,
    LINE_HEIGHT,
    TEXT_SIZE,
    TITLE_HEIGHT,
    add_axes,
    make_figure,
    series_style,
    style_axes,
    wrap_text,
    write_heading,
    write_note,
    write_text,
)

_LEFT_OUT = 0.05  # share of the paths
_DOTS = series_style(0).color
_FIRST = series_style(1).color


def draw_scatter(
    accuracy: Float[np.ndarray, " path"], truth: Float[np.ndarray, " path"], title: str
) -> Figure:
    """Plots the accuracy of each path with shared weights against its true accuracy.

    The path that the supernet ranks first has a mark.

    Args:
      accuracy: accuracy with shared weights in [0, 1].
      truth: true accuracy in percent.
      title: name of the true accuracy.

    Returns:
      The figure; its label describes it in a sentence.
    """
    found = ranking_quality(accuracy, truth)
    first = int(np.argmax(accuracy))
    best = f"{truth[first]:.2f} % (best {truth.max():.2f} %)"
    correlations = f"Kendall tau {found.kendall:.2f}, Spearman {found.spearman:.2f}"
    words = wrap_text(title, 5.0)
    top = 0.34 + LINE_HEIGHT * len(words.splitlines()) + TITLE_HEIGHT
    figure = make_figure(5.2, top + 2.95 + FOOT_HEIGHT + LEGEND_ROW + 0.1)
    write_heading(figure, f"{len(accuracy):,} paths: {correlations}")
    write_note(figure, words, top=0.34)

    axes = add_axes(figure, 0.6, top, 4.4, 2.95)
    style_axes(
        axes,
        title="true accuracy, %",
        below="accuracy with shared weights, %",
        size=TEXT_SIZE,
    )
    axes.scatter(
        100 * accuracy,
        truth,
        s=6,
        alpha=0.3,
        color=_DOTS,
        linewidths=0,
        rasterized=True,
    )
    axes.scatter(
        100 * accuracy[first],
        truth[first],
        s=75,
        marker="D",
        color=_FIRST,
        edgecolors="white",
        zorder=4,
        label=f"first by the supernet: {best}",
    )
    # The few that are worst would press all others into a line.
    least = min(float(np.quantile(truth, _LEFT_OUT)), float(truth[first]))
    margin = (truth.max() - least) / 15
    axes.set_ylim(least - margin, truth.max() + margin)
    below = int(np.sum(truth < least - margin))
    if below:
        text = f"{below:,} paths below"
        write_text(axes, 0.01, 0.03, text, transform=axes.transAxes, color=FAINT_INK)
    figure.legend(loc="lower center", frameon=False, prop=LETTERS, labelcolor=INK)
    figure.set_label(
        f"Of {len(accuracy):,} paths, accuracy with shared weights against true "
        f"accuracy: {correlations}. The path that the supernet puts first has {best}."
    )
    return figure
