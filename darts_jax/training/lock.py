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
from darts_jax.files import disk_errors, local_path
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.processes import run_in_process_zero

NAME = ".lock"
BEAT = 15.0
SILENCE = 180.0

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


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
    lock = run_in_process_zero(lambda: _Lock(local_path(run)), f"to write in {run}")
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


def _key(run: str | Path) -> Path:
    return local_path(run).resolve()


_HELD: dict[Path, tuple["_Lock | None", tuple[int, int]]] = {}
"""Resolved directory -> its lock, in process 0, and the process and thread of it."""


class _Lock:
    """Lock of a directory, from the moment it is made until it is released."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / NAME
        self.holder = Holder.here()
        self._made = _make_folders(directory)
        try:
            with disk_errors(f"run directory {directory}"):
                self._take()
        except BaseException:
            self._remove_folders()
            raise
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="run lock", daemon=True).start()

    def require(self) -> None:
        """Raises InputError unless the lock is still this process's."""
        now = _read(self.file)
        if now != self.holder:
            by = now or "someone who removed its lock"
            raise InputError(f"run directory {self.directory} was taken over by {by}")

    def release(self) -> None:
        """Removes the lock, and the directory if it was made for it and left empty."""
        self._over.set()
        if _read(self.file) == self.holder:
            self.file.unlink(missing_ok=True)
        self._remove_folders()

    def _take(self) -> None:
        with _examined_alone(self.directory):
            while not self._create():
                holder = _read(self.file)
                writer = _describe_living(self.file, holder)
                if writer:
                    raise InputError(
                        f"run directory {self.directory} is being written by {writer}; "
                        "choose another --run, or wait for its end"
                    )
                _put_aside(self.file, holder)

    def _create(self) -> bool:
        """Makes the file, whole, where there is none; returns whether it did."""
        aside = self.directory / f"{NAME}-{self.holder.token}"
        try:
            aside.write_text(json.dumps(dataclasses.asdict(self.holder), indent=1))
            os.link(aside, self.file)
        except FileExistsError:
            return False
        finally:
            aside.unlink(missing_ok=True)
        return True

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            # Whoever has taken the lock is asked about where something is written.
            with contextlib.suppress(OSError):
                if _read(self.file) == self.holder:
                    os.utime(self.file)

    def _remove_folders(self) -> None:
        with contextlib.suppress(OSError):  # they are of use, or of someone else
            for folder in self._made:
                folder.rmdir()


def _describe_living(file: Path, holder: Holder | None) -> str:
    """Returns the holder in words; an empty text where it is dead."""
    if holder is not None and holder.is_here:
        return str(holder) if process_start_time(holder.pid) == holder.started else ""
    age = _age(file)
    if age is None or age > SILENCE:
        return ""
    return (
        f"{holder or 'someone'}, last seen {max(age, 0):.0f} s ago (given up after "
        f"{SILENCE:.0f} s)"
    )


def _age(file: Path) -> float | None:
    """Returns seconds since the last sign of life, by the clock of the file's disk."""
    probe = file.with_name(f"{NAME}-{secrets.token_hex(8)}")
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except FileNotFoundError:
        return None
    finally:
        probe.unlink(missing_ok=True)


def _put_aside(file: Path, dead: Holder | None) -> None:
    """Removes a dead holder's lock, and no other's that has come meanwhile."""
    aside = file.with_name(f"{NAME}-{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        file.rename(aside)
        if _read(aside) != dead:
            with contextlib.suppress(FileExistsError):
                os.link(aside, file)
        aside.unlink()


@contextlib.contextmanager
def _examined_alone(directory: Path) -> Iterator[None]:
    """Lets one process of this machine at a time look at a lock and take it over."""
    with contextlib.ExitStack() as stack:
        # Some file systems and systems lack this; what remains is a narrow race.
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            descriptor = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _read(file: Path) -> Holder | None:
    """Returns the holder; None where there is no lock, or it cannot be read."""
    try:
        return Holder(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _make_folders(directory: Path) -> list[Path]:
    """Makes a folder and those above it; returns the new ones, innermost first."""
    made: list[Path] = []
    with disk_errors(f"run directory {directory}"):
        missing = [p for p in (directory, *directory.parents) if not p.exists()]
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                made.insert(0, folder)
    return made


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
