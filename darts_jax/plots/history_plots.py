"""Plot methods of every result that has a history."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class HistoryPlots(abc.ABC):
    """Plots of a tidy history, with a line for each run.

    Every method raises InputError where the history has no such measure.
    """

    @property
    @abc.abstractmethod
    def history(self) -> pd.DataFrame:
        """A row for each epoch of each run, with all that was recorded.

        Accuracies are in [0, 1], ``benchmark_accuracy`` in percent.
        """

    def plot_overview(self) -> Figure:
        """Plots all recorded measures, side by side."""
        return self._plot("overview")

    def plot_losses(self) -> Figure:
        """Plots the losses by epoch."""
        return self._plot("losses")

    def plot_accuracies(self) -> Figure:
        """Plots the accuracies of the supernet by epoch, and of its genotype alone."""
        return self._plot("accuracies")

    def plot_balanced_accuracies(self) -> Figure:
        """Plots the accuracies of supernet and genotype alone, means over classes."""
        return self._plot("balanced_accuracies")

    def plot_scores(self) -> Figure:
        """Plots the score of the supernet by epoch, and of its genotype alone."""
        return self._plot("scores")

    def plot_entropy(self) -> Figure:
        """Plots the entropy of the edges by epoch: 1 is undecided, 0 is decided."""
        return self._plot("entropy")

    def plot_skips(self) -> Figure:
        """Plots the skip connections of the genotype by epoch, and their weight."""
        return self._plot("skips")

    def plot_eigenvalue(self) -> Figure:
        """Plots the top eigenvalue of the validation loss (Zela et al., 2020)."""
        return self._plot("eigenvalue")

    def plot_gap(self) -> Figure:
        """Plots the accuracy that the supernet loses by keeping its genotype alone."""
        return self._plot("gap")

    def plot_truth(self) -> Figure:
        """Plots the true accuracy of the genotype of each epoch, in percent."""
        return self._plot("truth")

    def _plot(self, name: str) -> Figure:
        # Matplotlib takes a second to import: only where something is drawn.
        from darts_jax.plots.curves import plot_curves

        return plot_curves(name, self.history)
