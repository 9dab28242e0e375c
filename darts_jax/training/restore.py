"""States of finished searches and networks, read from their run directories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.bilevel.discretization import DISCRETIZATIONS, require_finite_alpha
from darts_jax.data.dataset import Dataset
from darts_jax.data.identity import read_identity
from darts_jax.data.remembered import make_blank_dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.settings.config_files import load_config
from darts_jax.spaces import get_space
from darts_jax.tasks.registry import load_data, make_search
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory, load_architecture
from darts_jax.training.loop import initial_tree
from darts_jax.training.opening import require_same_data
from darts_jax.training.stages import make_stages


class SavedSearch:
    """Search in a run directory, finished or not.

    Args:
      run: its directory.
      overrides: settings to read it by, as `config.with_overrides` takes them.

    Attributes:
      directory: of the run.
      stages: of the search.
      config: of the last stage.
      space: that was searched.

    Raises:
      InputError: it is no run, or a setting is wrong.
    """

    def __init__(self, run: str | Path, overrides: Sequence[str] = ()) -> None:
        self.directory = RunDirectory(open_place(run))
        if not self.directory.config.exists():
            raise InputError(f"no run in {run}: want a directory that `search` made")
        self.stages = make_stages(load_config(self.directory.config, overrides))
        self.config = self.stages[-1].config
        self.space = get_space(self.config.space)

    @property
    def epochs(self) -> int:
        """Number of epochs whose architecture is saved."""
        return len(list(self.directory.architecture.glob("epoch_*.npz")))

    @property
    def rule(self) -> str:
        """Name of the rule that reads a genotype off the parameters alone."""
        named = self.config.search.discretization
        return named if named in DISCRETIZATIONS else self.space.discretization

    def architecture(self, epoch: int = 0) -> dict[str, np.ndarray]:
        """Returns the architecture parameters after an epoch: kind -> [edge, op].

        Args:
          epoch: from 1; 0 for the last.

        Raises:
          InputError: there is no such epoch, or its parameters are no numbers.
        """
        if not self.epochs:
            raise InputError(f"no epoch of a search is saved in {self.directory.path}")
        place = self.directory.architecture_at(epoch or self.epochs)
        alpha = load_architecture(place)
        require_finite_alpha(self.space, alpha, f" in {place}")
        return alpha

    def restore(
        self, epoch: int = 0, dataset: AnyDataset | None = None
    ) -> tuple[Job, Any]:
        """Returns the search and its state after an epoch.

        Args:
          epoch: from 1; 0 for the newest checkpoint.
          dataset: in place of the one that the config names.

        Raises:
          InputError: no checkpoint of it, the search had stages, or it was on other
            data.
        """
        if len(self.stages) > 1:
            raise InputError(
                f"the search in {self.directory.path} had stages, each with a supernet "
                "of its own: want a rule of parameters"
            )
        dataset = dataset or load_data(self.config)
        require_same_data(self.directory, dataset)
        job = make_search(self.config, dataset)
        checkpoints = Checkpoints(self.directory.checkpoints / self.stages[0].verb)
        like = initial_tree(job)
        if epoch:
            step = epoch * job.steps_per_epoch
            return job, checkpoints.restore(step, like)["state"]
        newest = checkpoints.restore_latest(like, notify=print_status)
        if newest is None:
            raise InputError(f"no checkpoint of a search in {self.directory.path}")
        _, tree = newest
        return job, tree["state"]


def blank_images(directory: RunDirectory) -> Dataset | None:
    """Returns blank images in place of a run's; None if it has no record of its data.

    They have the shape, mean, deviation, number and class names of the run's data.

    Args:
      directory: of the run.

    Raises:
      InputError: the record of the data is damaged.
    """
    known = read_identity(directory.data)
    return None if known is None else make_blank_dataset(known)


def restore_network(directory: RunDirectory, job: Job) -> Any:
    """Returns the last state of the network that `retrain` has trained.

    Args:
      directory: of the run.
      job: its training, as `make_training` makes it.

    Raises:
      InputError: there is none, or it was trained by other settings.
    """
    folder = directory.checkpoints / "retrain"
    if not folder.is_dir():
        raise InputError(
            f"no retrained network in {directory.path}; `retrain` makes one"
        )
    newest = Checkpoints(folder).restore_latest(initial_tree(job), notify=print_status)
    if newest is None:
        raise InputError(f"no whole checkpoint of a retrained network in {folder}")
    _, tree = newest
    return tree["state"]
