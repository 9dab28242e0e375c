"""How much the genotypes of several searches have in common, as a picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from darts_jax.errors import InputError
from darts_jax.plots.heatmap import CELL, draw_heatmap, names_height, names_width
from darts_jax.plots.style import head, make_figure, widest

_TOP, _MARGIN = 0.4, 0.15


def plot_agreement(
    agreement: Float[np.ndarray, "member member"], labels: Sequence[str]
) -> Figure:
    """Share of their choices that each two have in common, a number in every cell.

    Args:
      agreement: as `runs.population.agreement` gives it; NaN stays empty.

    Raises:
      InputError: there are not as many labels as members.
    """
    members = len(agreement)
    if len(labels) != members:
        raise InputError(f"{len(labels)} labels of {members} members; want one each")
    names = [str(label) for label in labels]
    left, top = names_width(names) + 0.1, _TOP + names_height(names)
    # The last column's name leans out to the right.
    right = max(_MARGIN, widest(names) * 0.75 - CELL[0] / 2 + _MARGIN)
    width = max(3.6, left + members * CELL[0] + right)
    figure = make_figure(width, top + members * CELL[1] + _MARGIN)
    head(figure, "Share of choices in common")
    draw_heatmap(figure, (left, top), np.asarray(agreement, float), names, names)
    figure.set_label(_told(np.asarray(agreement, float), names))
    return figure


def _told(agreement: Float[np.ndarray, "member member"], names: Sequence[str]) -> str:
    pairs = [
        (float(agreement[i, j]), names[i], names[j])
        for i in range(len(names))
        for j in range(i)
        if np.isfinite(agreement[i, j])
    ]
    if not pairs:
        return f"Agreement of {len(names)} genotypes: no two to compare."
    (low, a, b), (high, c, d) = min(pairs), max(pairs)
    mean = sum(share for share, *_ in pairs) / len(pairs)
    return (
        f"Two of {len(names)} genotypes have {mean:.2f} of their choices in common on "
        f"average: {b} and {a} the least with {low:.2f}, {d} and {c} the most with "
        f"{high:.2f}."
    )
