"""Records of a run: one JSON line each, and their numbers for TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darts_jax.errors import InputError
from darts_jax.files import append_to_file
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.processes import is_writer
from darts_jax.training.tensorboard import EventFile


class MetricsLog:
    """Appends the records of one verb.

    Verbs share ``metrics.jsonl``, so every record names its own.

    Args:
      run: where ``metrics.jsonl`` and ``events/<verb>/`` lie.
      verb: "search", "retrain", ...; the key "verb" of every record.
    """

    def __init__(self, run: RunDirectory, verb: str) -> None:
        self._path = run.metrics
        self._folder = run.events / verb
        self._verb = verb
        self._events = EventFile(self._folder)
        if is_writer():
            _drop_torn_line(self._path)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Appends one record; on disk when this returns.

        Args:
          step: number of steps done.
          record: name -> number, text or list; numbers become TensorBoard scalars.

        Raises:
          InputError: no room on disk.
        """
        if not is_writer():
            return
        line = json.dumps({"verb": self._verb, "step": step, **record}) + "\n"
        append_to_file(self._path, line.encode())
        scalars = {
            name: value
            for name, value in record.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        self._events.write(step, scalars)

    def truncate_after(self, step: int) -> None:
        """Removes this verb's records after a step, from which the run goes on.

        Args:
          step: number of steps done.
        """
        if not is_writer():
            return
        kept = [
            record
            for record in read_metrics(self._path)
            if record.get("verb") != self._verb or record.get("step", step) <= step
        ]
        if self._path.exists():
            atomic_write(self._path, "".join(json.dumps(r) + "\n" for r in kept))
        self._events = EventFile(self._folder, purge_step=step + 1)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads every record, oldest first; a last line torn by a crash is left out.

    Args:
      path: of ``metrics.jsonl``.

    Raises:
      InputError: a line before the last is no record.
    """
    if not path.exists():
        return []
    *lines, torn = path.read_text(errors="replace").split("\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InputError(f"line {number} of {path} is not a JSON record")
        records.append(record)
    del torn  # every record ends its line, so what follows the last end is torn
    return records


def _drop_torn_line(path: Path) -> None:
    """Removes a last line without an end, which the next record would continue."""
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n"):
        atomic_write(path, data[: data.rfind(b"\n") + 1])
