"""Interface of an engine: what it is given, what it runs, and what it tells.

A task is text, of which the engine knows nothing. What comes of it lies in a run
directory, which the task itself finds as far as it is. So a task may be run again, on
another worker, after its worker has died, and nothing that is done is done again.
"""

import abc
import contextlib
import dataclasses
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from darts_jax.buckets import is_in_bucket, list_bucket
from darts_jax.errors import InputError, first_line
from darts_jax.files import describe_write_failure
from darts_jax.training.console import print_status

Work = Callable[[str], None]
"""Runs a task by its text, in the process that calls it; raises InputError."""

STOPPED = "stopped"
"""Outcome of an attempt that a signal ended: what it has saved is gone on from."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """Resources that one task has to itself.

    Attributes:
      cpus: number of cores.
      gpus: number of GPUs; on Ray it may be a part of one.
      others: name -> amount, as the cluster counts them, such as ``{"TPU": 4}``.

    Raises:
      InputError: a negative number.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    others: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        amounts = {"cpus": self.cpus, "gpus": self.gpus, **self.others}
        for name, amount in amounts.items():
            if not amount >= 0:
                raise InputError(f"{name} of a program is {amount}; want 0 or more")

    def __str__(self) -> str:
        amounts = {"CPU": self.cpus, "GPU": self.gpus, **self.others}
        return ", ".join(f"{value:g} {name}" for name, value in amounts.items())


@dataclasses.dataclass(frozen=True)
class Task:
    """Work for one process.

    Attributes:
      name: in words; each task of a call has its own.
      text: all that a worker is told.
      directory: that the worker writes, which tells how far it came.
    """

    name: str
    text: str
    directory: Path


class Report(Protocol):
    """Hears of the tasks of a grid, in the process that called the engine."""

    def start(self, *names: str) -> None:
        """Notes that tasks have begun, perhaps again."""

    def note(self, text: str, *names: str) -> None:
        """Notes something about tasks that run, as the machine."""

    def finish(self, *names: str, was_found: bool = False) -> None:
        """Notes that tasks have ended well, perhaps in an earlier call."""

    def fail(self, name: str, reason: str) -> None:
        """Notes that a task has failed, with the reason in one line."""

    def run(self, *names: str) -> contextlib.AbstractContextManager[None]:
        """Notes start and end of tasks that this process runs itself."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """End of a task.

    Attributes:
      error: that ended it; None where it ended well.
      seconds: that its last attempt took.
    """

    error: InputError | None
    seconds: float


class Engine(abc.ABC):
    """Runs tasks. It is entered before, and left when nothing more is to be run.

    Attributes:
      is_here: whether tasks run in this process, one after another.
      setup: Python file that a worker runs first, to register what tasks use.
    """

    is_here = False
    setup = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del error

    @abc.abstractmethod
    def run(
        self, work: Work, tasks: Sequence[Task], report: Report
    ) -> dict[str, Outcome]:
        """Runs all tasks; one that fails does not end the others.

        Args:
          work: runs a task; must be importable where it is called.
          tasks: in the order in which they are best begun.
          report: hears of every start and end.

        Returns:
          The outcome of every task by its name.

        Raises:
          SystemExit: SIGTERM or SIGINT came; what ran was cancelled.
        """


def attempt(work: Work, text: str) -> str:
    """Runs a task on a worker.

    Args:
      work: runs it.
      text: of the task.

    Returns:
      One line that says why it failed; `STOPPED`; or an empty text.
    """
    from darts_jax.training.loop import StoppedError

    try:
        work(text)
    except StoppedError:
        return STOPPED
    except Exception as error:
        told = describe_failure(error)
        if told is None:
            traceback.print_exc()
            told = f"{type(error).__name__}: {first_line(error)}"
        return told
    return ""


def describe_failure(error: Exception) -> str | None:
    """Returns the line that a command prints about an error; None for a fault of ours.

    Args:
      error: any.
    """
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return describe_write_failure("the results", error)


def host_name() -> str:
    """Returns the name of this machine."""
    return socket.gethostname()


class Attempts:
    """Attempts at one task, counted while they come to nothing.

    Args:
      task: that is tried.
      most: number of attempts in a row that may end without a new checkpoint.
    """

    def __init__(self, task: Task, most: int) -> None:
        self.task = task
        self._most = most
        self._saved = list_saved(task.directory)
        self._vain = 0

    def failure(self, reason: str) -> str | None:
        """Returns why a task is given up whose worker has died; None: it is run again.

        Args:
          reason: of the death, in one line.
        """
        saved = list_saved(self.task.directory)
        self._vain = 1 if saved != self._saved else self._vain + 1
        self._saved = saved
        if self._vain < self._most:
            return None
        return (
            f"its worker died {self._vain} times without a new checkpoint; the last "
            f"time: {reason}"
        )


def list_saved(run: Path) -> frozenset[str]:
    """Returns all checkpoints below a directory, as paths in it.

    Args:
      run: a run directory, which may not exist, perhaps with others in it.
    """
    found: set[str] = set()
    places = [run / "checkpoints", run / "validation" / "checkpoints"]
    for place in places:
        for verb in _list_folders(place):
            found |= {f"{place}/{verb}/{s}" for s in _list_folders(place / verb)}
    return frozenset(found)


def _list_folders(place: Path) -> list[str]:
    try:
        if is_in_bucket(place):
            return [entry.name for entry in list_bucket(place) if entry.is_dir()]
        return [path.name for path in place.iterdir() if path.is_dir()]
    except OSError:  # it is not there yet, or no more
        return []


@contextlib.contextmanager
def signals_end() -> Iterator[Callable[[], None]]:
    """Collects SIGTERM and SIGINT; a second one ends the process at once.

    Outside of the main thread, which alone gets signals, it does nothing.

    Yields:
      A function to call now and then: it raises SystemExit if a signal has come. (Ray
      puts an exit of its own in place of what a handler raises within it.)
    """
    caught: list[int] = []

    def take(number: int, frame: object) -> None:
        del frame
        caught.append(number)
        if len(caught) > 1:
            raise SystemExit(128 + number)

    def end_if_told() -> None:
        if caught:
            print_status("stopped: programs are cancelled; the same command goes on")
            raise SystemExit(128 + caught[0])

    if threading.current_thread() is not threading.main_thread():
        yield end_if_told
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, take) for number in numbers]
    try:
        yield end_if_told
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def require_module(name: str, engine: str) -> None:
    """Raises InputError where a library of an engine is not installed.

    Args:
      name: of the library.
      engine: its name, which is that of its extra.
    """
    import importlib.util

    if importlib.util.find_spec(name) is None:
        raise InputError(
            f"engine {engine} needs {name}, which is not installed: pip install "
            f"'darts-jax[{engine}]'"
        )


def read_count(option: str, given: int | str) -> int:
    """Returns an option that is a number from 1 on.

    Args:
      option: its name.
      given: as a number, or as it was typed.

    Raises:
      InputError: it is none.
    """
    if not str(given).isdecimal() or int(given) < 1:
        raise InputError(f"option {option} is {given!r}; want a number from 1 on")
    return int(given)
