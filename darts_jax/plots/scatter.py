"""What a supernet says of its paths beside what is true of them, as a picture."""

from pathlib import Path
from typing import Any

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
    clean,
    head,
    make_figure,
    note,
    save_pictures,
    series,
    wrapped,
    write,
)

_LEFT_OUT = 0.05  # share of the paths
_DOTS, _FIRST = series(0).color, series(1).color


def draw_scatter(
    accuracy: Float[np.ndarray, " path"], truth: Float[np.ndarray, " path"], title: str
) -> Figure:
    """Shared-weights accuracy [0, 1] against the truth in percent, a dot a path.

    The path that the supernet puts first is marked.
    """
    found = ranking_quality(accuracy, truth)
    first = int(np.argmax(accuracy))
    best = f"{truth[first]:.2f} % (best {truth.max():.2f} %)"
    correlations = f"Kendall tau {found.kendall:.2f}, Spearman {found.spearman:.2f}"
    words = wrapped(title, 5.0)
    top = 0.34 + LINE_HEIGHT * len(words.splitlines()) + TITLE_HEIGHT
    figure = make_figure(5.2, top + 2.95 + FOOT_HEIGHT + LEGEND_ROW + 0.1)
    head(figure, f"{len(accuracy):,} paths: {correlations}")
    note(figure, words, top=0.34)

    axes = add_axes(figure, 0.6, top, 4.4, 2.95)
    clean(axes, "true accuracy, %", "accuracy with shared weights, %", size=TEXT_SIZE)
    dots: dict[str, Any] = {"s": 6, "alpha": 0.3, "color": _DOTS, "linewidths": 0}
    dots["rasterized"] = True
    axes.scatter(100 * accuracy, truth, **dots)
    mark: dict[str, Any] = {"s": 75, "marker": "D", "color": _FIRST, "zorder": 4}
    mark |= {"edgecolors": "white", "label": f"first by the supernet: {best}"}
    axes.scatter(100 * accuracy[first], truth[first], **mark)
    # The few that are worst would press all others into a line.
    least = min(float(np.quantile(truth, _LEFT_OUT)), float(truth[first]))
    margin = (truth.max() - least) / 15
    axes.set_ylim(least - margin, truth.max() + margin)
    below = int(np.sum(truth < least - margin))
    if below:
        place = {"transform": axes.transAxes, "color": FAINT_INK}
        write(axes, 0.01, 0.03, f"{below:,} paths below", **place)
    figure.legend(loc="lower center", frameon=False, prop=LETTERS, labelcolor=INK)
    figure.set_label(
        f"Of {len(accuracy):,} paths, accuracy with shared weights against true "
        f"accuracy: {correlations}. The path that the supernet puts first has {best}."
    )
    return figure


def save_scatter(
    accuracy: Float[np.ndarray, " path"],
    truth: Float[np.ndarray, " path"],
    title: str,
    stem: Path,
) -> tuple[Path, Path]:
    """Writes ``stem.svg`` and ``stem.png``, each as a whole or not at all."""
    return save_pictures(draw_scatter(accuracy, truth, title), stem)
