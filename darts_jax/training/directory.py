"""The directory of a run: where everything lies, and whose it is.

A directory belongs to the settings that its verbs have used, and to the data that it
began with, wherever these lie now. Opening it with others fails before anything in it
is touched, unless the settings are the same but for more epochs and the run can go on
(`extension`).
"""

import dataclasses
import errno
import importlib.metadata
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.data.identity import Identity, identify, read_identity
from darts_jax.errors import InputError
from darts_jax.files import disk_errors, local_path, read_npz, write_atomically
from darts_jax.settings.config import config_difference, config_to_json
from darts_jax.settings.config_files import load_config
from darts_jax.training.extension import extendable_verbs
from darts_jax.training.processes import is_writer, run_in_process_zero

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "darts-jax")

# Of the settings, those that say what is learned from what.
_DATA = ("seed", "task", "space", "data", "language", "detection")
# What a verb's results depend on; a verb that is not listed depends on everything.
# Settings in no used section, as those of checkpoints, may change between calls.
_SECTIONS = {
    "search": (*_DATA, "supernet", "search"),
    "population": (*_DATA, "supernet", "search"),
    "baseline": (*_DATA, "search", "retrain", "benchmark"),
    "retrain": (*_DATA, "retrain", "baseline"),
}
# Where data lie, which may change while the data are the same.
_PLACES = ("data.name", "data.directory", "data.images")


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Names of what a run writes; raises InputError for a place that is not local."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", local_path(self.path))

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.json"

    @property
    def versions(self) -> Path:
        """What each verb ran on: verb -> versions, device and seed."""
        return self.path / "versions.json"

    @property
    def data(self) -> Path:
        """What the run remembers of its data; runs of earlier versions lack it."""
        return self.path / "data.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def architecture(self) -> Path:
        """The directory of the architecture parameters, one file an epoch."""
        return self.path / "architecture"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def costs(self) -> Path:
        """What every choice costs, of a search with a budget."""
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
        """Results by class of the retrained network on the test data."""
        return self.path / "evaluation.json"

    @property
    def start(self) -> Path:
        """The run whose parameters this one started from, if any."""
        return self.path / "start.json"

    @property
    def events(self) -> Path:
        """The directory that TensorBoard reads."""
        return self.path / "events"

    def architecture_at(self, epoch: int) -> Path:
        """The architecture parameters after an epoch."""
        return self.architecture / f"epoch_{epoch:04d}.npz"


def open_run(
    path: str | Path, config: ConfigDict, verb: str, dataset: Any = None
) -> RunDirectory:
    """Creates the directory of a run, or opens it to go on.

    Args:
      dataset: what is learned from, which the run remembers; None where nothing is.

    Raises:
      InputError: it holds a run with other settings or other data, something that is
        no run, or it cannot be written. Nothing in it has been touched then.
    """
    run = RunDirectory(Path(path))
    run_in_process_zero(
        lambda: _open(run, config, verb, dataset), f"to open {run.path}"
    )
    return run


def _open(run: RunDirectory, config: ConfigDict, verb: str, dataset: Any) -> None:
    data = identify(dataset)
    with disk_errors(f"run directory {run.path}"):
        if run.config.exists():
            _reopen(run, config, verb, data)
        else:
            _create(run, config, verb, data)


def load_settings(run: RunDirectory, overrides: Sequence[str] = ()) -> ConfigDict:
    """Returns the settings of a run, with single ones changed.

    Raises:
      InputError: it is no run, or a setting is wrong.
    """
    if not run.config.exists():
        raise InputError(f"no run in {run.path}: it has no {run.config.name}")
    return load_config(run.config, overrides)


def require_same_data(run: RunDirectory, dataset: Any) -> None:
    """Refuses other data than those that the run began with, if it remembers them.

    Raises:
      InputError: one line that says what differs.
    """
    known = read_identity(run.data)
    if known is not None and (here := identify(dataset)) is not None:
        _refuse_other(run, known, here)


