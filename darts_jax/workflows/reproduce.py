"""`reproduce`: a published experiment with some seeds, and its stored results."""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from darts_jax.analysis.comparison import (
    Improvement,
    improvement_by_run,
    improvement_over_mean,
)
from darts_jax.analysis.intervals import PERCENT
from darts_jax.errors import InputError
from darts_jax.files import local_path
from darts_jax.nasbench import require_table
from darts_jax.nasbench.known import known_accuracies
from darts_jax.settings.config import config_to_json
from darts_jax.settings.experiments import Experiment, experiment_config, get_experiment
from darts_jax.tasks.registry import load_data
from darts_jax.training.console import print_status
from darts_jax.training.directory import atomic_write
from darts_jax.workflows.retrain import check_retraining, retrain
from darts_jax.workflows.search import SearchResult, search


def reproduce(
    name: str, seeds: Sequence[int], runs: str | Path, results: str | Path
) -> Path:
    """Runs an experiment for each seed and stores what came out.

    What is finished in ``runs`` is read, not repeated, and what was stopped goes on.

    Args:
      name: ``protocol/method``, of `experiments.EXPERIMENTS`.
      seeds: one search each.
      runs: directory of run directories, ``protocol/method_seed``.
      results: directory of the stored results, ``protocol/method.json``, from which
        `ledger.ledger` is made.

    Returns:
      The file of results.

    Raises:
      InputError: no such experiment, its data or its table are missing, its table
        says nothing of the data, or no seeds.
    """
    experiment = get_experiment(name)
    seeds = list(dict.fromkeys(seeds))
    if not seeds:
        raise InputError(f"{name} needs a seed, and 2 or more for an interval")
    configs = [experiment_config(experiment, seed) for seed in seeds]
    dataset = load_data(configs[0])
    if experiment.protocol.retrains:
        check_retraining(configs[0], dataset)
    random = None if experiment.protocol.retrains else _list_known_results(configs[0])
    rows = []
    for config in configs:
        run = local_path(runs) / f"{name}_{config.seed}"
        found = search(config, run, dataset)
        row = _describe_search(found) | {"seed": config.seed}
        if experiment.protocol.retrains:
            trained = retrain(config, run, found.genotype, dataset)
            row["result"] = 100 * (1 - trained.accuracy)
            row["random"] = [100 * (1 - b.score) for b in trained.baselines]
        rows.append(row)
        print_status(f"{name}: seed {config.seed}: {row['result']:.2f}")
    path = local_path(results) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = summarize(experiment, rows, random) | {
        "data": dataset.name,
        "note": dataset.note,
        "backend": jax.default_backend(),
        "settings": json.loads(config_to_json(configs[0])),
    }
    atomic_write(path, json.dumps(stored, indent=1) + "\n")
    return path


def summarize(
    experiment: Experiment, rows: list[dict[str, Any]], random: list[float] | None
) -> dict[str, Any]:
    """Summarizes an experiment for the ledger.

    One seed has no deviation and no interval: they are None.

    Args:
      experiment: the experiment.
      rows: of each seed, with its ``result`` and, if retrained, ``random`` ones.
      random: results of all genotypes of the space, in place of those of the rows.
    """
    results = [row["result"] for row in rows]
    known = None if random is None else statistics.mean(random)
    gained = improvement_over_random(rows, known)
    if random is None:
        random = [result for row in rows for result in row["random"]]
    return {
        "experiment": experiment.name,
        "rows": rows,
        "mean": statistics.mean(results),
        "deviation": statistics.stdev(results) if len(results) > 1 else None,
        "random_mean": statistics.mean(random),
        "random_count": len(random),
        # In the unit of the results: of an error, less is better.
        "improvement": [
            gained.difference,
            *(None if math.isnan(end) else end for end in (gained.low, gained.high)),
        ],
        "pairs": gained.pairs,
    }


def improvement_over_random(
    rows: list[dict[str, Any]], known: float | None
) -> Improvement:
    """Computes by how much results, in percent, are above those of random genotypes.

    One row has no interval: its ends are NaN.

    Args:
      rows: of each seed, with its ``result`` and, if retrained, ``random`` ones.
      known: the mean over all genotypes of the space, where that is known.
    """
    results = [row["result"] for row in rows]
    if len(rows) == 1:
        random = statistics.mean(rows[0]["random"]) if known is None else known
        return Improvement(results[0] - random, math.nan, math.nan)
    if known is not None:
        return improvement_over_mean(results, known, PERCENT)
    return improvement_by_run(results, [row["random"] for row in rows], PERCENT)


def _list_known_results(config: ConfigDict) -> list[float]:
    require_table(config.benchmark.table, config.data.directory)
    known = known_accuracies(config)
    if known is None:
        raise InputError(
            f"NAS-Bench-201 says nothing of {config.data.name}: set benchmark.dataset "
            "to the one whose accuracies are meant"
        )
    cells: list[float] = known.cells.tolist()
    return cells


def _describe_search(found: SearchResult) -> dict[str, Any]:
    last = found.records[-1]
    measured = [r["eigenvalue"] for r in found.records if r.get("eigenvalue")]
    row = {
        "genotype": json.loads(found.genotype.to_json()),
        "skips": sum(cell.skips for cell in found.genotype.cells.values()),
        "supernet_accuracy": last["held_out_accuracy"],
        "discretization_gap": last["discretization_gap"],
        "eigenvalue": measured[-1] if measured else None,
        "epochs": len(found.records),
    }
    if found.known is not None:
        row["result"] = found.known
    return row
