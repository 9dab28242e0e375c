"""`reproduce` on a table: a baseline by its protocol, and its stored results."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.baselines import BASELINES, Budget
from darts_jax.errors import InputError
from darts_jax.files import make_folder, open_place
from darts_jax.nasbench import require_table
from darts_jax.settings.config import default_config
from darts_jax.settings.table_experiments import SECONDS, TableExperiment
from darts_jax.spaces import get_space
from darts_jax.training.console import print_status
from darts_jax.training.directory import atomic_write
from darts_jax.workflows.oracles import make_table_oracle
from darts_jax.workflows.priors import make_prior

_TOLD_EVERY = 50  # searches


def reproduce_baseline(
    experiment: TableExperiment,
    runs: int,
    results: str | Path,
    table: str = "",
    scored: str | Path = "",
) -> Path:
    """Runs a baseline once for each seed from 0 on and stores what came out.

    Args:
      experiment: of `settings.table_experiments.TABLE_EXPERIMENTS`.
      runs: number of searches, 2 or more.
      results: directory of the stored results, ``nasbench201_table/NAME.json``.
      table: file of NAS-Bench-201; by default the one among the data.
      scored: run directory of `score_untrained` on all cells, for an experiment that
        has their scores.

    Returns:
      The file of results: for each search the cells that it asked for, and the
      validation and test accuracy in percent of the best after 200 epochs.

    Raises:
      InputError: fewer than two searches, the table is missing or lacks a column, or so
        are the scores.
    """
    if runs < 2:
        raise InputError(f"{experiment.name} needs 2 searches or more, not {runs}")
    known = require_table(table)
    valid = known.column("cifar10", "valid", 200)
    test = known.column("cifar10", "test", 200)
    search = BASELINES[experiment.baseline]
    settings: dict[str, Any] = dict(experiment.settings)
    if experiment.proxies:
        names = ",".join(experiment.proxies)
        if not scored:
            raise InputError(
                f"{experiment.name} has scores of all cells: want --proxies RUN, of "
                f"darts-jax proxies --proxies {names}"
            )
        settings["prior"] = make_prior(default_config(), f"{scored}:{names}")
    space = get_space("nasbench201")
    evaluate = make_table_oracle(known, epochs=experiment.epochs)
    asked = []
    best = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        budget = Budget(cost=SECONDS)
        trace = search(space, evaluate, budget, rng, **settings)
        asked.append(len(trace.asked))
        best.append(known.row(trace.best.genotype))
        if (seed + 1) % _TOLD_EVERY == 0:
            print_status(
                f"{experiment.name}: {seed + 1} of {runs} searches, "
                f"test {test[best].mean():.2f}"
            )
    path = open_place(results) / f"{experiment.name}.json"
    make_folder(path.parent)
    stored = {
        "experiment": experiment.name,
        "seconds": SECONDS,
        "settings": dict(experiment.settings),
        "proxies": list(experiment.proxies),
        "asked": asked,
        "cells": best,
        "valid": [round(float(accuracy), 4) for accuracy in valid[best]],
        "test": [round(float(accuracy), 4) for accuracy in test[best]],
    }
    atomic_write(path, json.dumps(stored) + "\n")
    return path
