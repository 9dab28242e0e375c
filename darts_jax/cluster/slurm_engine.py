"""Engine of SLURM: one array of jobs for all tasks, submitted by submitit."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    read_count,
    require_module,
    signals_end,
)
from darts_jax.errors import InputError, first_line

EXECUTORS = ("slurm", "local", "debug")
"""Executors of submitit: SLURM's queue, processes of this machine, this process."""

_MINUTES = 24 * 60
_POLL = 1.0  # seconds; submitit itself asks the queue more rarely
_RUNS = ("RUNNING", "COMPLETING")


class SlurmEngine(Engine):
    """Runs tasks as an array of jobs in the queue of SLURM.

    A job that is preempted or runs out of its time goes back into the queue, and goes
    on from its last checkpoint. One whose node has died is submitted again.

    Args:
      resources: of a task.
      folder: on a disk that all nodes share, where submitit keeps its files and logs.
      executor: of `EXECUTORS`.
      setup: Python file that a worker runs first.
      attempts: after so many deaths of workers in a row without a new checkpoint a task
        has failed.
      **parameters: of sbatch as submitit names them: ``partition``, ``account``,
        ``time`` in minutes (a day by default), ``mem``, ``gres``,
        ``array_parallelism`` and so on.

    Raises:
      InputError: submitit or SLURM is not installed, or there is no such option.
    """

    def __init__(
        self,
        resources: Resources | None = None,
        folder: str | Path = "slurm",
        executor: str = "slurm",
        setup: str | Path = "",
        attempts: int | str = 5,
        **parameters: Any,
    ) -> None:
        require_module("submitit", "slurm")
        if executor not in EXECUTORS:
            raise InputError(
                f"option executor is {executor!r}; want one of {', '.join(EXECUTORS)}"
            )
        self.resources = resources or Resources()
        if self.resources.others:
            name = next(iter(self.resources.others))
            raise InputError(f"SLURM gives {name} by --option gres={name}:NUMBER")
        self.setup = str(setup)
        self.attempts = read_count("attempts", attempts)
        self._executor = _make_executor(
            Path(folder), executor, self.resources, parameters
        )

    def run(
        self, work: Work, tasks: Sequence[Task], report: Report
    ) -> dict[str, Outcome]:
        """Runs all tasks; see `Engine.run`."""
        jobs = self.submit(work, tasks)
        live = [
            _Running(Attempts(task, self.attempts), job)
            for task, job in zip(tasks, jobs, strict=True)
        ]
        outcomes: dict[str, Outcome] = {}
        with signals_end() as end_if_told:
            try:
                while live:
                    end_if_told()
                    for running in list(live):
                        running.hear(report)
                        if not running.job.done():
                            continue
                        told = running.end()
                        if told is None:
                            report.note("it waits for a worker", running.name)
                            (job,) = self.submit(work, [running.attempts.task])
                            live[live.index(running)] = _Running(running.attempts, job)
                            continue
                        live.remove(running)
                        _tell_end(running.name, told, report)
                        outcomes[running.name] = told
                    time.sleep(_POLL if live else 0)
            except BaseException:
                for running in live:
                    running.job.cancel(check=False)
                raise
        return outcomes

    def submit(self, work: Work, tasks: Sequence[Task]) -> list[Any]:
        """Submits tasks as one array.

        Args:
          work: runs a task.
          tasks: of the array, in order.

        Returns:
          The job of each, of submitit.
        """
        texts = [task.text for task in tasks]
        jobs: list[Any] = self._executor.map_array(_Resumable(work), texts)
        return jobs


@dataclasses.dataclass
class _Running:
    """Attempt that is in the queue, or runs.

    Attributes:
      attempts: at the same task.
      job: of submitit.
      began: time at which it was first seen to run; 0 before.
    """

    attempts: Attempts
    job: Any
    began: float = 0.0

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.attempts.task.name

    def hear(self, report: Report) -> None:
        """Notes that the job has begun, once."""
        if not self.began and self.job.state in _RUNS:
            self.began = time.monotonic()
            report.start(self.name)
            report.note(f"job {self.job.job_id}", self.name)

    def end(self) -> Outcome | None:
        """Returns the outcome of a job that is done; None where it is to run again."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        lost = "it was stopped by a signal"
        try:
            told = self.job.result()
        except UncompletedJobError:
            told, lost = STOPPED, f"job {self.job.job_id} is {self.job.state}"
        except FailedJobError as error:
            told = f"job {self.job.job_id}: {str(error).strip().splitlines()[-1]}"
        if told == STOPPED:
            given_up = self.attempts.failure(lost)
            if given_up is None:
                return None
            told = given_up
        seconds = time.monotonic() - (self.began or time.monotonic())
        return Outcome(InputError(told) if told else None, seconds)


class _Resumable:
    """Runs a task on a worker; submitit puts it into the queue again as it is.

    Args:
      work: runs a task by its text.
    """

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, text: str) -> str:
        return attempt(self.work, text)

    def checkpoint(self, text: str) -> Any:
        """Returns what is submitted when the job is preempted or its time is over."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, text)


def _make_executor(
    folder: Path, name: str, resources: Resources, parameters: dict[str, Any]
) -> Any:
    import submitit

    for what, amount in {"cpus": resources.cpus, "gpus": resources.gpus}.items():
        if amount != int(amount):
            raise InputError(f"SLURM gives whole {what} to a program, not {amount:g}")
    named = {key: _read_value(value) for key, value in parameters.items()}
    named = {"time": _MINUTES, **named}
    try:
        executor = submitit.AutoExecutor(folder=folder.absolute(), cluster=name)
        executor.update_parameters(
            name="darts-jax",
            cpus_per_task=max(int(resources.cpus), 1),
            gpus_per_node=int(resources.gpus) or None,
            timeout_min=named["time"],
            **{f"slurm_{key}": value for key, value in named.items()},
        )
    except (NameError, RuntimeError, AssertionError, ValueError) as error:
        raise InputError(f"engine slurm: {first_line(error)}") from None
    return executor


def _read_value(given: Any) -> Any:
    """Returns a typed option as the number that it is, if it is one."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


def _tell_end(name: str, told: Outcome, report: Report) -> None:
    if told.error is None:
        report.finish(name)
    else:
        report.fail(name, str(told.error))
