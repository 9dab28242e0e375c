"""Result of a search: its genotype, architecture and records, shown in a notebook."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.analysis.diagnostics import mean_weights
from darts_jax.bilevel.discretization import (
    WeightReader,
    kinds_with_invalid_alpha,
    require_finite_alpha,
    weight_reader,
)
from darts_jax.html import results_table
from darts_jax.plots.history_plots import HistoryPlots
from darts_jax.settings.config_files import load_config
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.registry import get_score
from darts_jax.training.directory import RunDirectory, load_architecture
from darts_jax.training.metrics import read_metrics
from darts_jax.training.stages import Stage, make_stages

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, repr=False)
class SearchResult(HistoryPlots):
    """Result of a search. A notebook shows its cells and its last epoch.

    Attributes:
      genotype: read off the last epoch's parameters, or those of the epoch to which
        the stop rule returned.
      alpha: kind -> architecture parameters [epoch, edge, op].
      records: one of each epoch, as in ``metrics.jsonl``.
      run: the directory of the run.
      known: the genotype's accuracy in percent, where a benchmark knows it.
    """

    genotype: Genotype
    alpha: dict[str, np.ndarray]
    records: list[dict[str, Any]]
    run: RunDirectory
    known: float | None = None

    @functools.cached_property
    def config(self) -> ConfigDict:
        """Settings of the run."""
        return load_config(self.run.config)

    @property
    def space(self) -> Space:
        return get_space(self.config.space)

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """A row for each epoch; see `HistoryPlots.history`.

        Epochs of stages are counted on; of one that ran again, the last counts.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        before = 0
        for stage in make_stages(self.config):
            own = {r["epoch"]: r for r in self.records if stage.includes(r["verb"])}
            rows += [
                {"stage": stage.name, **record, "epoch": before + epoch}
                for epoch, record in sorted(own.items())
            ]
            before += len(own)
        return pd.DataFrame(rows).drop(columns="verb", errors="ignore")

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Mixing weights after the last epoch: kind -> [edge, op].

        Raises:
          InputError: its parameters are NaN or infinite.
        """
        cells = self.space.cells.items()
        last = {kind: self.alpha[kind][-1] for kind, _ in cells}
        require_finite_alpha(self.space, last, " after the last epoch")
        return {kind: self._read(cell, self.alpha[kind][-1]) for kind, cell in cells}

    def epochs_without_numbers(self) -> list[int]:
        """Returns the epochs, from 1, after which parameters are NaN or infinite."""
        count = len(next(iter(self.alpha.values())))
        every = ({k: a[epoch] for k, a in self.alpha.items()} for epoch in range(count))
        return [
            epoch
            for epoch, alpha in enumerate(every, start=1)
            if kinds_with_invalid_alpha(self.space, alpha)
        ]

    def draw(self) -> Figure:
        """Draws the cells of the genotype."""
        from darts_jax.plots.cells import draw_genotype

        return draw_genotype(self.genotype)

    def draw_supernet(self) -> Figure:
        """Draws all edges after the last epoch, as strong as their weights."""
        from darts_jax.plots.cells import draw_supernet

        return draw_supernet(self.space, self.weights)

    def plot_alpha(self) -> Figure:
        """Plots the weights of all operations of every edge by epoch."""
        from darts_jax.plots.alphas import plot_alpha

        return plot_alpha(self.space, self.alpha, self._read)

    def mean_weights(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns kind -> operation -> its mean weight over edges, by epoch."""
        return mean_weights(self.space, self.alpha, self._read)

    def plot_course(self) -> Figure:
        """Plots mean weights of operations by epoch, under the genotype's accuracy.

        The accuracy is that of a benchmark's table; without one there is none.
        """
        from darts_jax.plots.alphas import plot_course

        history = self.history
        recorded = "benchmark_accuracy" in history
        truth = history["benchmark_accuracy"].tolist() if recorded else None
        return plot_course(self.space, self.alpha, truth, self._read)

    def plot_heatmap(self) -> Figure:
        """Plots the weights of all operations of every edge after the last epoch."""
        from darts_jax.plots.alphas import plot_heatmap

        return plot_heatmap(self.space, self.alpha, self._read)

    @property
    def _read(self) -> WeightReader:
        return weight_reader(self.config.search.relaxation)

    def facts(self) -> dict[str, Any]:
        """Returns name -> number or text, of the last epoch."""
        # A directory that was copied may lack its records.
        last = self.records[-1] if self.records else {}
        score = get_score(self.config)

        def shown(name: str) -> float | None:
            value = last.get(f"{name}_{score.name}")
            return None if value is None else score.scaled(value)

        facts = {
            "space": self.genotype.space,
            "epochs": len(self.history),
            f"supernet, {score.title}": shown("held_out"),
            f"its genotype alone, {score.title}": shown("discretized"),
            "skip connections": sum(c.skips for c in self.genotype.cells.values()),
            "benchmark accuracy %": self.known,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def __str__(self) -> str:
        facts = (f"{name}: {_format(v)}" for name, v in self.facts().items())
        return "\n".join([str(self.genotype), *facts]) + "\n"

    def __repr__(self) -> str:
        return f"SearchResult({str(self.run.path)!r}, epochs={len(self.history)})"

    def _repr_html_(self) -> str:
        from darts_jax.plots.style import img_tag

        return img_tag(self.draw()) + results_table([self.facts()])


def read_search_result(
    directory: RunDirectory, genotype: Genotype, stages: list[Stage]
) -> SearchResult:
    """Reads the result of a search whose epochs are on disk.

    Args:
      directory: of the run.
      genotype: of the search.
      stages: of the search.
    """
    records = read_metrics(directory.metrics)
    history = [r for r in records if any(s.includes(r["verb"]) for s in stages)]
    paths = sorted(directory.architecture.glob("epoch_*.npz"))
    epochs = [load_architecture(path) for path in paths]
    alpha = {kind: np.stack([e[kind] for e in epochs]) for kind in epochs[0]}
    known = known_accuracies(stages[-1].config)
    accuracy = None if known is None else known.accuracy(genotype)
    return SearchResult(genotype, alpha, history, directory, accuracy)


def _format(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def group_by_seed(
    searches: Mapping[str, SearchResult],
) -> Iterator[dict[str, SearchResult]]:
    """Yields searches in groups whose settings differ in the seed alone.

    Args:
      searches: name -> search.
    """
    groups: dict[str, dict[str, SearchResult]] = {}
    for name, found in searches.items():
        same = {k: v for k, v in found.config.to_dict().items() if k != "seed"}
        groups.setdefault(json.dumps(same, sort_keys=True), {})[name] = found
    yield from groups.values()
