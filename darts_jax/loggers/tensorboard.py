"""Event files, as TensorBoard reads them.

tensorboardX's own writer has a thread, a queue and an exit handler, each of which
prints a traceback of its own where the disk is full. Its messages are written here at
once, so that a failure to write reaches the caller alone.
"""

import functools
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darts_jax.files import append_to_file
from darts_jax.loggers.logger import LoggedRun, Logger

_FORMAT = "brain.Event:2"


class TensorBoardLogger(Logger):
    """Writer of ``events/VERB`` in the run directory.

    Steps behind the checkpoint that a run goes on from are taken back.
    """

    by_member = False

    def __init__(self, run: LoggedRun) -> None:
        purge_step = None if run.done is None else run.done + 1
        self._events = EventFile(run.directory / "events" / run.verb, purge_step)
        self.last_step = run.done or 0

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        self._events.write(step, scalars)


class EventFile:
    """File of events, begun with its first record.

    Args:
      directory: where TensorBoard looks; made if absent.
      purge_step: events of earlier files from this step on are forgotten.
    """

    def __init__(self, directory: Path, purge_step: int | None = None) -> None:
        self._directory = directory
        self._purge_step = purge_step

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends a step's scalars; on disk when this returns.

        Args:
          step: number of steps done.
          scalars: name -> number.

        Raises:
          InputError: no room on disk, or no right to write.
        """
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        now = time.time()
        events = [] if self._path.exists() else self._header(now)
        events += [
            Event(wall_time=now, step=step, summary=scalar(name, value))
            for name, value in scalars.items()
        ]
        append_to_file(
            self._path, b"".join(_frame(e.SerializeToString()) for e in events)
        )

    @functools.cached_property
    def _path(self) -> Path:
        # Seconds and the host, as TensorBoard's own files; nanoseconds tell files of
        # one second apart.
        now = time.time_ns()
        name = f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{now}"
        return self._directory / name

    def _header(self, now: float) -> list[Any]:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        first = [Event(wall_time=now, file_version=_FORMAT)]
        if self._purge_step is not None:
            begins = SessionLog(status=SessionLog.START)
            first += [
                Event(wall_time=now, step=self._purge_step, file_version=_FORMAT),
                Event(wall_time=now, step=self._purge_step, session_log=begins),
            ]
        return first


def _frame(message: bytes) -> bytes:
    """Returns a record of the file: length, its checksum, the message, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(message))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, message)]
    return length + sums[0] + message + sums[1]
