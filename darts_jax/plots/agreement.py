"""Picture of the agreement of several searches: shares of choices in common."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from darts_jax.errors import InputError
from darts_jax.plots import heatmap
from darts_jax.plots.style import make_figure, write_heading

_HEADING = 0.4
_MARGIN = 0.15


def plot_agreement(
    agreement: Float[np.ndarray, "member member"], labels: Sequence[str]
) -> Figure:
    """Plots the share of choices that each two genotypes have in common.

    Args:
      agreement: shares in [0, 1]; a NaN stays empty.
      labels: name of each member.

    Returns:
      A heatmap; its label describes it in a sentence.

    Raises:
      InputError: there are not as many labels as members.
    """
    members = len(agreement)
    if len(labels) != members:
        raise InputError(f"{len(labels)} labels of {members} members; want one each")
    names = [str(label) for label in labels]
    shares = np.asarray(agreement, float)
    left = heatmap.names_width(names) + 0.1
    top = _HEADING + heatmap.names_height(names)
    width = left + members * heatmap.CELL_WIDTH + heatmap.names_overhang(names, _MARGIN)
    figure = make_figure(max(3.6, width), top + members * heatmap.CELL_HEIGHT + _MARGIN)
    write_heading(figure, "Share of choices in common")
    heatmap.draw_heatmap(figure, left, top, shares, rows=names, columns=names)
    figure.set_label(_describe(shares, names))
    return figure


def _describe(
    agreement: Float[np.ndarray, "member member"], names: Sequence[str]
) -> str:
    pairs = [
        (float(agreement[i, j]), names[i], names[j])
        for i in range(len(names))
        for j in range(i)
        if np.isfinite(agreement[i, j])
    ]
    if not pairs:
        return f"Agreement of {len(names)} genotypes: no two to compare."
    low, a, b = min(pairs)
    high, c, d = max(pairs)
    mean = sum(share for share, *_ in pairs) / len(pairs)
    return (
        f"Two of {len(names)} genotypes have {mean:.2f} of their choices in common on "
        f"average: {b} and {a} the least with {low:.2f}, {d} and {c} the most with "
        f"{high:.2f}."
    )
