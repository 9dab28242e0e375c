"""`load_run` and `compare`: results of finished runs, read from their directories."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts_jax.analysis.measures import column_range
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.plots.history_plots import HistoryPlots
from darts_jax.spaces.reading import read_genotype_file
from darts_jax.training.directory import RunDirectory, list_verbs
from darts_jax.training.restore import SavedSearch
from darts_jax.training.search_result import (
    SearchResult,
    group_by_seed,
    read_search_result,
)
from darts_jax.workflows.population import PopulationResult, agreement, read_population
from darts_jax.workflows.retrain_result import RetrainResult, read_retrained
from darts_jax.workflows.select import select
from darts_jax.workflows.shown_table import ShownTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def load_run(run: str | Path) -> SearchResult | PopulationResult | RetrainResult:
    """Reads the search, the population or the retrained network of a run directory.

    The result of a search that has not ended is what it would find if it ended now, by
    its rule for parameters.

    Args:
      run: the directory.

    Raises:
      InputError: it is no run, or nothing has ended in it.
    """
    directory = RunDirectory(open_place(run))
    verbs = list_verbs(directory)
    if "population" in verbs:
        return read_population(directory)
    if "search" in verbs:
        return load_search(run)
    retrained = read_retrained(run)
    if retrained is None:
        raise InputError(f"no search, population or retrained network in {run}")
    return retrained


def load_search(run: str | Path) -> SearchResult:
    """Reads the search of a run directory, as `load_run`.

    Args:
      run: the directory.

    Raises:
      InputError: there is none.
    """
    saved = SavedSearch(run)
    if not saved.epochs:
        raise InputError(f"no epoch of a search is saved in {run}")
    if saved.directory.genotype.exists():
        genotype = read_genotype_file(saved.directory.genotype)
    else:
        genotype = select(run, saved.rule)
    return read_search_result(saved.directory, genotype, saved.stages)


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(ShownTable, HistoryPlots):
    """Searches beside each other. A notebook shows their table.

    Attributes:
      searches: name -> search.
    """

    searches: dict[str, SearchResult]

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """Table with a row for each epoch of each search, named in ``run``."""
        import pandas as pd

        named = [one.history.assign(run=name) for name, one in self.searches.items()]
        return pd.concat(named, ignore_index=True)

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """Table with a row for each search: its last epoch, and what was retrained."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows of `table`."""
        return [
            {
                "run": name,
                **one.facts(),
                **_retrained_cells(read_retrained(one.run.path)),
            }
            for name, one in self.searches.items()
        ]

    @property
    def measures(self) -> list[str]:
        """Measures that `effects` can compare, the nearest to the truth first.

        ``test_...`` are those of retrained networks; the rest are of the last epoch.
        """
        known = [k for measured in self._measured.values() for k in measured]
        begins = "test_", "benchmark_", "discretized_", "held_out_"
        found = [k for begin in begins for k in known if k.startswith(begin)]
        found += [k for k in ("discretization_gap", "entropy", "skips") if k in known]
        return list(dict.fromkeys(found))

    def effects(self, measure: str = "") -> pd.DataFrame:
        """Returns how far each group of searches is from the first.

        A group are searches whose settings differ in no more than the seed; it has its
        searches' names. Groups are paired by seed: searches of two groups with one
        seed are a pair. See `analysis.effects.effects` for the columns.

        Args:
          measure: one of `measures`, by default the first.

        Raises:
          InputError: it was not measured, or all searches are one group.
        """
        from darts_jax.analysis.effects import Observation, effects

        groups = [*group_by_seed(self.searches)]
        if len(groups) < 2:
            raise InputError(
                "the settings of these searches differ in no more than the seed: want "
                "searches by two settings or more, each with some seeds"
            )
        if measure and measure not in self.measures:
            known = ", ".join(self.measures)
            raise InputError(f"{measure!r} was not measured; want one of {known}")
        measure = measure or self.measures[0]
        observed = [
            Observation(
                {"search": ", ".join(group)},
                one.config.seed,
                float(self._measured[name].get(measure, math.nan)),
            )
            for group in groups
            for name, one in group.items()
        ]
        genotypes = (one.genotype for one in self.searches.values())
        return effects(observed, column_range(measure, self.measures, genotypes))

    @functools.cached_property
    def _measured(self) -> dict[str, dict[str, float]]:
        """Measures of each search after its last epoch, and retrained."""
        found = {}
        for name, one in self.searches.items():
            last = one.records[-1] if one.records else {}
            known = {k: v for k, v in last.items() if isinstance(v, int | float)}
            retrained = read_retrained(one.run.path)
            if retrained is not None:
                known[f"test_{retrained.measure.name}"] = retrained.score
            found[name] = known
        return found

    def plot_agreement(self) -> Figure:
        """Plots which searches made the same choices."""
        from darts_jax.plots.agreement import plot_agreement

        found = [one.genotype for one in self.searches.values()]
        return plot_agreement(agreement(found), list(self.searches))

    def __repr__(self) -> str:
        return f"Comparison({list(self.searches)})"


def compare(runs: Iterable[str | Path] | Mapping[str, str | Path]) -> Comparison:
    """Reads searches to compare them.

    Args:
      runs: their directories; as a mapping, each with the name to show. By default a
        search has the name of its directory, and of those above where these are alike.

    Raises:
      InputError: one is no search, or there is none.
    """
    named = dict(runs) if isinstance(runs, Mapping) else _name_paths([*map(Path, runs)])
    if not named:
        raise InputError("nothing to compare; want directories of searches")
    return Comparison({name: load_search(run) for name, run in named.items()})


def _name_paths(paths: list[Path]) -> dict[str, Path]:
    parts = 1
    while len({p.resolve().parts[-parts:] for p in paths}) < len(set(paths)):
        parts += 1
    return {"/".join(path.resolve().parts[-parts:]): path for path in paths}


def _retrained_cells(found: RetrainResult | None) -> dict[str, Any]:
    if found is None:
        return {}
    told = {
        "parameters": found.network.parameters,
        f"test {found.measure.title}": found.measure.scaled(found.score),
    }
    if found.baselines:
        told["random, mean"] = found.measure.scaled(found.random_mean)
    return told
