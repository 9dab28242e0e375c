"""Checkpoints that are whole or absent, each sealed by its digests.

``checkpoints/12/`` holds the state after step 12 as Orbax writes it (``state/``, a
flat tree: dotted path -> array), the shape of every leaf (``leaves.json``), and the
SHA-256 of every file (``manifest.json``). Orbax writes and reads the arrays; its
manager would restore a file whose bits have changed, or fail. Here damage is noticed,
and the checkpoint before the damaged one is restored.

One thread writes while the program goes on with its steps. Whoever reads waits for it.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from darts_jax.engine.devices import to_host
from darts_jax.errors import InputError
from darts_jax.files import disk_errors, open_place, sync_to_disk
from darts_jax.training.checkpoint_store import MANIFEST, FolderStore, open_store
from darts_jax.training.orbax_arrays import read_arrays, write_arrays
from darts_jax.training.peers import last_acts
from darts_jax.training.processes import (
    is_writer,
    run_in_process_zero,
    wait_for_all,
)

PyTree = Any

_LEAVES = "leaves.json"
_STATE = "state"

# Seconds that a process which ends because of another one gives the write under way.
_LAST_WRITE = 10.0

_WRITER = ThreadPoolExecutor(1, "checkpoints")
_UNDER_WAY: set[Future[None]] = set()


class Checkpoints:
    """Newest checkpoints of one loop.

    States are pytrees of arrays, restored bit for bit. Random keys must be raw uint32
    (``jax.random.key_data``), as in `types.SearchState`. Of several processes all must
    call, and one writes.

    Args:
      directory: made by the first save if absent.
      keep: number of checkpoints that remain after a save; no matter to a reader.
    """

    def __init__(self, directory: Path, keep: int = 1) -> None:
        self.directory = open_place(directory)
        self.keep = keep
        self._store = open_store(self.directory)
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Waits for the write under way; its failure is raised if nothing else is."""
        _settle()
        if kind is None:
            self.finish_saving()

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints, damaged ones too, oldest first."""
        _settle()
        return _steps(self._store)

    def clean(self) -> None:
        """Removes what a killed process left half-written.

        Only for the process that writes here: another's half-written checkpoint is the
        one that it is writing.
        """
        if is_writer():
            with disk_errors(f"checkpoints in {self.directory}"):
                self._store.clean()
        wait_for_all(f"{self.directory} is clean")

    def save(self, step: int, state: PyTree) -> None:
        """Writes a checkpoint and then removes the oldest. Returns when it is on disk.

        Later checkpoints are removed too: the loop has gone back behind them because
        they were damaged.

        Args:
          step: number of steps done; names the checkpoint.
          state: pytree of arrays.

        Raises:
          InputError: no room on disk; the earlier checkpoints are intact.
        """
        self.start_saving(step, state)
        self.finish_saving()

    def start_saving(
        self, step: int, state: PyTree, confirm: Callable[[], None] = lambda: None
    ) -> None:
        """Copies a state, and writes it as `save` does while the program goes on.

        Waits first for the write before, so that one state at most is held.

        Args:
          step: number of steps done; names the checkpoint.
          state: pytree of arrays; they may be donated when this returns.
          confirm: called by the thread before the checkpoint appears; an error of it
            keeps that from happening.

        Raises:
          InputError: the write before has failed.
        """
        self.finish_saving()
        arrays = {name: np.array(leaf) for name, leaf in named_arrays(state).items()}
        self._written = Future()
        if is_writer():
            self._written = _WRITER.submit(self._write, step, arrays, confirm)
            _keep_track(self._written)
        else:
            self._written.set_result(None)

    def finish_saving(self) -> None:
        """Waits for the write under way, if there is one.

        Raises:
          InputError: it has failed; the earlier checkpoints are intact.
        """
        written, self._written = self._written, None
        if written is not None:
            run_in_process_zero(written.result, f"to write {self.directory}")

    def has_failed(self) -> bool:
        """Returns whether the write under way has failed, which `finish_saving` tells.

        Of several processes, only the one that writes knows.
        """
        written = self._written
        return bool(written and written.done() and written.exception())

    def _write(
        self, step: int, arrays: dict[str, np.ndarray], confirm: Callable[[], None]
    ) -> None:
        def write(place: Path) -> None:
            _write_sealed(place, arrays)
            confirm()

        with disk_errors(f"checkpoint {step} in {self.directory}"):
            self._store.put(str(step), write)
            steps = _steps(self._store)
            earlier = [s for s in steps if s <= step]
            for old in set(steps) - set(earlier[-self.keep :]):
                self._store.remove(str(old))

    def restore_latest(
        self, like: PyTree, notify: Callable[[str], None] = warnings.warn
    ) -> tuple[int, PyTree] | None:
        """Restores the newest checkpoint that is whole.

        Args:
          like: state of the same structure, shapes and dtypes. NumPy leaves are
            restored as NumPy arrays, others onto the devices of the leaf.
          notify: takes a line about each damaged checkpoint that is passed over.

        Returns:
          Its step and state; None without one.

        Raises:
          InputError: the checkpoint is whole, but of another state than ``like``.
        """
        newest = read_newest(self.directory, notify, like)
        if newest is None:
            return None
        step, arrays = newest
        return step, _place(arrays, like)

    def restore(self, step: int, like: PyTree) -> PyTree:
        """Restores the checkpoint of one step.

        Args:
          step: of the checkpoint.
          like: as `restore_latest` takes it.

        Raises:
          InputError: there is none, it is damaged, or of another state.
        """
        if step not in self.steps():
            raise InputError(
                f"no checkpoint of step {step} in {self.directory}; a larger "
                "checkpoint.keep would have kept it"
            )
        try:
            with self._store.on_disk(str(step)) as folder:
                arrays = _read_sealed(folder, step, like)
        except _DamagedError as damage:
            raise InputError(f"checkpoint {step} is damaged ({damage})") from None
        return _place(arrays, like)


def read_newest(
    directory: Path, notify: Callable[[str], None], like: PyTree | None = None
) -> tuple[int, dict[str, np.ndarray]] | None:
    """Reads the newest checkpoint of a folder that is whole, and writes nothing.

    Args:
      directory: of the checkpoints.
      notify: takes a line about each damaged checkpoint that is passed over.
      like: state whose structure, shapes and dtypes the checkpoint must have, if given.

    Returns:
      Its step, and dotted path -> array; None without one.

    Raises:
      InputError: the checkpoint is whole, but of another state than ``like``.
    """
    _settle()
    store = open_store(directory)
    damaged: dict[int, str] = {}
    newest = None
    for step in reversed(_steps(store)):
        try:
            with store.on_disk(str(step)) as folder:
                newest = (step, _read_sealed(folder, step, like))
        except _DamagedError as damage:
            damaged[step] = str(damage)
        else:
            break
    going_on = f"going on from {newest[0]}" if newest else "no earlier one is whole"
    for step, fault in damaged.items():
        notify(f"checkpoint {step} is damaged ({fault}); {going_on}")
    return newest


def named_arrays(state: PyTree) -> dict[str, np.ndarray]:
    """Returns the leaves of a state on the host, as a checkpoint names them.

    Args:
      state: pytree of arrays.
    """
    return dict(_named_leaves(to_host(state)))


def signature(leaf: Any) -> str:
    """Returns the dtype and the shape of an array, as "float32[9, 70]".

    Args:
      leaf: array, or a shape.
    """
    return f"{leaf.dtype}{list(leaf.shape)}"


class _DamagedError(Exception):
    """Damage of a checkpoint, named in few words."""


def _settle() -> None:
    """Waits for the writes under way, whether they fail or not."""
    wait([*_UNDER_WAY])


def _keep_track(written: Future[None]) -> None:
    """Lets readers wait for a write, and the end of a process because of another."""

    def wait_at_the_end() -> None:
        wait([written], _LAST_WRITE)

    def forget(_: Future[None]) -> None:
        last_acts.remove(wait_at_the_end)
        _UNDER_WAY.discard(written)

    last_acts.append(wait_at_the_end)
    _UNDER_WAY.add(written)
    written.add_done_callback(forget)


def _write_sealed(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a checkpoint into a new folder, on disk when this returns."""
    folder.mkdir()
    write_arrays(folder / _STATE, arrays)
    leaves = {name: signature(array) for name, array in arrays.items()}
    (folder / _LEAVES).write_text(json.dumps(leaves, indent=1))
    (folder / MANIFEST).write_text(json.dumps(_digests(folder), indent=1))
    for path in (folder, *folder.rglob("*")):
        sync_to_disk(path)