def list_verbs(run: RunDirectory) -> list[str]:
    """What has been done in a run directory, such as "search".

    Raises:
      InputError: it is no run directory.
    """
    if not run.config.exists():
        raise InputError(f"no run in {run.path}: it has no {run.config.name}")
    return list(read_versions(run))


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old or the new, no mixture.

    Of several processes one writes; the others do nothing.

    Raises:
      InputError: no room on disk, or no right to write; the old file is intact.
    """
    if not is_writer():
        return
    write_atomically(path, content.encode() if isinstance(content, str) else content)


def save_architecture(
    run: RunDirectory, epoch: int, alpha: Mapping[str, np.ndarray]
) -> None:
    """Writes the architecture parameters after an epoch: kind of cell -> array."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {kind: np.asarray(value) for kind, value in alpha.items()}
    np.savez(buffer, **arrays)
    with disk_errors(str(run.architecture)):
        run.architecture.mkdir(exist_ok=True)  # by whichever process comes first
    atomic_write(run.architecture_at(epoch), buffer.getvalue())


def load_architecture(path: Path) -> dict[str, np.ndarray]:
    """Reads what `save_architecture` wrote; raises InputError if it is damaged."""
    return read_npz(
        path,
        f"no architecture parameters at {path}",
        f"architecture parameters {path} are damaged",
    )


def read_versions(run: RunDirectory) -> dict[str, Any]:
    """What each verb ran on: verb -> facts; raises InputError if that is damaged."""
    try:
        return dict(json.loads(run.versions.read_text()))
    except FileNotFoundError:  # killed before it was written: no verb has begun
        return {}
    except (ValueError, TypeError):
        raise InputError(f"{run.versions} is damaged; choose another --run") from None


def installed_versions() -> dict[str, str]:
    """Of Python and of the packages that results depend on."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _refuse_other(run: RunDirectory, known: Identity, here: Identity) -> None:
    differences = known.differences(here)
    if differences:
        raise InputError(
            f"run directory {run.path} holds a run on other data "
            f"({'; '.join(differences)}); choose another --run, or the old data"
        )


def _create(
    run: RunDirectory, config: ConfigDict, verb: str, data: Identity | None
) -> None:
    # Hidden files are no one's work, but a folder view's or a killed atomic_write's.
    if run.path.exists() and any(
        not p.name.startswith(".") for p in run.path.iterdir()
    ):
        raise InputError(
            f"directory {run.path} is not empty and holds no run (no config.json); "
            "choose another --run"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    atomic_write(run.config, config_to_json(config))
    if data is not None:
        atomic_write(run.data, data.to_json())
    _record_versions(run, {}, config, verb)


def _reopen(
    run: RunDirectory, config: ConfigDict, verb: str, data: Identity | None
) -> None:
    old = load_config(run.config)
    differences = config_difference(old, config)
    versions = read_versions(run)
    known = read_identity(run.data)
    free: tuple[str, ...] = ()
    if known is not None and data is not None:
        _refuse_other(run, known, data)
        free = _PLACES
    everything = tuple(config)
    used = {s for name in versions for s in _SECTIONS.get(name, everything)}
    binding = [
        line
        for line in differences
        for key in [line.partition(":")[0]]
        if key.split(".")[0] in used and key not in free
    ]
    keys = [line.partition(":")[0] for line in binding]
    longer = extendable_verbs(run.path, old, config, keys, versions) if binding else []
    if binding and not longer:
        raise InputError(
            f"run directory {run.path} holds another config ({', '.join(binding)}); "
            "choose another --run, or the old settings"
        )
    if not os.access(run.path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    # Before the settings: a run that is killed in between has its old end again.
    for name in longer:
        _forget_end(run, name)
    if differences:
        atomic_write(run.config, config_to_json(config))
    if verb not in versions:
        # A verb that began without this file may have begun on other data.
        if known is None and data is not None:
            atomic_write(run.data, data.to_json())
        _record_versions(run, versions, config, verb)


def _forget_end(run: RunDirectory, verb: str) -> None:
    """Removes what tells that a verb has ended, and what it found by then."""
    drawings = [run.genotype.with_suffix(suffix) for suffix in (".png", ".svg")]
    ends = {
        "search": [*drawings, run.genotype],
        "retrain": [run.summary_json, run.summary_text, run.evaluation],
    }
    for path in ends[verb]:
        path.unlink(missing_ok=True)


def _record_versions(
    run: RunDirectory, before: Mapping[str, Any], config: ConfigDict, verb: str
) -> None:
    import jax

    from darts_jax import kernels

    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    facts = {
        **installed_versions(),
        "platform": platform.platform(),
        "backend": device.platform,
        "device": device.device_kind,
        **({"kernels": kernels.describe_kernels()} if on_cpu else {}),
        "seed": config.seed,
    }
    text = json.dumps({**before, verb: facts}, indent=1, sort_keys=True)
    atomic_write(run.versions, text + "\n")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
