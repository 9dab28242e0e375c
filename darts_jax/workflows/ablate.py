"""`ablate`: searches with every combination of a grid, some seeds each."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.analysis.intervals import MeasureRange, is_constant, mean_interval
from darts_jax.analysis.measures import column_range
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.cluster.engine import Engine
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.plots.history_plots import HistoryPlots
from darts_jax.settings.methods import apply_method
from darts_jax.settings.schema import population_settings
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.registry import load_data
from darts_jax.training.console import short_name
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.run_loggers import in_group
from darts_jax.workflows.compare import load_search
from darts_jax.workflows.population import (
    agreement,
    apply_choice,
    list_combinations,
    read_population,
)
from darts_jax.workflows.programs import Program, Step, open_grid
from darts_jax.workflows.shown_table import ShownTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

METHOD = "method"
"""Key of a grid whose values are names of published methods."""

MEASURES = (
    "held_out_",
    "discretized_",
    "discretization_gap",
    "entropy",
    "skips",
    "benchmark_accuracy",
)
"""Beginnings of the columns of the last epoch that a table shows, where measured."""

Choice = dict[str, Any]  # setting -> value


@dataclasses.dataclass(frozen=True)
class GridSearch:
    """A search of a grid.

    Attributes:
      choice: setting -> value, of all that was varied but the seed.
      seed: of the search.
      genotype: None if its loss became NaN.
      epochs: a row for each epoch.
    """

    choice: Choice
    seed: int
    genotype: Genotype | None
    epochs: pd.DataFrame

    @property
    def words(self) -> str:
        """Choices in words, for a heading."""
        return _describe_choice(self.choice)

    def measured(self, measure: str) -> float:
        """Returns a measure after the last epoch; NaN if the search failed.

        A network whose parameters are no numbers still has an accuracy, that of
        chance, which says nothing of its settings.

        Args:
          measure: a column of ``epochs``.
        """
        if self.genotype is None or measure not in self.epochs:
            return float("nan")
        return float(self.epochs[measure].iloc[-1])


@dataclasses.dataclass(frozen=True, repr=False)
class Ablation(ShownTable, HistoryPlots):
    """Searches of a grid. A notebook shows their table.

    Attributes:
      searches: of every combination and seed.
    """

    searches: tuple[GridSearch, ...]

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Varied settings in order, with their values."""
        return {
            key: tuple(dict.fromkeys(one.choice[key] for one in self.searches))
            for key in self.searches[0].choice
        }

    @property
    def genotypes(self) -> dict[tuple[str, int], Genotype | None]:
        """Genotypes by choices in words and seed; None of a search that failed."""
        return {(one.words, one.seed): one.genotype for one in self.searches}

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """Table with a row for each epoch of each search.

        Columns: the choices, ``seed``, ``run``, which has the choices in words, and
        those of `HistoryPlots.history`.
        """
        import pandas as pd

        frames = [
            one.epochs.assign(**one.choice, seed=one.seed, run=one.words)
            for one in self.searches
        ]
        return pd.concat(frames, ignore_index=True)

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """Table with a row for each search: its last epoch."""
        searches = self.history.groupby(["run", "seed"], sort=False)
        return searches.tail(1).reset_index(drop=True)

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """Table with a row for each combination: means over seeds, 95 % intervals.

        Columns: the choices; ``seeds``; ``failed``, the number of further seeds whose
        loss became NaN, which count for nothing; of each measure its mean, ``_low`` and
        ``_high``, within the measure's range; and ``agreement``, the share of choices
        that two seeds both made.
        """
        import pandas as pd

        rows = []
        for own in self._combinations():
            failed = sum(one.genotype is None for one in own)
            row = own[0].choice | {"seeds": len(own) - failed, "failed": failed}
            for measure in self.measures:
                values = _finite_values(own, measure)
                mean, low, high = mean_interval(values, self.column_range(measure))
                row |= {measure: mean, f"{measure}_low": low, f"{measure}_high": high}
            rows.append(row | {"agreement": _agreement(own)})
        return pd.DataFrame(rows)

    @property
    def measures(self) -> list[str]:
        """Columns of `MEASURES` that were measured."""
        known = [c for c in self.frame if self.frame[c].notna().any()]
        return [c for begin in MEASURES for c in known if c.startswith(begin)]

    def column_range(self, measure: str) -> MeasureRange:
        """Returns what a measure can be: no more skips, say, than edges are kept."""
        genotypes = (one.genotype for one in self.searches)
        return column_range(measure, self.measures, genotypes)

    def effects(
        self, measure: str = "", unit: str = "pair", every_pair: bool = False
    ) -> pd.DataFrame:
        """Returns what each choice does: every value beside the first of its setting.

        Searches are paired that have the seed and all other settings in common; see
        `analysis.effects.effects`, also for the columns. How many comparisons stand
        in the table is one of them: of twenty without any effect, one interval leaves
        out 0 by chance. ``p_holm`` is corrected for that, for this table alone.

        Args:
          measure: a column of `measures`; by default the score of the genotype alone.
          unit: what counts as independent, ``pair`` or ``seed``.
          every_pair: compares the values of a setting with each other, not with the
            first alone.

        Raises:
          InputError: it was not measured, or there is no such unit.
        """
        from darts_jax.analysis.effects import Observation, effects

        measure = self._require_measure(measure)
        observed = [
            Observation(one.choice, one.seed, one.measured(measure))
            for one in self.searches
        ]
        return effects(observed, self.column_range(measure), unit, every_pair)

    def plot_effects(
        self, measure: str = "", unit: str = "pair", every_pair: bool = False
    ) -> Figure:
        """Returns the picture of `effects`: a mark and an interval a comparison."""
        from darts_jax.plots.effects import plot_effects

        measure = self._require_measure(measure)
        return plot_effects(self.effects(measure, unit, every_pair), measure)

    def plot_agreement(self) -> Figure:
        """Plots which searches made the same choices."""
        from darts_jax.plots.agreement import plot_agreement

        names = [f"{one.words}, {one.seed}" for one in self.searches]
        return plot_agreement(agreement([o.genotype for o in self.searches]), names)

    def to_markdown(self) -> str:
        """Formats the table in Markdown."""
        rows = self.rows()
        lines = [list(rows[0]), ["---"] * len(rows[0]), *(r.values() for r in rows)]
        return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)

    def __repr__(self) -> str:
        return f"Ablation({self.choices}, searches={len(self.searches)})"

    def _require_measure(self, measure: str) -> str:
        measure = measure or self.measures[1]
        if measure not in self.measures:
            known = ", ".join(self.measures)
            raise InputError(f"{measure!r} was not measured; want one of {known}")
        return measure

    def _combinations(self) -> list[list[GridSearch]]:
        """Groups the searches by combination."""
        groups: dict[tuple[Any, ...], list[GridSearch]] = {}
        for one in self.searches:
            groups.setdefault(tuple(one.choice.values()), []).append(one)
        return [*groups.values()]

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row for each combination, its measures in words."""
        written = []
        rows = self.table.to_dict("records")
        for own, row in zip(self._combinations(), rows, strict=True):
            told = {short_name(key): value for key, value in own[0].choice.items()}
            failed = f" ({row['failed']} more failed)" if row["failed"] else ""
            told["seeds"] = f"{row['seeds']}{failed}" if failed else row["seeds"]
            for measure in self.measures:
                low = row[f"{measure}_low"]
                high = row[f"{measure}_high"]
                values = np.array(_finite_values(own, measure))
                alike = len(values) > 1 and is_constant(
                    values, self.column_range(measure)
                )
                told[measure.replace("_", " ")] = (
                    f"{row[measure]:.3g} ({low:.3g} to {high:.3g}"
                    f"{', all alike' if alike else ''})"
                )
            written.append(told | {"agreement": f"{row['agreement']:.2f}"})
        return written


@holds_run_lock
def ablate(
    base: ConfigDict,
    grid: Mapping[str, Sequence[object]],
    seeds: Sequence[int] = range(4),
    run: str | Path = "runs/ablation",
    dataset: AnyDataset | None = None,
    engine: Engine | str = "local",
) -> Ablation:
    """Searches with every combination of a grid, once for each seed.

    What a compiled program can vary, and the seeds, run side by side in one; there is a
    program for each combination of the rest. A search in stages, with a stop rule or
    with a selection on its supernet runs by itself. The same call goes on where an
    earlier one was stopped, and reads what is finished.

    Example:
      >>> found = darts_jax.ablate(
      ...     config, {"search.architecture.learning_rate": [1e-4, 1e-3]}, (0, 1),
      ...     "runs/ablation", data,
      ... )
      >>> len(found.searches)
      4

    Args:
      base: settings that all have in common.
      grid: setting -> its values, as ``{"search.relaxation": ["softmax", "sigmoid"]}``;
        ``method``: names of published methods.
      seeds: of the searches of every combination.
      run: directory, with one for each program.
      dataset: in place of the one that the config names.
      engine: runs the programs: here, or on a cluster; or its name in `ENGINES`.

    Returns:
      All searches.

    Raises:
      InputError: a mistake in the settings, told before anything runs; or a program
        has failed, after the others have ended.
    """
    _require_distinct_values(grid, seeds)
    known = population_settings()
    scalars = {key: list(grid[key]) for key in grid if key in known}
    shapes = {key: grid[key] for key in grid if key not in known}
    members: dict[str, Sequence[object]] = {**scalars, "seed": list(seeds)}
    together = {key: _plain(values) for key, values in members.items()}
    combinations = [
        _Combination(
            choice, in_group(_make_config(base, choice), run), open_place(run), together
        )
        for choice in list_combinations(shapes)
    ]
    programs = [program for one in combinations for program in one.programs()]
    is_given = dataset is not None
    with open_grid(
        "ablation",
        run,
        engine,
        base,
        dataset or load_data(base),
        is_given=is_given,
        names=[program.name for program in programs],
    ) as opened:
        opened.run(programs)
    found = [
        dataclasses.replace(
            one, choice={key: (combination.choice | one.choice)[key] for key in grid}
        )
        for combination in combinations
        for one in combination.read()
    ]
    ablation = Ablation(tuple(found))
    atomic_write(open_place(run) / "ablation.md", ablation.to_markdown())
    return ablation


@dataclasses.dataclass(frozen=True)
class _Combination:
    """Searches with one choice of what shapes a program.

    Attributes:
      choice: setting -> value.
      config: with this choice.
      ablation: directory of the whole ablation.
      together: setting -> values of what a program can vary, with the seeds.
    """

    choice: Choice
    config: ConfigDict
    ablation: Path
    together: dict[str, list[Any]]

    @property
    def place(self) -> Path:
        """Directory of its searches."""
        return self.ablation / _folder_name(self.choice)

    def programs(self) -> list[Program]:
        """Returns one program of all members, or one for each search."""
        words = _describe_choice(self.choice)
        if self._fits_population():
            arguments = {"grid": self.together}
            step = Step("population", self.place, self.config, arguments)
            return [Program(words or "one program", (step,))]
        return [
            Program(
                ", ".join(filter(None, (words, _describe_choice(choice)))),
                (Step("search", place, apply_choice(self.config, choice)),),
            )
            for choice, place in self._searches()
        ]

    def read(self) -> list[GridSearch]:
        """Reads its searches, which have ended."""
        if self._fits_population():
            members = read_population(RunDirectory(self.place)).members
            return [
                GridSearch(
                    {k: v for k, v in member.settings.items() if k != "seed"},
                    member.settings["seed"],
                    member.genotype,
                    member.history,
                )
                for member in members
            ]
        found = []
        for choice, place in self._searches():
            one = load_search(place)
            others = {k: v for k, v in choice.items() if k != "seed"}
            found.append(GridSearch(others, choice["seed"], one.genotype, one.history))
        return found

    def _searches(self) -> list[tuple[Choice, Path]]:
        choices = list_combinations(self.together)
        return [(choice, self.place / _folder_name(choice)) for choice in choices]

    def _fits_population(self) -> bool:
        """Returns whether the searches can be members of a population."""
        search = self.config.search
        alone = (
            search.stages
            or search.stop != "none"
            or search.discretization in SELECTIONS
        )
        return not alone


def _plain(values: Sequence[object]) -> list[Any]:
    """Returns values as JSON has them: NumPy's numbers as Python's."""
    return [v.item() if isinstance(v, np.generic) else v for v in values]


def _require_distinct_values(
    grid: Mapping[str, Sequence[object]], seeds: Sequence[int]
) -> None:
    if not grid or not all(grid.values()) or not len(seeds) or "seed" in grid:
        raise InputError(
            "an ablation wants values for each setting of its grid, such as "
            '{"search.relaxation": ["softmax", "sigmoid"]}, and its seeds as seeds=...'
        )
    for key, values in {**grid, "seeds": seeds}.items():
        twice = [str(v) for i, v in enumerate(values) if v in list(values)[:i]]
        if twice:
            raise InputError(
                f"{key} has {twice[0]} twice, which would be one search counted as "
                "two; want each value once"
            )


def _finite_values(searches: Sequence[GridSearch], measure: str) -> list[float]:
    values = (one.measured(measure) for one in searches)
    return [value for value in values if np.isfinite(value)]


def _agreement(searches: Sequence[GridSearch]) -> float:
    shared = agreement([one.genotype for one in searches])
    pairs = shared[~np.eye(len(searches), dtype=bool)]
    return float(np.nanmean(pairs)) if np.isfinite(pairs).any() else np.nan


def _make_config(base: ConfigDict, choice: Choice) -> ConfigDict:
    if METHOD not in choice:
        return apply_choice(base, choice)
    settings = [f"{key}={value}" for key, value in choice.items() if key != METHOD]
    return apply_method(base, choice[METHOD], settings)


def _describe_choice(choice: Choice) -> str:
    """Describes choices; numbers get the name of their setting, words need none."""
    return ", ".join(
        f"{short_name(key)} {value}" if _is_number(value) else str(value)
        for key, value in choice.items()
    )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _folder_name(choice: Choice) -> str:
    """Returns a name for a folder; other choices have others."""
    text = ",".join(f"{key.removeprefix('search.')}={v}" for key, v in choice.items())
    return re.sub(r"[^\w.,=+-]", "_", text) or "all"