def _steps(store: FolderStore) -> list[int]:
    return sorted(int(name) for name in store.names() if name.isdecimal())


def _read_sealed(folder: Path, step: int, like: PyTree | None) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint, after every check."""
    try:
        manifest = dict(json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError):
        raise _DamagedError(f"{MANIFEST} is missing or unreadable") from None
    try:
        digests = _digests(folder)
    except OSError as error:
        raise _DamagedError(f"cannot be read: {error.strerror}") from None
    if manifest != digests:
        names = sorted(digests.keys() | manifest.keys())
        bad = next(n for n in names if manifest.get(n) != digests.get(n))
        state = "has changed" if bad in digests else "is missing"
        raise _DamagedError(f"{bad} {state}")
    stored = json.loads((folder / _LEAVES).read_text())
    if like is not None:
        _require_same(step, stored, {n: signature(x) for n, x in _named_leaves(like)})
    return read_arrays(folder / _STATE)


def _digests(folder: Path) -> dict[str, str]:
    """Returns file -> SHA-256, of every file but the manifest."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


def _require_same(step: int, stored: dict[str, str], wanted: dict[str, str]) -> None:
    """Refuses signatures by name that differ from those of this run."""
    for name in sorted(stored.keys() | wanted.keys()):
        old = stored.get(name, "absent")
        new = wanted.get(name, "absent")
        if old != new:
            raise InputError(
                f"checkpoint {step} does not fit this run: {name} is {old} there and "
                f"{new} here; choose another --run, or the old settings"
            )


def _place(arrays: dict[str, np.ndarray], like: PyTree) -> PyTree:
    """Returns a state of arrays by name, each where the leaf of its name lies."""

    def place(leaf: Any, array: np.ndarray) -> Any:
        if isinstance(leaf, np.ndarray):
            return array
        if isinstance(leaf, jax.Array) and leaf.committed:
            # On as many devices as there are now, whatever wrote it.
            return jax.make_array_from_callback(
                array.shape, leaf.sharding, lambda index: array[index].copy()
            )
        # A copy, as the loop donates its state and NumPy owns this memory.
        return jnp.array(array)

    leaves = [place(leaf, arrays[name]) for name, leaf in _named_leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _named_leaves(tree: PyTree) -> list[tuple[str, Any]]:
    """Returns (dotted path, leaf) of every leaf."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [
        (jax.tree_util.keystr(path, simple=True, separator="."), leaf)
        for path, leaf in paths
    ]
