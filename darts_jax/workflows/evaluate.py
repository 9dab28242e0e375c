"""`evaluate`: the test of the network that `retrain` left."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.data.identity import Identity, describe_shape, read_identity
from darts_jax.data.remembered import match_training_data
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.settings.config import validate_config
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.reading import read_genotype_file
from darts_jax.tasks.registry import load_data, make_training
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory
from darts_jax.training.evaluation import Evaluation, Evaluator, write_evaluation
from darts_jax.training.restore import restore_network


def evaluate(
    config: ConfigDict, run: str | Path, dataset: AnyDataset | None = None
) -> float:
    """Tests the network that `retrain` left in a run directory.

    Where the task has classes, the results of each go into ``evaluation.json``. The
    data may be others than it was trained on: their mean and deviation, and the numbers
    of their classes, are those of its training.

    Args:
      config: the settings of the training.
      run: directory of the finished `retrain`.
      dataset: in place of the one that the config names.

    Returns:
      The task's score on the test data.

    Raises:
      InputError: there is none, it was trained by other settings, or the data have
        other classes or channels than it knows.
    """
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or load_data(config)
    directory = RunDirectory(open_place(run))
    if (known := read_identity(directory.data)) is not None:
        dataset = _as_trained(dataset, known)
    job = make_training(config, dataset, read_run_genotype(directory))
    state = restore_network(directory, job)
    tested = evaluate_state(job, state, last=True)
    write_evaluation(directory, dataset, tested)
    return float(tested.measures[job.score.name])


def evaluate_state(job: Job, state: Any, last: bool) -> Evaluation:
    """Tests the network of a training's state.

    Args:
      job: the training.
      state: of its last epoch.
      last: tests on the data of the last test, not on those of every epoch's.
    """
    model = job.model(state, job.scalars(job.epochs - 1))
    return Evaluator(job, last).evaluate(model)


def read_run_genotype(directory: RunDirectory) -> Genotype:
    """Reads the genotype that was found, or is trained, in a run directory.

    Args:
      directory: of the run.

    Raises:
      InputError: there is none, or it is damaged.
    """
    if not directory.genotype.exists():
        raise InputError(
            f"no genotype in {directory.path}; search first, or give --genotype"
        )
    return read_genotype_file(directory.genotype)


def _as_trained(dataset: AnyDataset, known: Identity) -> AnyDataset:
    """Returns data as the network saw its own; tells of images of another size."""
    seen: AnyDataset = match_training_data(dataset, known)
    if known.shape and (here := tuple(seen.image_shape)) != known.shape:
        wanted = describe_shape(known.shape, known.kind)
        print_status(
            f"evaluate: the network was trained on {wanted}; "
            f"these are {describe_shape(here, known.kind)}"
        )
    return seen
