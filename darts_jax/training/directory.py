"""Directory of a run: names of its files, and writing and reading of some of them."""

import dataclasses
import importlib.metadata
import io
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.errors import InputError
from darts_jax.files import (
    disk_errors,
    make_folder,
    open_place,
    read_npz,
    write_atomically,
)
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.modules import FILE as SPACE
from darts_jax.training.processes import is_writer

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "darts-jax")


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Names of the files of a run.

    Args:
      path: of the directory, on a local disk.

    Raises:
      InputError: the place is not local.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", open_place(self.path))

    @property
    def config(self) -> Path:
        """All settings of the run."""
        return self.path / "config.json"

    @property
    def versions(self) -> Path:
        """File of verb -> versions, device and seed that it ran with."""
        return self.path / "versions.json"

    @property
    def data(self) -> Path:
        """File that identifies the data; runs of earlier versions lack it."""
        return self.path / "data.json"

    @property
    def space(self) -> Path:
        """File of the choices in a user's network; other runs lack it."""
        return self.path / SPACE

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def architecture(self) -> Path:
        """Directory of the architecture parameters, a file for each epoch."""
        return self.path / "architecture"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def costs(self) -> Path:
        """File of the cost of every choice, of a search with a budget."""
        return self.path / "costs.json"

    @property
    def genotype(self) -> Path:
        return self.path / "genotype.json"

    @property
    def summary_json(self) -> Path:
        return self.path / "summary.json"

    @property
    def summary_text(self) -> Path:
        return self.path / "summary.txt"

    @property
    def evaluation(self) -> Path:
        """File of the retrained network's results by class on the test data."""
        return self.path / "evaluation.json"

    @property
    def start(self) -> Path:
        """File that names the run whose parameters this one started from, if any."""
        return self.path / "start.json"

    @property
    def members(self) -> Path:
        """File of the settings in which members of a population differ."""
        return self.path / "members.json"

    @property
    def logged(self) -> Path:
        """File of service -> verb -> its id of the run, and the last step it has."""
        return self.path / "logged.json"

    @property
    def events(self) -> Path:
        """Directory that TensorBoard reads."""
        return self.path / "events"

    def architecture_at(self, epoch: int) -> Path:
        """Returns the file of the architecture parameters after an epoch, from 1."""
        return self.architecture / f"epoch_{epoch:04d}.npz"


def load_settings(run: RunDirectory, overrides: Sequence[str] = ()) -> ConfigDict:
    """Returns the settings of a run, with single ones changed.

    Args:
      run: that has begun.
      overrides: as ``search.epochs=3``.

    Raises:
      InputError: it is no run, or a setting is wrong.
    """
    if not run.config.exists():
        raise InputError(f"no run in {run.path}: it has no {run.config.name}")
    return load_config(run.config, overrides)


def list_verbs(run: RunDirectory) -> list[str]:
    """Returns the verbs that have begun in a run directory, such as "search".

    Args:
      run: the directory.

    Raises:
      InputError: it is no run directory.
    """
    if not run.config.exists():
        raise InputError(f"no run in {run.path}: it has no {run.config.name}")
    return list(read_versions(run))


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old or the new, no mixture.

    Of several processes one writes; the others do nothing.

    Args:
      path: of the file, in a folder that exists.
      content: all of the file.

    Raises:
      InputError: no room on disk, or no right to write; the old file is intact.
    """
    if not is_writer():
        return
    write_atomically(path, content.encode() if isinstance(content, str) else content)


def save_architecture(
    run: RunDirectory, epoch: int, alpha: Mapping[str, np.ndarray]
) -> None:
    """Writes the architecture parameters after an epoch.

    Args:
      run: whose they are.
      epoch: from 1.
      alpha: kind of cell -> array, [edge, op] or [member, edge, op].
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {kind: np.asarray(value) for kind, value in alpha.items()}
    np.savez(buffer, **arrays)
    with disk_errors(str(run.architecture)):
        make_folder(run.architecture)  # by whichever process comes first
    atomic_write(run.architecture_at(epoch), buffer.getvalue())


def load_architecture(path: Path) -> dict[str, np.ndarray]:
    """Reads what `save_architecture` wrote.

    Args:
      path: as `RunDirectory.architecture_at` gives it.

    Raises:
      InputError: there is no such file, or it is damaged.
    """
    return read_npz(
        path,
        f"no architecture parameters at {path}",
        f"architecture parameters {path} are damaged",
    )


def read_versions(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """Returns verb -> versions, device and seed that it ran with.

    Nothing is told of a run that was killed before its first verb began.

    Args:
      run: the directory.

    Raises:
      InputError: the file is damaged.
    """
    return read_by_verb(run.versions)


def read_by_verb(path: Path) -> dict[str, dict[str, Any]]:
    """Reads a file of facts on each verb of a run.

    Args:
      path: of the file.

    Returns:
      verb -> name -> value; empty if there is no file.

    Raises:
      InputError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text())
        return {str(verb): dict(facts) for verb, facts in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged; choose another --run") from None


def installed_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results depend on."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
