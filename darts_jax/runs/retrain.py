"""`retrain` and `evaluate`: a genotype from scratch, beside random ones."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import random_genotype
from darts_jax.build import Job, dataset_of, make_training
from darts_jax.checks import validate_config
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters
from darts_jax.runs.compilation import use_compilation_cache
from darts_jax.runs.console import table
from darts_jax.runs.directory import RunDirectory, atomic_write, open_run
from darts_jax.runs.loop import HeldOut, run_epochs
from darts_jax.runs.processes import wait_for_all
from darts_jax.runs.saved import restore_network
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype


@dataclasses.dataclass(frozen=True)
class Trained:
    """One network after its training.

    Attributes:
      name: "retrain" for the genotype asked for, "random_0" and so on for baselines.
      parameters: trainable scalars, without the auxiliary head.
      accuracy: on the test images, with running statistics.
    """

    name: str
    genotype: Genotype
    parameters: int
    accuracy: float


@dataclasses.dataclass(frozen=True)
class RetrainResult:
    """The genotype's network and the random ones trained by the same recipe."""

    network: Trained
    baselines: tuple[Trained, ...]
    note: str
    run: RunDirectory

    @property
    def accuracy(self) -> float:
        return self.network.accuracy

    @property
    def random_mean(self) -> float:
        """Mean accuracy of the random genotypes."""
        return statistics.mean(b.accuracy for b in self.baselines)

    def __str__(self) -> str:
        rows = [
            {
                "network": trained.name,
                "parameters": trained.parameters,
                "test accuracy %": 100 * trained.accuracy,
            }
            for trained in (self.network, *self.baselines)
        ]
        text = table(rows, ["network", "parameters", "test accuracy %"])
        if self.baselines:
            accuracies = [100 * b.accuracy for b in self.baselines]
            mean = 100 * self.random_mean
            spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
            text += (
                f"\n{len(accuracies)} random genotypes: mean {mean:.2f} %, standard "
                f"deviation {spread:.2f}; searched minus random "
                f"{100 * self.accuracy - mean:+.2f}\n"
            )
        return text + (f"\n{self.note}\n" if self.note else "")


def retrain(
    config: ConfigDict,
    run: str | Path,
    genotype: Genotype | None = None,
    dataset: AnyDataset | None = None,
) -> RetrainResult:
    """Trains a genotype from scratch on all training images and tests it.

    Beside it, ``config.baseline.random_genotypes`` random genotypes of the same space
    are trained by the same recipe.

    Args:
      run: directory; with a finished search in it, its genotype is the default.
      genotype: what to train.

    Raises:
      InputError: a mistake in the settings, the data or the genotype.
    """
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or dataset_of(config)
    genotype = genotype or _found(Path(run))
    space = get_space(config.space)
    rng = np.random.default_rng(config.seed)
    others = [
        random_genotype(space, rng) for _ in range(config.baseline.random_genotypes)
    ]
    job = make_training(config, dataset, genotype)
    directory = open_run(run, config, "retrain")
    _claim(directory, genotype)
    network = _train("retrain", job, config, directory, genotype)
    baselines = []
    for i, other in enumerate(others):
        job = make_training(config, dataset, other)
        baselines.append(_train(f"random_{i}", job, config, directory, other))
    result = RetrainResult(network, tuple(baselines), dataset.note, directory)
    _summarize(result)
    return result


def evaluate(
    config: ConfigDict, run: str | Path, dataset: AnyDataset | None = None
) -> float:
    """Test accuracy of the network that `retrain` left in a run directory.

    Raises:
      InputError: there is none, or it was trained by other settings.
    """
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or dataset_of(config)
    directory = RunDirectory(Path(run))
    job = make_training(config, dataset, _found(directory.path))
    return _test_accuracy(job, restore_network(directory, job, config.checkpoint.keep))


def read_retrained(run: str | Path) -> RetrainResult | None:
    """What a finished `retrain` left in a run directory, if there was one.

    Raises:
      InputError: its summary is damaged.
    """
    directory = RunDirectory(Path(run))
    try:
        summary = json.loads(directory.summary_json.read_text())
        networks = [
            Trained(
                network["name"],
                Genotype.from_json(json.dumps(network["genotype"])),
                network["parameters"],
                network["test_accuracy"],
            )
            for network in summary["networks"]
        ]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{directory.summary_json} is damaged") from None
    return RetrainResult(networks[0], tuple(networks[1:]), summary["note"], directory)


def _found(path: Path) -> Genotype:
    directory = RunDirectory(path)
    if not directory.genotype.exists():
        raise InputError(f"no genotype in {path}; search first, or give --genotype")
    return Genotype.from_json(directory.genotype.read_text())


def _claim(directory: RunDirectory, genotype: Genotype) -> None:
    """A run directory trains one genotype; another is refused."""
    if not directory.genotype.exists():
        wait_for_all("no genotype yet")
        atomic_write(directory.genotype, genotype.to_json())
    elif Genotype.from_json(directory.genotype.read_text()) != genotype:
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
) -> Trained:
    state = run_epochs(job, directory, name, config.checkpoint)
    params = {k: v for k, v in state.params.items() if k != "auxiliary"}
    if name != "retrain":
        atomic_write(directory.path / f"{name}.json", genotype.to_json())
    return Trained(name, genotype, count_parameters(params), _test_accuracy(job, state))


def _test_accuracy(job: Job, state: Any) -> float:
    last = job.model(state, job.scalars(job.epochs - 1))
    return float(HeldOut(job).accuracy(last))


def _summarize(result: RetrainResult) -> None:
    networks: Sequence[Trained] = (result.network, *result.baselines)
    summary = {
        "networks": [
            {
                "name": trained.name,
                "parameters": trained.parameters,
                "test_accuracy": trained.accuracy,
                "genotype": json.loads(trained.genotype.to_json()),
            }
            for trained in networks
        ],
        "note": result.note,
        "backend": jax.default_backend(),
    }
    atomic_write(result.run.summary_json, json.dumps(summary, indent=1) + "\n")
    atomic_write(result.run.summary_text, str(result))
