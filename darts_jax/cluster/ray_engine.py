"""Engine of a Ray cluster: a task of Ray for each task, on any node that has room."""

import dataclasses
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from darts_jax.cluster.engine import (
    STOPPED,
    Attempts,
    Engine,
    Outcome,
    Report,
    Resources,
    Task,
    Work,
    attempt,
    host_name,
    read_count,
    require_module,
    signals_end,
)
from darts_jax.errors import InputError, first_line
from darts_jax.training.console import print_status
from darts_jax.training.lock import process_start_time

_POLL = 1.0  # seconds
_GRACE = 60.0  # seconds in which cancelled tasks save their state


class RayEngine(Engine):
    """Runs tasks on a Ray cluster, each in a process of its own.

    A task whose worker or node has died runs again where there is room, and goes on
    from its last checkpoint. Nodes may join at any time.

    Args:
      resources: of a task.
      address: of the cluster, as ``auto`` on one of its nodes, or ``HOST:6379``; empty:
        the one that ``RAY_ADDRESS`` names, or a new one on this machine.
      setup: Python file that a worker runs first.
      attempts: after so many deaths of workers in a row without a new checkpoint a task
        has failed.

    Raises:
      InputError: Ray is not installed, or an option is no number.
    """

    def __init__(
        self,
        resources: Resources | None = None,
        address: str = "",
        setup: str | Path = "",
        attempts: int | str = 5,
    ) -> None:
        require_module("ray", "ray")
        if address.startswith("ray://"):
            raise InputError(
                f"--address {address} is of Ray's client, which loses its tasks with "
                "its connection; want HOST:6379 of a cluster that this machine is in, "
                "or hand the command to it: ray job submit -- darts-jax ..."
            )
        self.resources = resources or Resources()
        self.address = address
        self.setup = str(setup)
        self.attempts = read_count("attempts", attempts)
        self._was_connected = False

    def __enter__(self) -> Self:
        import ray

        self._was_connected = ray.is_initialized()
        if self._was_connected:
            return self
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Without an address Ray looks for the last cluster here, even a dead one.
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        try:
            _connect(address)
        except Exception as error:  # Ray has many kinds, and plain ones
            told = first_line(error)
            raise InputError(f"no Ray cluster at {address}: {told}") from None
        return self

    def __exit__(self, *error: object) -> None:
        import ray

        del error
        if not self._was_connected:
            ray.shutdown()

    def run(
        self, work: Work, tasks: Sequence[Task], report: Report
    ) -> dict[str, Outcome]:
        """Runs all tasks; see `Engine.run`."""
        import ray

        self._tell_whether_there_is_room()
        grid = _Grid(self._make_remote(work), report)
        with signals_end() as end_if_told:
            try:
                for task in tasks:
                    grid.begin(Attempts(task, self.attempts))
                while grid.live:
                    end_if_told()
                    ready, _ = ray.wait([*grid.live], timeout=_POLL, fetch_local=False)
                    for stream in ready:
                        self._hear(stream, grid)
            except BaseException:
                _cancel(grid.live)
                raise
        return grid.outcomes

    def _make_remote(self, work: Work) -> Callable[[str], Any]:
        """Returns what begins an attempt at a task, of which it is given the text."""
        import ray

        # A process of its own for each: it gives back all memory of its device.
        remote: Any = ray.remote(
            num_cpus=self.resources.cpus,
            num_gpus=self.resources.gpus,
            resources=dict(self.resources.others),
            num_returns="streaming",
            max_calls=1,
            max_retries=0,
        )(_tell_attempt)
        shared = ray.put(work)
        return lambda text: remote.remote(shared, text)

    def _hear(self, stream: Any, grid: "_Grid") -> None:
        """Takes what one attempt has told: where it runs, how it ended, or nothing."""
        import ray

        lost = "it was stopped by a signal"
        try:
            kind, told = ray.get(next(stream))
        except StopIteration:
            kind, told, lost = "end", STOPPED, "it ended without a word"
        except ray.exceptions.RayError as error:
            kind, told, lost = "end", STOPPED, _describe_death(error)
        running = grid.live[stream]
        if not running.began:
            running.began = time.monotonic()
            grid.report.start(running.name)
        if kind == "worker":
            running.worker = told
            grid.report.note(f"on {told.host}", running.name)
            return
        del grid.live[stream]
        failure = told
        if told == STOPPED:
            given_up = running.attempts.failure(lost)
            if given_up is None:
                grid.report.note(f"{lost}: it waits for a worker", running.name)
                grid.begin(running.attempts)
                return
            failure = given_up
        grid.end(running, failure)

    def _tell_whether_there_is_room(self) -> None:
        """Prints a line where no node is large enough; one may join."""
        import ray

        wanted = {"CPU": self.resources.cpus, "GPU": self.resources.gpus}
        wanted |= self.resources.others
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(
            all(node.get(name, 0) >= amount for name, amount in wanted.items())
            for node in nodes
        ):
            print_status(
                f"no node of the Ray cluster has {self.resources} for a program: "
                "waiting for one to join"
            )


