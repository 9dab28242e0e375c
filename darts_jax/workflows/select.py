"""`select`: a genotype by any rule, from any saved epoch of a search."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import DISCRETIZATIONS, require_finite_alpha
from darts_jax.bilevel.evolution import CostLimit
from darts_jax.bilevel.selection import (
    SELECTIONS,
    HostMask,
    Merits,
    Numbers,
    TrainedSupernet,
)
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.devices import Layout, to_host
from darts_jax.engine.job import Job
from darts_jax.errors import unknown_name_error
from darts_jax.proxies.ensemble import relative_ranks
from darts_jax.settings.config import with_overrides
from darts_jax.spaces import get_space
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.cost_limits import Limit
from darts_jax.tasks.registry import load_data
from darts_jax.tasks.search_job import bind_settings, make_discretization
from darts_jax.training.console import print_status
from darts_jax.training.evaluation import Evaluator
from darts_jax.training.loop import compile_job
from darts_jax.training.path_scores import make_path_scores, score_chunks
from darts_jax.training.restore import SavedSearch
from darts_jax.training.run_budget import fit_to_budget, print_budget, read_limit
from darts_jax.types import Mixture
from darts_jax.workflows.priors import make_prior

_AT_ONCE = 16  # paths that one call scores by statistics of their own


def select(
    run: str | Path,
    rule: str,
    epoch: int = 0,
    dataset: AnyDataset | None = None,
    overrides: Sequence[str] = (),
) -> Genotype:
    """Makes a genotype of a finished or unfinished search by any rule.

    Args:
      run: directory of the search.
      rule: of `DISCRETIZATIONS`, which read the architecture parameters of any epoch,
        or of `SELECTIONS`, which test the supernet and need its checkpoint.
      epoch: from 1; 0 for the last that is saved.
      dataset: in place of the one that the run's settings name.
      overrides: where the data of the run lie now, as ``data.directory=PATH``.

    Raises:
      InputError: no such rule, run, epoch or checkpoint, or other data, in one line.
    """
    known = [*DISCRETIZATIONS, *SELECTIONS]
    if rule not in known:
        raise unknown_name_error("rule", rule, known)
    saved = SavedSearch(run, [f"search.discretization={rule}", *overrides])
    limit = read_limit(saved.config, saved.directory)
    if rule in DISCRETIZATIONS:
        alpha = saved.architecture(epoch)
        genotype = make_discretization(saved.config)(saved.space, alpha)
    else:
        job, state = saved.restore(epoch, dataset)
        alpha = saved.architecture(epoch)
        genotype = select_on_supernet(saved.config, job, state, dataset, limit)
    fitted = fit_to_budget(limit, genotype, alpha)
    print_budget(limit, fitted, before=genotype)
    return check_genotype(fitted)


def select_on_supernet(
    config: ConfigDict,
    job: Job,
    state: Any,
    dataset: AnyDataset | None = None,
    limit: Limit | None = None,
) -> Genotype:
    """Makes a genotype by a rule that tests the supernet, ``search.discretization``.

    Args:
      config: of the search.
      job: of the search.
      state: of the search, whose supernet is tested.
      dataset: in place of the one that the config names.
      limit: budget that a rule keeps to which looks for genotypes; None without one.

    Raises:
      InputError: architecture parameters are no numbers, or no genotype was found that
        meets the limit.
    """
    settings = config.search
    space = get_space(config.space)
    require_finite_alpha(space, to_host(state.alpha))
    choose = bind_settings(SELECTIONS[settings.discretization], settings.selection)
    rng = np.random.default_rng(config.seed)
    trained = _make_trained(config, job, state, dataset)
    if limit is not None:
        held = CostLimit(limit.cost, limit.target, limit.expected.unit)
        trained = dataclasses.replace(trained, limit=held)
    if settings.selection.proxy != "none":
        merits = _make_merits(config, dataset or load_data(config))
        trained = dataclasses.replace(trained, merits=merits)
    return choose(space, trained, rng)


def _make_merits(config: ConfigDict, dataset: AnyDataset) -> Merits:
    """Makes the merit of sampled genotypes: ranks by accuracy and by a proxy."""
    settings = config.search.selection
    prior = make_prior(config, settings.proxy, dataset)

    def merits(genotypes: Sequence[Genotype], scores: Numbers) -> Numbers:
        ranks = relative_ranks(np.column_stack([scores, prior(genotypes)]))
        return ranks @ [1 - settings.proxy_share, settings.proxy_share]

    return merits


def _make_trained(
    config: ConfigDict, job: Job, state: Any, dataset: AnyDataset | None
) -> TrainedSupernet:
    evaluator = Evaluator(job)
    make_model = jax.jit(job.model)
    last = job.scalars(job.epochs - 1)
    # What helped the search along is no part of what it found.
    scalars = last | {"auxiliary_skip": np.float32(0)}
    settings = config.search.selection
    current = {"state": state}
    tuner = _Tuner(config, job) if settings.tune_epochs else None

    def score(mixture: Mixture) -> float:
        model = make_model(current["state"], scalars).replace(
            mixture=mixture, batch_statistics=settings.statistics == "batch"
        )
        return float(job.score.merit(evaluator.score(model)))

    def mixture(mask: HostMask) -> Mixture:
        model = make_model(current["state"].replace(mask=mask), scalars)
        return jax.tree.map(np.array, to_host(model.mixture))

    def tune(mask: HostMask) -> None:
        if tuner is not None:
            current["state"] = tuner.tune(current["state"], mask)

    trained = TrainedSupernet(
        to_host(state.alpha), to_host(state.mask), mixture, score, tune
    )
    if settings.statistics != "recalibrated":
        return trained
    own = with_overrides(config, ["score.statistics=recalibrated"])
    over_paths = make_path_scores(own, dataset or load_data(config), Layout())

    def score_paths(mixtures: Mixture) -> Numbers:
        tuned = current["state"]
        params, stats = Layout().put(to_host((tuned.params, tuned.stats)))
        chunks = score_chunks(over_paths, params, stats, mixtures, _AT_ONCE)
        return np.concatenate([*chunks])

    def score_path(mixture: Mixture) -> float:
        (accuracy,) = score_paths(jax.tree.map(lambda leaf: leaf[None], mixture))
        return float(accuracy)

    return dataclasses.replace(trained, score=score_path, score_paths=score_paths)


class _Tuner:
    """Trains the weights of a supernet with less and less to choose from.

    The momentum of the search is forgotten. The architecture rests, or learns on as
    long as an edge is undecided.
    """

    def __init__(self, config: ConfigDict, job: Job) -> None:
        self.job = job
        self.settings = config.search.selection
        self.chunks = job.feed.open(job.layout)
        self.epoch = job.epochs
        self.program: Any = None
        self.is_new = True

    def tune(self, state: Any, mask: HostMask) -> Any:
        """Returns the state after ``tune_epochs`` with the operations of a mask."""
        state = state.replace(mask=self.job.layout.put(mask))
        if self.is_new:
            still = jax.tree.map(jnp.zeros_like, state.weight_optimizer)
            state = state.replace(weight_optimizer=still)
            self.is_new = False
        undecided = any(np.sum(own, -1).max() > 1 for own in mask.values())
        learns = self.settings.tunes_alpha and undecided
        # The program takes the state's memory for its own: selection keeps none of it.
        for _ in range(self.settings.tune_epochs):
            state = self._run_epoch(state, learns)
        return state

    def _run_epoch(self, state: Any, learns: bool) -> Any:
        job = self.job
        scalars = job.scalars(job.epochs - 1)
        if not learns:
            scalars["architecture"]["learns"] = np.float32(0)
        rate = job.scalars(0)["weights"]["learning_rate"]
        scalars["weights"]["learning_rate"] = rate * np.float32(self.settings.tune_rate)
        totals = job.layout.init(lambda t: t, job.empty_totals())
        if self.program is None:
            self.program, seconds = compile_job(job, state, totals)
            print_status(f"select: compiled in {seconds:.1f} s")
        epoch = np.int32(self.epoch)
        start = 0
        for stop, data in self.chunks(self.epoch, 0):
            state, totals = self.program(
                state, totals, data, scalars, epoch, np.int32(start), np.int32(stop)
            )
            start = stop
        self.epoch += 1
        return state
