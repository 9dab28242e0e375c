"""Records of a run: one JSON line each, and their numbers for loggers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from darts_jax.errors import InputError
from darts_jax.files import append_to_file
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.processes import is_writer
from darts_jax.training.run_loggers import RunLoggers


class MetricsLog:
    """Appends the records of one verb.

    Verbs share ``metrics.jsonl``, so every record names its own. As a context, it ends
    what loggers write where an exception ends the run; otherwise `finish_logs` does.

    Args:
      run: where ``metrics.jsonl`` lies.
      verb: "search", "retrain", ...; the key "verb" of every record.
    """

    def __init__(self, run: RunDirectory, verb: str) -> None:
        self._run = run
        self._verb = verb
        self._loggers = RunLoggers(run, verb)
        if is_writer():
            _drop_torn_line(run.metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            _left_open[str(self._run.path), self._verb] = self._loggers
        else:
            self._loggers.close(is_finished=False)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Appends one record; on disk when this returns.

        Args:
          step: number of steps done.
          record: name -> number, text or list; loggers are given the numbers.

        Raises:
          InputError: no room on disk.
        """
        if not is_writer():
            return
        line = json.dumps({"verb": self._verb, "step": step, **record}) + "\n"
        append_to_file(self._run.metrics, line.encode())
        self._loggers.write(step, record)

    def truncate_after(self, step: int) -> None:
        """Removes this verb's records after a step, from which the run goes on.

        Args:
          step: number of steps done.
        """
        if not is_writer():
            return
        path = self._run.metrics
        kept = [
            record
            for record in read_metrics(path)
            if record.get("verb") != self._verb or record.get("step", step) <= step
        ]
        if path.exists():
            atomic_write(path, "".join(json.dumps(r) + "\n" for r in kept))
        own = [record for record in kept if record.get("verb") == self._verb]
        self._loggers = RunLoggers(self._run, self._verb, step, own)


# A service begins anew only slowly: what a verb's end adds is written by the same.
_left_open: dict[tuple[str, str], RunLoggers] = {}


def finish_logs(
    run: RunDirectory, verbs: Sequence[str], files: Sequence[Sequence[Path]] = ()
) -> None:
    """Gives loggers what belongs to finished verbs, and closes them.

    A service that failed before, or is named for the first time, is given all records.

    Args:
      run: the directory.
      verbs: that have ended.
      files: of the last of them: those of each member, or of the one run that there
        is.
    """
    if not is_writer():
        return
    every = read_metrics(run.metrics)
    read = [{path.name: path.read_bytes() for path in own} for own in files]
    for verb in verbs:
        loggers = _left_open.pop((str(run.path), verb), None)
        if loggers is None:
            records = [record for record in every if record["verb"] == verb]
            done = max((record["step"] for record in records), default=None)
            loggers = RunLoggers(run, verb, done, records)
        loggers.attach(read if verb == verbs[-1] else ())
        loggers.close(is_finished=True)


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
