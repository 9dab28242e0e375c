"""Progress of a run that has not ended, read from its directory."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from darts_jax.data.stream import AnyDataset
from darts_jax.spaces.reading import read_genotype_file
from darts_jax.tasks.registry import make_search, make_training
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.directory import RunDirectory
from darts_jax.training.stages import make_stages


@dataclasses.dataclass(frozen=True)
class Progress:
    """Steps that a search or a training has saved, and those that it is to take.

    Attributes:
      verb: what runs: "search", "retrain", "retrain_1" and so on.
      step: of the newest checkpoint; 0 without one.
      steps: of the whole.
    """

    verb: str
    step: int
    steps: int

    def __str__(self) -> str:
        of = "" if self.verb == "search" else f"{self.verb}, "
        return f"{of}step {self.step:,} of {self.steps:,}"


def read_progress(
    config: ConfigDict, directory: RunDirectory, dataset: AnyDataset
) -> Progress:
    """Reads how far a run is: its search, or after it the training that was begun last.

    Args:
      config: settings of the run.
      directory: of the run, which nothing is written to.
      dataset: of the run.
    """
    if directory.genotype.exists():
        genotype = read_genotype_file(directory.genotype)
        job: Any = make_training(config, dataset, genotype)
        verb = _last_training(directory)
        return Progress(
            verb, _saved_step(directory, verb), job.epochs * job.steps_per_epoch
        )
    done = 0
    steps = 0
    for stage in make_stages(config):
        job = make_search(stage.config, dataset)
        done += _saved_step(directory, stage.verb)
        steps += job.epochs * job.steps_per_epoch
    return Progress("search", done, steps)


def _last_training(directory: RunDirectory) -> str:
    begun = [
        path.name
        for pattern in ("retrain*", "random*", "baselines")
        for path in directory.checkpoints.glob(pattern)
    ]
    return max(begun, key=_place_in_order, default="retrain")


def _place_in_order(verb: str) -> tuple[int, int]:
    """Returns what trainings of one run are sorted by, to come as they are trained."""
    name, _, number = verb.partition("_")
    return ("retrain", "random", "baselines").index(name), int(number or 0)


def _saved_step(directory: RunDirectory, verb: str) -> int:
    return max(Checkpoints(directory.checkpoints / verb).steps(), default=0)
