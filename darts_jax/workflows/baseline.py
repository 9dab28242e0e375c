"""`baseline`: a search that knows scores alone, on whatever gives them."""

import dataclasses
import functools
import json
import math
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from darts_jax.baselines import (
    BASELINES,
    Budget,
    Evaluate,
    Trace,
    require_prior_taken,
    takes_setting,
)
from darts_jax.cluster import Engine, LocalEngine
from darts_jax.errors import InputError, look_up, unknown_name_error
from darts_jax.files import make_folder, open_place
from darts_jax.nasbench import require_table
from darts_jax.settings.config import validate_config
from darts_jax.spaces import get_space
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.registry import get_score, load_data
from darts_jax.training.console import format_table
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.opening import open_run
from darts_jax.training.run_loggers import in_group
from darts_jax.workflows.oracles import (
    make_path_oracle,
    make_table_oracle,
    make_training_oracle,
)
from darts_jax.workflows.priors import make_prior
from darts_jax.workflows.programs import open_grid

ORACLES = ("table", "paths", "training")


@dataclasses.dataclass(frozen=True)
class BaselineResult:
    """Result of a baseline.

    Attributes:
      trace: all genotypes that it asked for.
      known: accuracy of the best in percent, where a benchmark knows it.
      title: name of that accuracy.
      run: the directory.
      told: name of the scores in the trace.
    """

    trace: Trace
    known: float | None
    title: str
    run: RunDirectory
    told: str = "best score"

    def __str__(self) -> str:
        best = self.trace.best
        rows = [
            ("asked", len(self.trace.asked)),
            ("cost", self.trace.cost),
            (self.told, best.score),
        ]
        if self.known is not None:
            rows.append((self.title, self.known))
        named = [{"": name, "value": value} for name, value in rows]
        return f"{format_table(named, ['', 'value'])}\n{best.genotype}\n"


@holds_run_lock
def baseline(
    name: str,
    config: ConfigDict,
    run: str | Path,
    oracle: str,
    budget: Budget,
    supernet: str | Path | None = None,
    engine: Engine | str = "local",
    proxies: str = "",
) -> BaselineResult:
    """Runs a baseline; leaves its best genotype and all that it asked.

    Args:
      name: of `baselines.BASELINES`.
      config: settings of the space, of training and of the benchmark.
      run: a new directory, or that of the same settings; ``genotype.json`` in it can be
        retrained, ``trace.json`` has every genotype with score and cost.
      oracle: of `ORACLES`, which score a genotype; see `oracles`.
      budget: ends the search.
      supernet: run directory of a search, whose paths are asked.
      engine: trains networks: here, or on a cluster; or its name in `ENGINES`.
        Genotypes that a baseline proposes together are trained side by side.
      proxies: of `make_prior`: scores of untrained networks, by which the search begins
        and predicts; empty: there are none.

    Raises:
      InputError: a mistake in the settings, or what is asked is not at hand.
    """
    validate_config(config)
    search = look_up(BASELINES, name, "baseline")
    given = {
        setting: config.baseline[setting]
        for setting in ("predictor", "eta", "extrapolation")
        if takes_setting(search, setting)
    }
    search = functools.partial(search, **given)
    if proxies:
        require_prior_taken(name)
        search = functools.partial(search, prior=make_prior(config, proxies))
    known = known_accuracies(config)
    told = "best score"
    path = open_place(run) / "networks"
    space = get_space(config.space)
    rng = np.random.default_rng(config.seed)
    if oracle == "training":
        dataset = load_data(config)
        measure = get_score(config)
        if not measure.more_is_better:
            told = f"best score, minus {measure.words}"
        directory = open_run(run, config, "baseline", dataset)
        make_folder(path)
        total = _expected_trainings(budget)
        with open_grid(name, path, engine, config, dataset, total=total) as grid:
            trace = search(
                space, make_training_oracle(in_group(config, run), grid), budget, rng
            )
    else:
        if engine != "local" and not isinstance(engine, LocalEngine):
            raise InputError(f"an engine trains networks: --on {oracle} needs none")
        evaluate = _make_oracle(oracle, config, supernet)
        directory = open_run(run, config, "baseline")
        trace = search(space, evaluate, budget, rng)
    best = trace.best.genotype
    atomic_write(directory.genotype, best.to_json())
    atomic_write(directory.path / "trace.json", _trace_json(name, oracle, trace))
    accuracy = None if known is None else known.accuracy(best)
    title = known.title if known else ""
    return BaselineResult(trace, accuracy, title, directory, told)


def _make_oracle(
    name: str, config: ConfigDict, supernet: str | Path | None
) -> Evaluate:
    if name == "paths":
        if supernet is None:
            raise InputError("paths are those of a search: want --supernet RUN")
        return make_path_oracle(supernet)
    if name != "table":
        raise unknown_name_error("oracle", name, ORACLES)
    known = require_table(config.benchmark.table, config.data.directory, config.space)
    measured = config.benchmark.dataset
    return make_table_oracle(
        known, known.usual_dataset if measured == "auto" else measured
    )


def _expected_trainings(budget: Budget) -> int:
    """Returns the number of evaluations; 0 where only their cost is bounded."""
    return 0 if math.isinf(budget.evaluations) else int(budget.evaluations)


def _trace_json(name: str, oracle: str, trace: Trace) -> str:
    asked = [
        {
            "score": one.score,
            "cost": one.cost,
            **({"epochs": one.epochs} if one.epochs else {}),
            "genotype": json.loads(one.genotype.to_json()),
        }
        for one in trace.asked
    ]
    tree = {"baseline": name, "oracle": oracle, "asked": asked}
    return json.dumps(tree, indent=1) + "\n"
