"""Lock of a run directory, which names the one process that writes there.

``.lock`` appears in the directory as a whole or not at all, while a verb writes there.
Of several processes that run one program process 0 holds it for all. A holder on this
machine whose process has ended is dead, and the next writer takes its place. Of one
elsewhere, or in another container, nothing is known but the time of its last sign of
life: a holder touches its lock every `BEAT` seconds, and is taken for dead after
`SILENCE`.
"""

import contextlib
import dataclasses
import functools
import inspect
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from darts_jax.errors import InputError
from darts_jax.files import disk_errors, open_place
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.lock_file import LockFile, make_lock_file
from darts_jax.training.peers import last_acts
from darts_jax.training.processes import run_in_process_zero

BEAT = 15.0
SILENCE = 180.0

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class RunHeldError(InputError):
    """Refusal of a run directory that another process writes, or wrote until now."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Process that writes in a directory.

    Attributes:
      host: name of its machine.
      machine: identifies the boot of the system, and the container, that ``pid`` is of.
      pid: number of the process.
      started: its start time, as the system has it: numbers are used again.
      command: program and arguments.
      since: time at which it took the lock.
      token: tells two locks of one process apart.
    """

    host: str
    machine: str
    pid: int
    started: str
    command: str
    since: str
    token: str

    @classmethod
    def here(cls) -> Self:
        """Returns this process, with a new token."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            machine=_machine(),
            pid=pid,
            started=process_start_time(pid) or "",
            command=" ".join([_program(), *sys.argv[1:]])[:200],
            since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
            token=secrets.token_hex(8),
        )

    @property
    def is_here(self) -> bool:
        """True where this process can see the other."""
        ours = (socket.gethostname(), _machine())
        return bool(self.started) and (self.host, self.machine) == ours

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command}) since {self.since}"


@contextlib.contextmanager
def run_lock(run: str | Path) -> Iterator[None]:
    """Holds the lock of a run directory, which is made if absent.

    A thread that holds it may take it again. Of several processes all must call; where
    process 0 is refused, all are.

    Args:
      run: the directory.

    Raises:
      InputError: another writes there, or it cannot be written.
    """
    key = _key(run)
    me = (os.getpid(), threading.get_ident())
    if key in _HELD and _HELD[key][1] == me:
        yield
        return
    lock = run_in_process_zero(lambda: _Lock(open_place(run)), f"to write in {run}")
    _HELD[key] = (lock, me)
    try:
        yield
    finally:
        del _HELD[key]
        if lock is not None:
            lock.release()


def holds_run_lock(
    verb: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Makes a function hold the lock of the run directory that it takes as ``run``.

    Args:
      verb: the function, with an argument ``run``.
    """
    signature = inspect.signature(verb)

    @functools.wraps(verb)
    def locked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        bound = signature.bind(*args, **kwargs)
        with run_lock(bound.arguments["run"]):
            return verb(*args, **kwargs)

    return locked


def write_locked(path: Path, content: str) -> None:
    """Writes a file as `atomic_write`; in a run directory, while no other writes there.

    Args:
      path: of the file.
      content: all of the file.

    Raises:
      InputError: another does, or the file cannot be written.
    """
    path = open_place(path)
    in_run = RunDirectory(path.parent).config.exists()
    with run_lock(path.parent) if in_run else contextlib.nullcontext():
        atomic_write(path, content)


def require_held(run: Path) -> None:
    """Raises an error where this process's lock has been taken from it.

    Another machine takes the lock of a process that has shown no sign of life, as one
    that was suspended.

    Args:
      run: a directory, whether this process holds its lock or has never taken it.

    Raises:
      InputError: another process holds the lock that was this one's.
    """
    lock, _ = _HELD.get(_key(run), (None, None))
    if lock is not None:
        lock.require()


def _key(run: str | Path) -> str:
    return str(open_place(run).resolve())


_HELD: dict[str, tuple["_Lock | None", tuple[int, int]]] = {}
"""Resolved place -> its lock, in process 0, and the process and thread of it."""


class _Lock:
    """Lock of a directory, from the moment it is made until it is released."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = make_lock_file(directory)
        self.holder = Holder.here()
        with disk_errors(f"run directory {directory}"):
            self._made = self.file.make_directory()
        try:
            with disk_errors(f"run directory {directory}"):
                self._take()
        except BaseException:
            self._remove_folders()
            raise
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="run lock", daemon=True).start()
        # Or other machines would have to wait until a process is silent that has ended.
        last_acts.append(self.release)

    def require(self) -> None:
        """Raises InputError unless the lock is still this process's."""
        now = _read(self.file)
        if now != self.holder:
            by = now or "someone who removed its lock"
            raise InputError(f"run directory {self.directory} was taken over by {by}")

    def release(self) -> None:
        """Removes the lock, and the directory if it was made for it and left empty."""
        self._over.set()
        last_acts.remove(self.release)
        self.file.remove(self._content)
        self._remove_folders()

    @property
    def _content(self) -> str:
        return json.dumps(dataclasses.asdict(self.holder), indent=1)

    def _take(self) -> None:
        with self.file.examined_alone():
            while not self.file.create(self._content):
                content = self.file.read()
                writer = _describe_living(self.file, _parse(content))
                if writer:
                    raise RunHeldError(
                        f"run directory {self.directory} is being written by {writer}; "
                        "choose another --run, or wait for its end"
                    )
                self.file.remove(content)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            # Whoever has taken the lock is asked about where something is written.
            with contextlib.suppress(Exception):
                if _read(self.file) == self.holder:
                    self.file.touch()

    def _remove_folders(self) -> None:
        with contextlib.suppress(OSError):  # they are of use, or of someone else
            for folder in self._made:
                folder.rmdir()


def _describe_living(file: LockFile, holder: Holder | None) -> str:
    """Returns the holder in words; an empty text where it is dead."""
    if holder is not None and holder.is_here:
        return str(holder) if process_start_time(holder.pid) == holder.started else ""
    age = file.age()
    if age is None or age > SILENCE:
        return ""
    return (
        f"{holder or 'someone'}, last seen {max(age, 0):.0f} s ago (given up after "
        f"{SILENCE:.0f} s)"
    )


def _read(file: LockFile) -> Holder | None:
    """Returns the holder; None where there is no lock, or it cannot be read."""
    return _parse(file.read())


def _parse(content: str | None) -> Holder | None:
    try:
        return Holder(**json.loads(content or ""))
    except (ValueError, TypeError):
        return None


def process_start_time(pid: int) -> str | None:
    """Returns the start of a process in the system's words; None if there is none.

    Args:
      pid: number of the process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return _start_time_by_ps(pid) if not Path("/proc/self/stat").exists() else None
    # The name may have spaces and brackets, and a zombie is no one's writer.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def _start_time_by_ps(pid: int) -> str | None:
    try:
        done = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True
        )
    except OSError:
        return None  # its time alone can tell
    return done.stdout.strip() or None


def _program() -> str:
    path = Path(sys.argv[0])
    return path.parent.name if path.name == "__main__.py" else path.name


@functools.cache
def _machine() -> str:
    """Returns words that tell this boot of the system, and container, from others."""
    facts: list[Any] = []
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(facts)
