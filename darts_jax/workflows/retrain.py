"""`retrain` and `evaluate`: a genotype from scratch, beside random ones."""

import dataclasses
import functools
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from darts_jax.analysis.comparison import improvement
from darts_jax.analysis.intervals import Range
from darts_jax.analysis.measures import column_range
from darts_jax.bilevel.discretization import random_genotype
from darts_jax.data.identity import Identity, read_identity, shape_told
from darts_jax.data.remembered import trained_with
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.engine.job import Job
from darts_jax.engine.task import Score
from darts_jax.errors import InputError
from darts_jax.files import local_path
from darts_jax.models.functional import count_parameters
from darts_jax.settings.config import validate_config, with_overrides
from darts_jax.settings.config_files import load_config
from darts_jax.spaces import get_space
from darts_jax.spaces.fit import check, doubts
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.reading import read_genotype_file
from darts_jax.spaces.written import of_tree
from darts_jax.tasks.registry import get_score, load_data
from darts_jax.training.console import format_table, print_status
from darts_jax.training.cost_limits import make_pricing
from darts_jax.training.directory import RunDirectory, atomic_write, open_run
from darts_jax.training.evaluation import Evaluation, Evaluator, write_evaluation
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.loop import run_epochs
from darts_jax.training.processes import wait_for_all
from darts_jax.training.restore import restore_network
from darts_jax.training.retrain_job import make_training
from darts_jax.training.shared_job import count_network_parameters, make_shared_training
from darts_jax.training.warm_start import (
    SourceRun,
    WarmStart,
    make_training_warm_start,
    require_same_genotypes,
)
from darts_jax.workflows.random_networks import draw_comparable


@dataclasses.dataclass(frozen=True)
class Trained:
    """One network after its training.

    Attributes:
      name: "retrain" for the genotype asked for, "retrain_1" and so on for its further
        trainings, "random_0" and so on for baselines.
      parameters: trainable scalars, without the auxiliary head.
      score: on the test data, with running statistics.
      held_out: on what every epoch was tested on, where that is not the test data.
      also: what is told beside the score, by name.
      cost: in the unit of the result, where random ones were to cost the same.
    """

    name: str
    genotype: Genotype
    parameters: int
    score: float
    held_out: float | None = None
    also: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cost: float | None = None


def is_repeat(name: str) -> bool:
    """Returns whether a network's name is that of a further training."""
    return name.startswith("retrain_")


