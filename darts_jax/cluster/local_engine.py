"""Engine of one process: this one, task after task."""

import time
from collections.abc import Sequence

from darts_jax.cluster.engine import (
    Engine,
    Outcome,
    Report,
    Task,
    Work,
    describe_failure,
)
from darts_jax.errors import InputError


class LocalEngine(Engine):
    """Runs tasks in this process, one after another."""

    is_here = True

    def run(
        self, work: Work, tasks: Sequence[Task], report: Report
    ) -> dict[str, Outcome]:
        """Runs all tasks; see `Engine.run`. A signal saves the one that runs."""
        outcomes = {}
        for task in tasks:
            began = time.monotonic()
            error = None
            try:
                with report.run(task.name):
                    work(task.text)
            except InputError as refused:
                error = refused
            except OSError as failed:
                told = describe_failure(failed)
                if told is None:
                    raise
                error = InputError(told)
            outcomes[task.name] = Outcome(error, time.monotonic() - began)
        return outcomes
