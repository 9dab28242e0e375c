"""`retrain`: a genotype from scratch, beside random ones."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import random_genotype
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.models.functional import count_parameters
from darts_jax.settings.config import validate_config, with_overrides
from darts_jax.spaces import get_space
from darts_jax.spaces.fit import check_genotype, describe_dead_states
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.reading import read_genotype_file
from darts_jax.tasks.registry import load_data, make_pricing, make_training
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.evaluation import write_evaluation
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.loop import run_epochs
from darts_jax.training.metrics import finish_logs
from darts_jax.training.opening import open_run
from darts_jax.training.processes import wait_for_all
from darts_jax.training.shared_job import count_network_parameters, make_shared_training
from darts_jax.training.warm_start import (
    SourceRun,
    WarmStart,
    make_training_warm_start,
    require_same_genotypes,
)
from darts_jax.workflows.evaluate import evaluate_state, read_run_genotype
from darts_jax.workflows.random_networks import draw_comparable
from darts_jax.workflows.retrain_result import (
    RetrainResult,
    TrainedNetwork,
    is_repeat,
    write_retrained,
)


@holds_run_lock
def retrain(
    config: ConfigDict,
    run: str | Path,
    genotype: Genotype | None = None,
    dataset: AnyDataset | None = None,
    start_from: str | Path | None = None,
) -> RetrainResult:
    """Trains a genotype from scratch on all training data and tests it.

    Beside it, ``config.baseline.random_genotypes`` random genotypes of its space,
    whatever ``config.space`` is, are trained by the same recipe; of the same cost, if
    ``config.baseline.equal_cost`` says what is counted. ``config.baseline.repeats``
    further trainings of the genotype itself, from other seeds, tell how far its score
    depends on chance. A genotype that cannot learn is warned of before.

    Args:
      config: see `config.default_config`.
      run: directory; with a finished search in it, its genotype is the default.
      genotype: what to train.
      dataset: in place of the one that the config names.
      start_from: a run whose networks' last weights and statistics are the first of
        these, in place of random ones; its genotype is the default then.

    Returns:
      All networks with their scores.

    Raises:
      InputError: a mistake in the settings, the data or the genotype, or the run began
        on other data.
    """
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or load_data(config)
    source = None if start_from is None else SourceRun(open_place(start_from))
    directory = RunDirectory(open_place(run))
    if genotype is None:
        genotype = source.genotype() if source else read_run_genotype(directory)
    genotype = check_genotype(genotype)
    job = make_training(config, dataset, genotype)
    pricing, random = draw_comparable(config, dataset, genotype)
    networks = _Networks(config, dataset, _name_networks(config, genotype, random))
    warm_starts = _make_warm_starts(source, networks, directory)
    directory = open_run(run, config, "retrain", dataset)
    _claim(directory, genotype)
    for warm_start in warm_starts:
        warm_start.write(directory)
    for doubt in describe_dead_states(genotype):
        print_status(f"warning: {doubt}")
    trained = [_train(networks, "retrain", job, directory)]
    train_others = BASELINE_EXECUTIONS[config.baseline.execution]
    trained += train_others(networks, directory)
    if pricing is not None:
        trained = [
            dataclasses.replace(one, cost=pricing.cost(one.genotype)) for one in trained
        ]
    result = RetrainResult(
        tuple(trained),
        note=dataset.note,
        run=directory,
        measure=job.score,
        unit="" if pricing is None else pricing.expected.unit,
    )
    write_retrained(result)
    told = [directory.summary_json, directory.evaluation]
    verbs = [*networks.others, "baselines", "retrain"]
    finish_logs(directory, verbs, [[path for path in told if path.exists()]])
    return result


def check_retraining(config: ConfigDict, dataset: AnyDataset) -> None:
    """Checks, for a verb that searches first, that `retrain` will take its genotype.

    Args:
      config: the settings of the search and of the training.
      dataset: of the training.

    Raises:
      InputError: a mistake in the settings of ``retrain`` or ``baseline``, or data that
        do not suit them.
    """
    settings = config.baseline
    rng = np.random.default_rng(config.seed)
    genotype = random_genotype(get_space(config.space), rng)
    make_training(config, dataset, genotype)
    others = settings.repeats + settings.random_genotypes
    if others and BASELINE_EXECUTIONS[settings.execution] is _train_together:
        make_shared_training(config, dataset, [genotype] * others)
    if settings.random_genotypes and settings.equal_cost:
        make_pricing(config, dataset, settings.equal_cost)


@dataclasses.dataclass(frozen=True)
class _Networks:
    """Networks that one call trains by one recipe.

    Attributes:
      config: the recipe.
      dataset: of all trainings.
      genotypes: name -> genotype, "retrain" first.
    """

    config: ConfigDict
    dataset: AnyDataset
    genotypes: Mapping[str, Genotype]

    @property
    def others(self) -> list[str]:
        """Names of the networks beside "retrain"."""
        return [name for name in self.genotypes if name != "retrain"]

    def make_job(self, name: str) -> Job:
        """Returns the training of one network."""
        config = self.config
        if is_repeat(name):
            # Each differs by its seed from all others, the one named "retrain" too.
            seed = config.seed + 1 + self.others.index(name)
            config = with_overrides(config, [f"seed={seed}"])
        return make_training(config, self.dataset, self.genotypes[name])


def _name_networks(
    config: ConfigDict, genotype: Genotype, random: list[Genotype]
) -> dict[str, Genotype]:
    named = {"retrain": genotype}
    named |= {f"retrain_{i + 1}": genotype for i in range(config.baseline.repeats)}
    return named | {f"random_{i}": other for i, other in enumerate(random)}


def _make_warm_starts(
    source: SourceRun | None, networks: _Networks, directory: RunDirectory
) -> list[WarmStart]:
    """Returns the first states of the networks that start from another run's.

    Args:
      source: the other run; None: they start from random weights, or go on.
      networks: of the new run.
      directory: of the new run; nothing is written to it.
    """
    if source is not None:
        if networks.others and networks.config.baseline.execution == "shared":
            raise InputError(
                "networks that share one program start from random weights; want "
                "baseline.execution=separate with --from"
            )
        require_same_genotypes(source, networks.genotypes)
    every = [
        make_training_warm_start(
            source, directory, name, functools.partial(networks.make_job, name)
        )
        for name in networks.genotypes
    ]
    return [warm_start for warm_start in every if warm_start is not None]


def _claim(directory: RunDirectory, genotype: Genotype) -> None:
    """Makes a run directory that of one genotype; another is refused."""
    if not directory.genotype.exists():
        wait_for_all("no genotype yet")
        atomic_write(directory.genotype, genotype.to_json())
    elif read_genotype_file(directory.genotype) != genotype:
        raise InputError(
            f"run directory {directory.path} holds another genotype; choose another "
            "--run"
        )


def _train(
    networks: _Networks, name: str, job: Job, directory: RunDirectory
) -> TrainedNetwork:
    """Trains and tests one network by a program of its own."""
    genotype = networks.genotypes[name]
    state = run_epochs(job, directory, name, networks.config.checkpoint)
    if name != "retrain":
        atomic_write(directory.path / f"{name}.json", genotype.to_json())
    tested = evaluate_state(job, state, last=True)
    if name == "retrain":
        write_evaluation(directory, networks.dataset, tested)
    held_out = None
    if job.test is not None:
        between = evaluate_state(job, state, last=False)
        held_out = float(between.measures[job.score.name])
    params = {k: v for k, v in state.params.items() if k != "auxiliary"}
    return _describe_network(
        name, genotype, count_parameters(params), tested.measures, job, held_out
    )


def _train_each(networks: _Networks, directory: RunDirectory) -> list[TrainedNetwork]:
    """Trains all networks but the first, one after another."""
    return [
        _train(networks, name, networks.make_job(name), directory)
        for name in networks.others
    ]


def _train_together(
    networks: _Networks, directory: RunDirectory
) -> list[TrainedNetwork]:
    """Trains all networks but the first as the members of one program."""
    names = networks.others
    if not names:
        return []
    config = networks.config
    genotypes = [networks.genotypes[name] for name in names]
    job = make_shared_training(config, networks.dataset, genotypes)
    state = run_epochs(job, directory, "baselines", config.checkpoint)
    measures = evaluate_state(job, state, last=True).measures
    trained = []
    for i, (name, genotype) in enumerate(zip(names, genotypes, strict=True)):
        if not is_repeat(name):
            atomic_write(directory.path / f"{name}.json", genotype.to_json())
        parameters = count_network_parameters(config, networks.dataset, genotype)
        own = {measure: values[i] for measure, values in measures.items()}
        trained.append(_describe_network(name, genotype, parameters, own, job))
    return trained


BASELINE_EXECUTIONS: dict[
    str, Callable[[_Networks, RunDirectory], list[TrainedNetwork]]
] = {"separate": _train_each, "shared": _train_together}
"""``baseline.execution`` -> training of the networks beside the first."""


def _describe_network(
    name: str,
    genotype: Genotype,
    parameters: int,
    measures: Mapping[str, np.ndarray],
    job: Job,
    held_out: float | None = None,
) -> TrainedNetwork:
    also = {measure: float(value) for measure, value in measures.items()}
    score = also.pop(job.score.name)
    return TrainedNetwork(name, genotype, parameters, score, held_out, also)
