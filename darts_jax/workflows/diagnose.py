"""`diagnose`: every measurement of a saved search, also those that it did not make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from darts_jax.analysis.diagnostics import collapse_warnings, describe_epoch
from darts_jax.bilevel.discretization import one_hot, weight_reader
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.devices import to_host
from darts_jax.tasks.search_job import make_discretization
from darts_jax.training.evaluation import Evaluator
from darts_jax.training.loop import completed_steps
from darts_jax.training.restore import SavedSearch

Diagnosis = dict[str, Any]
"""Name -> number; ``warnings`` -> plain lines."""


def diagnose(
    run: str | Path,
    epoch: int = 0,
    dataset: AnyDataset | None = None,
    overrides: Sequence[str] = (),
) -> Diagnosis:
    """Measures a saved search: what its records hold, and what it can be asked for.

    Args:
      run: directory of the search.
      epoch: from 1, one whose checkpoint is kept; 0 for the newest.
      dataset: in place of the one that the run's settings name.
      overrides: where the data of the run lie now, as ``data.directory=PATH``.

    Returns:
      name -> number; ``warnings``: plain lines. A hard relaxation has no curvature, so
      neither ``eigenvalue`` nor ``hypergradient_cosine``.

    Raises:
      InputError: no such run, epoch or checkpoint, or other data.
    """
    saved = SavedSearch(run, overrides)
    job, state = saved.restore(epoch, dataset)
    epoch = completed_steps(state) // job.steps_per_epoch
    settings = saved.config.search
    space = saved.space
    alpha = saved.architecture(epoch)
    before = saved.architecture(max(epoch - 1, 1))
    genotype = make_discretization(saved.config)(space, alpha)
    read = weight_reader(settings.relaxation)
    scalars = job.scalars(epoch - 1)
    model = jax.jit(job.model)(state, scalars)
    evaluator = Evaluator(job)
    score = job.score
    soft = float(evaluator.score(model))
    discrete = model.replace(mixture=one_hot(space, genotype))
    hard = float(evaluator.score(discrete))
    measured = describe_epoch(space, alpha, before, genotype, read) | {
        "epoch": epoch,
        f"held_out_{score.name}": soft,
        f"discretized_{score.name}": hard,
        "discretization_gap": score.merit(soft) - score.merit(hard),
    }
    if not RELAXATIONS[settings.relaxation].hard:
        chunks = job.feed.open(job.layout)
        _, data = next(chunks(epoch - 1, 0))
        for probe in job.probes.values():
            measure = jax.jit(probe)
            found = measure(state, data, scalars, np.int32(epoch - 1), np.int32(0))
            measured |= {name: float(value) for name, value in to_host(found).items()}
    warnings = collapse_warnings(space, alpha, genotype, read)
    return measured | {"warnings": warnings}
