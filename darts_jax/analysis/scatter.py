"""What a supernet says of its paths beside what is true of them, as a picture."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from darts_jax.analysis.ranking import ranking
from darts_jax.analysis.style import COLORS, picture, save_pictures, tidy

_LEFT_OUT = 0.05  # share of the paths


def draw_scatter(
    accuracy: Float[np.ndarray, " path"], truth: Float[np.ndarray, " path"], title: str
) -> Figure:
    """Shared-weights accuracy [0, 1] against the truth in percent, a dot a path.

    The path that the supernet puts first is marked.
    """
    figure = picture(6.4, 4.8)
    axes = figure.add_subplot()
    found = ranking(accuracy, truth)
    axes.scatter(
        100 * accuracy,
        truth,
        s=5,
        alpha=0.25,
        color=COLORS[0],
        linewidths=0,
        rasterized=True,
    )
    first = int(np.argmax(accuracy))
    axes.scatter(
        100 * accuracy[first],
        truth[first],
        s=70,
        marker="D",
        color=COLORS[1],
        label=f"first by the supernet: {truth[first]:.2f} % (best {truth.max():.2f} %)",
    )
    told = (
        f"{len(accuracy):,} paths: Kendall tau {found.kendall:.2f}, "
        f"Spearman {found.spearman:.2f}"
    )
    tidy(
        axes, f"{told}\n{title}", "accuracy with shared weights, %", "true accuracy, %"
    )
    # The few that are worst would press all others into a line.
    least = min(float(np.quantile(truth, _LEFT_OUT)), float(truth[first]))
    margin = (truth.max() - least) / 15
    axes.set_ylim(least - margin, truth.max() + margin)
    below = int(np.sum(truth < least - margin))
    figure.legend(loc="outside lower center", frameon=False)
    if below:
        axes.text(0.01, 0.01, f"{below:,} paths below", transform=axes.transAxes)
    figure.set_label(
        f"Accuracy with shared weights against the truth of {told}. First by the "
        f"supernet: {truth[first]:.2f} % (best {truth.max():.2f} %)."
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