@dataclasses.dataclass(frozen=True)
class RetrainResult:
    """The genotype's network and the random ones trained by the same recipe.

    Attributes:
      repeats: further trainings of the same genotype from other seeds.
      unit: of the networks' costs, if they were asked for.
    """

    network: Trained
    baselines: tuple[Trained, ...]
    note: str
    run: RunDirectory
    measure: Score
    unit: str = ""
    repeats: tuple[Trained, ...] = ()

    @property
    def score(self) -> float:
        return self.network.score

    @property
    def accuracy(self) -> float:
        """Accuracy on the test data, where the task has one."""
        if "accuracy" in self.network.also:
            return self.network.also["accuracy"]
        if self.measure.name != "accuracy":
            raise InputError(f"networks are measured by {self.measure.name}: see score")
        return self.score

    @property
    def scores(self) -> list[float]:
        """Scores of all trainings of the genotype."""
        return [trained.score for trained in (self.network, *self.repeats)]

    @property
    def random_mean(self) -> float:
        """Mean score of the random genotypes."""
        return statistics.mean(b.score for b in self.baselines)

    def __str__(self) -> str:
        measure = self.measure
        networks = (self.network, *self.repeats, *self.baselines)
        test, valid = f"test {measure.title}", f"valid {measure.title}"
        columns = ["network", "parameters", test]
        if self.network.held_out is not None:
            columns.insert(2, valid)
        if self.unit:
            columns.insert(2, self.unit)
        others = {f"{name} {measure.unit}".rstrip(): name for name in measure.extras}
        rows = [
            {
                "network": trained.name,
                "parameters": trained.parameters,
                self.unit: trained.cost,
                test: measure.scaled(trained.score),
                valid: measure.scaled(trained.held_out or 0.0),
                **{k: measure.scaled(trained.also[name]) for k, name in others.items()},
            }
            for trained in networks
        ]
        columns += others
        text = format_table(rows, columns)
        if self.baselines:
            text += f"\n{self._beside_random()}\n"
        return text + (f"\n{self.note}\n" if self.note else "")

    def _beside_random(self) -> str:
        """Compares the genotype's trainings with the random genotypes', in one line."""
        unit = f" {self.measure.unit}".rstrip()
        own = [self.measure.scaled(score) for score in self.scores]
        random = [self.measure.scaled(b.score) for b in self.baselines]
        spread = statistics.stdev(random) if len(random) > 1 else 0.0
        gained = f"{statistics.mean(own) - statistics.mean(random):+.2f}"
        if min(len(own), len(random)) > 1:
            least, most = column_range(f"test_{self.measure.name}")
            within = Range(self.measure.scaled(least), self.measure.scaled(most))
            gained = str(improvement(own, random, within))
        return (
            f"{len(random)} random genotypes of space "
            f"{self.baselines[0].genotype.space}: mean "
            f"{statistics.mean(random):.2f}{unit}, standard deviation {spread:.2f}; "
            f"searched minus random {gained}"
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
    hangs on chance. A genotype that cannot learn is warned of before.

    Args:
      run: directory; with a finished search in it, its genotype is the default.
      genotype: what to train.
      start_from: a run whose networks' last weights and statistics are the first of
        these, in place of random ones; its genotype is the default then.

    Raises:
      InputError: a mistake in the settings, the data or the genotype, or the run began
        on other data.
    """
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or load_data(config)
    source = None if start_from is None else SourceRun(local_path(start_from))
    genotype = genotype or (source.genotype() if source else _found(local_path(run)))
    genotype = check(genotype)
    job = make_training(config, dataset, genotype)
    pricing, others = draw_comparable(config, dataset, genotype)
    beside = {f"retrain_{i + 1}": genotype for i in range(config.baseline.repeats)}
    beside |= {f"random_{i}": other for i, other in enumerate(others)}
    place = RunDirectory(Path(run))
    beginnings = _beginnings(source, config, dataset, place, genotype, beside)
    directory = open_run(run, config, "retrain", dataset)
    _claim(directory, genotype)
    for beginning in beginnings:
        beginning.write(directory)
    _warn(genotype)
    trained = [_train("retrain", job, config, directory, genotype, dataset)]
    train_beside = BASELINE_EXECUTIONS[config.baseline.execution]
    trained += train_beside(config, dataset, directory, beside)
    unit = ""
    if pricing is not None:
        unit, cost = pricing.expected.unit, pricing.cost
        trained = [dataclasses.replace(t, cost=cost(t.genotype)) for t in trained]
    result = RetrainResult(
        network=trained[0],
        repeats=tuple(t for t in trained if is_repeat(t.name)),
        baselines=tuple(t for t in trained if t.name.startswith("random_")),
        note=dataset.note,
        run=directory,
        measure=job.score,
        unit=unit,
    )
    _summarize(result)
    return result


def _beginnings(
    source: SourceRun | None,
    config: ConfigDict,
    dataset: AnyDataset,
    directory: RunDirectory,
    genotype: Genotype,
    beside: Mapping[str, Genotype],
) -> list[WarmStart]:
    """Returns the first states of the networks that start from another run's.

    Args:
      source: the other run; None: they start from random weights, or go on.
      genotype: of the network "retrain".
      beside: those of the other networks, by name.
    """
    if source is not None:
        if beside and config.baseline.execution == "shared":
            raise InputError(
                "networks that share one program start from random weights; want "
                "baseline.execution=separate with --from"
            )
        require_same_genotypes(source, {"retrain": genotype, **beside})
    jobs = {"retrain": lambda: make_training(config, dataset, genotype)}
    for i, (name, other) in enumerate(beside.items()):
        jobs[name] = functools.partial(_job_beside, config, dataset, i, name, other)
    every = [
        make_training_warm_start(source, directory, *named) for named in jobs.items()
    ]
    return [beginning for beginning in every if beginning is not None]


def check_retraining(config: ConfigDict, dataset: AnyDataset) -> None:
    """Raises what `retrain` would of any genotype, for a verb that searches first.

    Raises:
      InputError: a mistake in the settings of ``retrain`` or ``baseline``, or data that
        do not suit them.
    """
    settings = config.baseline
    space, rng = get_space(config.space), np.random.default_rng(config.seed)
    genotype = random_genotype(space, rng)
    make_training(config, dataset, genotype)
    beside = settings.repeats + settings.random_genotypes
    if beside and BASELINE_EXECUTIONS[settings.execution] is _train_together:
        make_shared_training(config, dataset, [genotype] * beside)
    if settings.random_genotypes and settings.equal_cost:
        make_pricing(config, dataset, settings.equal_cost)


def _warn(genotype: Genotype) -> None:
    for doubt in doubts(genotype):
        print_status(f"warning: {doubt}")


def evaluate(
    config: ConfigDict, run: str | Path, dataset: AnyDataset | None = None
) -> float:
    """Test score of the network that `retrain` left in a run directory.

    Where the task has classes, the results of each go into ``evaluation.json``. The
    data may be others than it was trained on: their mean and deviation, and the numbers
    of their classes, are those of its training.

    Raises:
      InputError: there is none, it was trained by other settings, or the data have
        other classes or channels than it knows.
    """
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or load_data(config)
    directory = RunDirectory(Path(run))
    if (known := read_identity(directory.data)) is not None:
        dataset = _as_trained(dataset, known)
    job = make_training(config, dataset, _found(directory.path))
    state = restore_network(directory, job, config.checkpoint.keep)
    tested = _tested(job, state, last=True)
    write_evaluation(directory, dataset, tested)
    return float(tested.measures[job.score.name])


def _as_trained(dataset: AnyDataset, known: Identity) -> AnyDataset:
    """Data as the network saw its own; another size of images is told."""
    seen: AnyDataset = trained_with(dataset, known)
    if known.shape and (here := tuple(seen.image_shape)) != known.shape:
        print_status(
            f"evaluate: the network was trained on {shape_told(known.shape)}; these "
            f"are {shape_told(here)}"
        )
    return seen


def read_retrained(run: str | Path) -> RetrainResult | None:
    """What a finished `retrain` left in a run directory, if there was one.

    Raises:
      InputError: its summary is damaged.
    """
    directory = RunDirectory(Path(run))
    if not directory.summary_json.exists():
        return None
    measure = get_score(load_config(directory.config))
    try:
        summary = json.loads(directory.summary_json.read_text())
        networks = [
            Trained(
                network["name"],
                of_tree(network["genotype"]),
                network["parameters"],
                network[f"test_{measure.name}"],
                network.get(f"valid_{measure.name}"),
                {name: network[f"test_{name}"] for name in measure.extras},
                network.get("cost"),
            )
            for network in summary["networks"]
        ]
        note, unit = summary["note"], summary.get("cost", "")
    except InputError as error:
        raise InputError(f"{directory.summary_json}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{directory.summary_json} is damaged") from None
    return RetrainResult(
        network=networks[0],
        repeats=tuple(t for t in networks if is_repeat(t.name)),
        baselines=tuple(t for t in networks if t.name.startswith("random_")),
        note=note,
        run=directory,
        measure=measure,
        unit=unit,
    )


def _found(path: Path) -> Genotype:
    directory = RunDirectory(path)
    if not directory.genotype.exists():
        raise InputError(f"no genotype in {path}; search first, or give --genotype")
    return read_genotype_file(directory.genotype)


def _claim(directory: RunDirectory, genotype: Genotype) -> None:
    """A run directory trains one genotype; another is refused."""
    if not directory.genotype.exists():
        wait_for_all("no genotype yet")
        atomic_write(directory.genotype, genotype.to_json())
    elif read_genotype_file(directory.genotype) != genotype:
        raise InputError(
            f"run directory {directory.path} holds another genotype; choose another "
            "--run"
        )


def _train(
    name: str,
    job: Job,
    config: ConfigDict,
    directory: RunDirectory,
    genotype: Genotype,
    dataset: AnyDataset,
) -> Trained:
    state = run_epochs(job, directory, name, config.checkpoint)
    params = {k: v for k, v in state.params.items() if k != "auxiliary"}
    if name != "retrain":
        atomic_write(directory.path / f"{name}.json", genotype.to_json())
    tested = _tested(job, state, last=True)
    if name == "retrain":
        write_evaluation(directory, dataset, tested)
    also = {k: float(value) for k, value in tested.measures.items()}
    score = also.pop(job.score.name)
    held_out = None
    if job.test is not None:
        held_out = float(_tested(job, state, last=False).measures[job.score.name])
    counted = count_parameters(params)
    return Trained(name, genotype, counted, score, held_out, also)


def _train_each(
    config: ConfigDict,
    dataset: AnyDataset,
    directory: RunDirectory,
    genotypes: Mapping[str, Genotype],
) -> list[Trained]:
    """Trains genotypes one after another, each by a program of its own."""
    trained = []
    for i, (name, genotype) in enumerate(genotypes.items()):
        job = _job_beside(config, dataset, i, name, genotype)
        trained.append(_train(name, job, config, directory, genotype, dataset))
    return trained


def _job_beside(
    config: ConfigDict, dataset: AnyDataset, i: int, name: str, genotype: Genotype
) -> Job:
    """The training of the i-th network beside the searched one."""
    # Repeated trainings of one genotype must differ by their seeds.
    own = with_overrides(config, [f"seed={config.seed + i}"])
    return make_training(own if is_repeat(name) else config, dataset, genotype)


def _train_together(
    config: ConfigDict,
    dataset: AnyDataset,
    directory: RunDirectory,
    genotypes: Mapping[str, Genotype],
) -> list[Trained]:
    """Trains genotypes as the members of one program."""
    if not genotypes:
        return []
    job = make_shared_training(config, dataset, list(genotypes.values()))
    state = run_epochs(job, directory, "baselines", config.checkpoint)
    model = job.model(state, job.scalars(job.epochs - 1))
    measures = dict(Evaluator(job, last=True).evaluate(model).measures)
    scores = measures.pop(job.score.name)
    trained = []
    for i, (name, genotype) in enumerate(genotypes.items()):
        if not is_repeat(name):
            atomic_write(directory.path / f"{name}.json", genotype.to_json())
        also = {other: float(value[i]) for other, value in measures.items()}
        counted = count_network_parameters(config, dataset, genotype)
        score = float(scores[i])
        trained.append(Trained(name, genotype, counted, score, also=also))
    return trained


BASELINE_EXECUTIONS = {"separate": _train_each, "shared": _train_together}
"""How what stands beside a network is trained; ``baseline.execution`` names it."""


def _tested(job: Job, state: Any, last: bool) -> Evaluation:
    model = job.model(state, job.scalars(job.epochs - 1))
    return Evaluator(job, last).evaluate(model)


def _summarize(result: RetrainResult) -> None:
    networks = (result.network, *result.repeats, *result.baselines)
    name = result.measure.name
    summary = {
        "networks": [
            {
                "name": trained.name,
                "parameters": trained.parameters,
                f"test_{name}": trained.score,
                **_beside(trained, name),
                "genotype": json.loads(trained.genotype.to_json()),
            }
            for trained in networks
        ],
        "note": result.note,
        **({"cost": result.unit} if result.unit else {}),
        "backend": jax.default_backend(),
    }
    atomic_write(result.run.summary_json, json.dumps(summary, indent=1) + "\n")
    atomic_write(result.run.summary_text, str(result))


def _beside(trained: Trained, name: str) -> dict[str, float]:
    """What is known of a network beside its score."""
    known = {f"valid_{name}": trained.held_out, "cost": trained.cost}
    also = {f"test_{name}": value for name, value in trained.also.items()}
    return {k: v for k, v in known.items() if v is not None} | also
