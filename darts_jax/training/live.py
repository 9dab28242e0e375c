"""Plot that grows in a notebook while a search runs."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from darts_jax.training.console import is_in_notebook

Live = Callable[[Mapping[str, Any]], None]
"""Takes the record of every epoch in order, with the number of planned ``epochs``."""

_SECONDS = 2.0  # between two drawings, as one takes some tenths of a second


class LivePlot:
    """Redraws the overview of a search below its notebook cell.

    Args:
      show: takes every new picture; by default it replaces the last one in the cell.

    Attributes:
      records: of all epochs so far.
    """

    def __init__(self, show: Callable[[Any], None] | None = None) -> None:
        self.records: list[Mapping[str, Any]] = []
        self._show = show or _Display()
        self._drawn = 0.0

    def __call__(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)
        now = time.monotonic()
        if now - self._drawn >= _SECONDS or record["epoch"] == record["epochs"]:
            self._drawn = now
            self._show(self._overview())

    def _overview(self) -> Any:
        # Both take a second to import: only where something is drawn.
        import pandas as pd

        from darts_jax.plots.curves import plot_curves

        return plot_curves("overview", pd.DataFrame(self.records))


def make_live_plot() -> LivePlot | None:
    """Returns a plot in a notebook; None elsewhere."""
    return LivePlot() if is_in_notebook() else None


class _Display:
    """Place of one picture in the output of a notebook cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, figure: Any) -> None:
        if self._handle is None:
            display = sys.modules["IPython"].display.display
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
