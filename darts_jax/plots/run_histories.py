"""Plots of every result that has a history."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class HistoryPlots(abc.ABC):
    """Plots of a tidy history; where it is of several runs, a line for each."""

    @property
    @abc.abstractmethod
    def history(self) -> pd.DataFrame:
        """A row for each epoch, of each run, with all that was recorded.

        Accuracies are in [0, 1], ``benchmark_accuracy`` in percent.
        """

    def plot_overview(self) -> Figure:
        """All that was measured, side by side."""
        return _curves().plot_overview(self.history)

    def plot_losses(self) -> Figure:
        """Losses by epoch."""
        return _curves().plot_losses(self.history)

    def plot_accuracies(self) -> Figure:
        """Accuracies of the supernet by epoch, and of its genotype alone."""
        return _curves().plot_accuracies(self.history)

    def plot_balanced_accuracies(self) -> Figure:
        """Accuracies of the supernet and of its genotype alone, mean over classes."""
        return _curves().plot_balanced_accuracies(self.history)

    def plot_entropy(self) -> Figure:
        """How undecided the edges are by epoch: 1 is not at all, 0 is decided."""
        return _curves().plot_entropy(self.history)

    def plot_skips(self) -> Figure:
        """Skip connections in the genotype by epoch."""
        return _curves().plot_skips(self.history)

    def plot_eigenvalue(self) -> Figure:
        """Top eigenvalue of the validation loss by alpha (Zela et al., 2020)."""
        return _curves().plot_eigenvalue(self.history)

    def plot_gap(self) -> Figure:
        """Accuracy that the supernet loses by keeping its genotype alone."""
        return _curves().plot_gap(self.history)

    def plot_truth(self) -> Figure:
        """What a benchmark knows of the genotype of each epoch, in percent."""
        return _curves().plot_truth(self.history)


def _curves() -> Any:
    # Matplotlib takes a second to import: only where something is drawn.
    from darts_jax.plots import curves

    return curves