@dataclasses.dataclass
class _Running:
    """Attempt that Ray has.

    Attributes:
      attempts: at the same task.
      began: time at which a worker took it; 0 before.
      worker: that has it, once it has told.
    """

    attempts: Attempts
    began: float = 0.0
    worker: "_Worker | None" = None

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.attempts.task.name


@dataclasses.dataclass
class _Grid:
    """Tasks of one call, those that Ray has and those that have ended.

    Attributes:
      start: begins an attempt at the task of a text; returns what the attempt tells.
      report: hears of every end.
      live: what an attempt tells -> the attempt.
      outcomes: of tasks that have ended, by name.
    """

    start: Callable[[str], Any]
    report: Report
    live: dict[Any, _Running] = dataclasses.field(default_factory=dict)
    outcomes: dict[str, Outcome] = dataclasses.field(default_factory=dict)

    def begin(self, attempts: Attempts) -> None:
        """Hands a task to Ray, which begins it where there is room."""
        self.live[self.start(attempts.task.text)] = _Running(attempts)

    def end(self, running: _Running, failure: str) -> None:
        """Notes the end of a task; an empty failure is a good one."""
        error = InputError(failure) if failure else None
        if failure:
            self.report.fail(running.name, failure)
        else:
            self.report.finish(running.name)
        seconds = time.monotonic() - running.began
        self.outcomes[running.name] = Outcome(error, seconds)


@dataclasses.dataclass(frozen=True)
class _Worker:
    """Process that has a task: its machine's name, Ray's name of that, its number."""

    host: str
    node: str
    pid: int


def _tell_attempt(work: Work, text: str) -> Iterator[tuple[str, Any]]:
    """Runs a task on a worker; yields the worker, then `attempt`'s line."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    yield "worker", _Worker(host_name(), node, os.getpid())
    yield "end", attempt(work, text)


def _connect(address: str, tries: int = 3) -> None:
    """Connects to a cluster, or starts one; a busy machine is given another try."""
    import ray

    for left in reversed(range(tries)):
        try:
            with warnings.catch_warnings():
                # JAX warns of every fork; what Ray forks begins another program.
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called")
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    include_dashboard=False if address == "local" else None,
                )
        # Ray gives a node of its own 30 s to start, and has no setting for that.
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
        else:
            return


def _describe_death(error: Exception) -> str:
    import ray

    kinds = {
        ray.exceptions.NodeDiedError: "its node died",
        ray.exceptions.OutOfMemoryError: "the node was out of memory",
        ray.exceptions.WorkerCrashedError: "its process died",
    }
    for kind, words in kinds.items():
        if isinstance(error, kind):
            return words
    return f"{type(error).__name__}: {first_line(error)}"


def _cancel(live: Mapping[Any, _Running]) -> None:
    """Has tasks save their state, and waits until their processes have ended.

    Ray itself takes a task for ended once it is told to end.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    for stream in live:
        ray.cancel(stream)
    look: Any = ray.remote(num_cpus=0, max_retries=0)(_wait_for_end)
    workers = [running.worker for running in live.values() if running.worker]
    ends = [
        look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(one.node, soft=False)
        ).remote(one.pid)
        for one in workers
    ]
    if ends:
        ray.wait(ends, num_returns=len(ends), timeout=2 * _GRACE)


def _wait_for_end(pid: int) -> None:
    end = time.monotonic() + _GRACE
    while process_start_time(pid) is not None and time.monotonic() < end:
        time.sleep(_POLL / 4)
