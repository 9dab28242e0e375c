"""`front`: score against cost for several targets, beside random networks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.baselines.equal_cost import random_of_cost
from darts_jax.cluster.engine import Engine
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.job import Score
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.html import results_table
from darts_jax.settings.config import with_overrides
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.cost_limits import has_budget
from darts_jax.tasks.registry import get_score, load_data
from darts_jax.training.console import format_table, print_status
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.processes import is_writer, wait_for_all
from darts_jax.training.run_budget import read_limit
from darts_jax.training.run_loggers import in_group
from darts_jax.workflows.population import PopulationResult, read_population
from darts_jax.workflows.programs import Program, Step, open_grid
from darts_jax.workflows.retrain import check_retraining
from darts_jax.workflows.retrain_result import read_retrained

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TARGET = "search.budget.target"


@dataclasses.dataclass(frozen=True, repr=False)
class Front:
    """Networks of searches for several targets, and random networks of their cost.

    A notebook shows its picture and its table.

    Attributes:
      rows: of each network its `columns`: the score of the test as it is shown, the
        group "searched" or "random", and the name of its directory.
      unit: of targets and costs.
    """

    rows: tuple[dict[str, Any], ...]
    unit: str
    path: Path
    measure: Score

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row, in order."""
        return "target", "cost", self.measure.name, "group", "name"

    @property
    def frame(self) -> pd.DataFrame:
        """Table with a row for each network."""
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=list(self.columns))

    def plot(self) -> Figure:
        """Plots score against cost, and the steps of the networks that no other beats.

        Raises:
          InputError: no network was trained.
        """
        from darts_jax.plots.front import plot_front

        cost = f"cost, {self.unit}"
        score = f"test {self.measure.title}"
        points = self.frame.rename(columns={"cost": cost, self.measure.name: score})
        return plot_front(points, cost, score, "name")

    def __str__(self) -> str:
        rows = format_table(self.rows, self.columns)
        return f"{rows}\ntargets and costs in {self.unit}\n"

    def __repr__(self) -> str:
        return f"Front({str(self.path)!r}, networks={len(self.rows)})"

    def _repr_html_(self) -> str:
        from darts_jax.plots.style import img_tag

        return img_tag(self.plot()) + results_table(self.rows)


@holds_run_lock
def front(
    config: ConfigDict,
    targets: Sequence[float],
    run: str | Path,
    dataset: AnyDataset | None = None,
    engine: Engine | str = "local",
) -> Front:
    """Searches for every target side by side, and trains what each search found.

    The searches are one population. Beside each genotype as many random ones of its
    cost are trained by the same recipe as ``baseline.random_genotypes`` says.

    Args:
      config: settings of all searches and trainings; they have a budget.
      targets: of ``search.budget.target``.
      run: a new directory, or that of the same call, which then goes on.
      dataset: in place of the one that the config names.
      engine: runs the programs: here, or on a cluster; or its name in `ENGINES`.

    Returns:
      All networks with score and cost.

    Raises:
      InputError: a mistake in the settings or the data, no budget to set targets of, or
        a task in which less is better; or a program has failed, after the others have
        ended.
    """
    if not has_budget(config):
        raise InputError("a front needs search.budget.rule, such as augmented")
    measure = get_score(config)
    if not measure.more_is_better:
        raise InputError(
            f"a front draws what should be high; task={config.task} has {measure.name}"
        )
    config = in_group(config, run)
    is_given = dataset is not None
    dataset = dataset or load_data(config)
    training = with_overrides(config, ["baseline.random_genotypes=0"])
    check_retraining(training, dataset)
    path = open_place(run)
    total = 1 + len(targets) * (1 + config.baseline.random_genotypes)
    search = Step("population", path / "search", config, {"grid": _grid(targets)})
    with open_grid(
        "front",
        path,
        engine,
        config,
        dataset,
        is_given=is_given,
        names=["search"],
        total=total,
    ) as grid:
        grid.run([Program("search", (search,))])
        found = read_population(RunDirectory(search.run))
        candidates = _list_candidates(config, found)
        if not candidates:
            raise InputError(
                "every loss of the front became NaN: want a lower "
                "search.weights.learning_rate"
            )
        grid.run([one.program(path, training) for one in candidates])
    rows = [
        {
            "target": one.target,
            "cost": one.cost,
            measure.name: _read_score(path / one.name),
            "group": one.name.split("_")[0],
            "name": one.name,
        }
        for one in candidates
    ]
    result = Front(tuple(rows), candidates[0].unit, path, measure)
    atomic_write(path / "front.json", json.dumps(rows, indent=1) + "\n")
    atomic_write(path / "summary.txt", str(result))
    if is_writer():
        # Matplotlib takes a second to import: only where something is drawn.
        from darts_jax.plots.style import save_pictures

        save_pictures(result.plot(), path / "front")
    wait_for_all("the front is written")
    return result


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A network of the front, before it is trained.

    Attributes:
      name: of its directory.
      genotype: found by a search, or drawn.
      target: of the search.
      cost: of the genotype.
      unit: of both.
    """

    name: str
    genotype: Genotype
    target: float
    cost: float
    unit: str

    def program(self, place: Path, config: ConfigDict) -> Program:
        """Returns its training.

        Args:
          place: directory of the front.
          config: settings of the training.
        """
        arguments = {"genotype": json.loads(self.genotype.to_json())}
        step = Step("retrain", place / self.name, config, arguments)
        return Program(self.name, (step,))


def _list_candidates(config: ConfigDict, found: PopulationResult) -> list[_Candidate]:
    """Returns what each search found, and after it random networks of its cost."""
    rng = np.random.default_rng(config.seed)
    candidates = []
    for i, member in enumerate(found.members):
        target = member.settings[TARGET]
        own = with_overrides(config, [f"{TARGET}={target}"])
        limit = read_limit(own, found.run)
        assert limit is not None
        unit = limit.expected.unit
        if member.genotype is None:
            print_status(
                f"front: the loss of the search for {target:g} {unit} became NaN"
            )
            continue
        networks = {f"searched_{i}": member.genotype}
        wanted = limit.cost(member.genotype)
        for n in range(config.baseline.random_genotypes):
            networks[f"random_{i}_{n}"] = random_of_cost(
                limit.space, limit.cost, wanted, rng
            )
        candidates += [
            _Candidate(name, genotype, target, limit.cost(genotype), unit)
            for name, genotype in networks.items()
        ]
    return candidates


def _grid(targets: Sequence[float]) -> dict[str, list[float]]:
    return {TARGET: [float(target) for target in targets]}


def _read_score(run: Path) -> float:
    """Returns the test score of a network that was trained, as it is shown."""
    trained = read_retrained(run)
    assert trained is not None
    return trained.measure.scaled(trained.score)
