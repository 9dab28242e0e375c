"""Which searches made the same choices, as a picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from darts_jax.analysis.layout import text_width
from darts_jax.analysis.style import FAMILY, picture, tidy


def plot_agreement(
    agreement: Float[np.ndarray, "search search"], labels: Sequence[str]
) -> Figure:
    """The share of choices in common of every two searches; light is much."""
    count = len(labels)
    names = max(text_width(label) for label in labels)
    side = max(0.4 * count, 1.6)
    # Those below stand aslant.
    figure = picture(side + names + 0.4, side + 0.72 * names + 0.6)
    axes = figure.add_subplot()
    axes.imshow(agreement, cmap="cividis", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(agreement):
        axes.text(
            column,
            row,
            f"{value:.2f}" if np.isfinite(value) else "-",
            size=7,
            family=FAMILY,
            color="white" if value < 0.55 else "black",
            horizontalalignment="center",
            verticalalignment="center",
        )
    tidy(axes, "Share of choices in common")
    axes.grid(visible=False)
    axes.set_yticks(range(count), labels)
    axes.set_xticks(range(count), labels)
    axes.tick_params(axis="x", rotation=45)
    for label in axes.get_xticklabels():
        label.set(horizontalalignment="right", rotation_mode="anchor")
    pairs = agreement[np.triu_indices(count, 1)]
    known = pairs[np.isfinite(pairs)]
    told = f"on average {known.mean():.2f}" if known.size else "of no two known"
    figure.set_label(f"Share of choices in common of {count} searches, {told}.")
    return figure
