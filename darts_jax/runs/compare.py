"""`load_run` and `compare`: finished runs, to look at as if they had just ended."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts_jax.errors import InputError
from darts_jax.runs.console import html_table, table
from darts_jax.runs.directory import RunDirectory, verbs_of
from darts_jax.runs.found import SearchResult, read_search
from darts_jax.runs.pictures import HistoryPlots
from darts_jax.runs.population import PopulationResult, agreement, read_population
from darts_jax.runs.retrain import RetrainResult, read_retrained
from darts_jax.runs.saved import SavedSearch
from darts_jax.runs.select import select
from darts_jax.spaces.reading import read_genotype_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def load_run(run: str | Path) -> SearchResult | PopulationResult | RetrainResult:
    """What a run directory holds: a search, a population, or a retrained network.

    Of a search that has not ended, what it would find if it ended now, by its rule for
    parameters.

    Raises:
      InputError: it is no run, or nothing has ended in it.
    """
    directory = RunDirectory(Path(run))
    verbs = verbs_of(directory)
    if "population" in verbs:
        return read_population(directory)
    if "search" in verbs:
        return load_search(run)
    retrained = read_retrained(run)
    if retrained is None:
        raise InputError(f"no search, population or retrained network in {run}")
    return retrained


def load_search(run: str | Path) -> SearchResult:
    """The search of a run directory, as `load_run`.

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
    return read_search(saved.directory, genotype, saved.stages)


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(HistoryPlots):
    """Searches beside each other. A notebook shows their table.

    Attributes:
      searches: name -> search.
    """

    searches: dict[str, SearchResult]

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """A row for each epoch of each search, whose name is in ``run``."""
        import pandas as pd

        named = [one.history.assign(run=name) for name, one in self.searches.items()]
        return pd.concat(named, ignore_index=True)

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """A row for each search: its last epoch, and its retrained network if any."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """What `table` holds."""
        return [
            {"run": name, **one.facts(), **_retrained(read_retrained(one.run.path))}
            for name, one in self.searches.items()
        ]

    def plot_agreement(self) -> Figure:
        """Which searches made the same choices."""
        from darts_jax.analysis.agreement import plot_agreement

        found = [one.genotype for one in self.searches.values()]
        return plot_agreement(agreement(found), list(self.searches))

    def __str__(self) -> str:
        rows = self.rows()
        return table(rows, _columns(rows))

    def __repr__(self) -> str:
        return f"Comparison({list(self.searches)})"

    def _repr_html_(self) -> str:
        rows = self.rows()
        return html_table([{c: row.get(c) for c in _columns(rows)} for row in rows])


def compare(runs: Iterable[str | Path] | Mapping[str, str | Path]) -> Comparison:
    """Searches beside each other.

    Args:
      runs: their directories; as a mapping, each with the name to show. By default a
        search has the name of its directory, and of those above where these are alike.

    Raises:
      InputError: one is no search, or there is none.
    """
    named = dict(runs) if isinstance(runs, Mapping) else _named([*map(Path, runs)])
    if not named:
        raise InputError("nothing to compare; want directories of searches")
    return Comparison({name: load_search(run) for name, run in named.items()})


def _named(paths: list[Path]) -> dict[str, Path]:
    parts = 1
    while len({p.resolve().parts[-parts:] for p in paths}) < len(set(paths)):
        parts += 1
    return {"/".join(path.resolve().parts[-parts:]): path for path in paths}


def _retrained(found: RetrainResult | None) -> dict[str, Any]:
    if found is None:
        return {}
    told = {
        "parameters": found.network.parameters,
        f"test {found.measure.title}": found.measure.shown(found.score),
    }
    if found.baselines:
        told["random, mean"] = found.measure.shown(found.random_mean)
    return told


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))
