"""A small search as one process of several, and its preemption at random moments.

    python -m tests.support.preempted RUN EPOCHS [COORDINATOR COUNT INDEX]

runs process INDEX of the search. `Preempted` starts all of them and sends signals.
"""

import dataclasses
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from darts_jax.training.checkpoint import Checkpoints
from tests.support.processes import free_port, launch

LIMIT = 60.0
"""Seconds in which every process must have ended after a signal."""

LOST = re.compile(r"^darts-jax: process \d of \d is gone; this one ends too", re.M)


def main(run: str, epochs: str, *cluster: str) -> int:
    import darts_jax
    from darts_jax.cli.main import main as darts_jax_command
    from darts_jax.data import SOURCES
    from tests.support import small_runs

    darts_jax.SPACES["tiny"] = small_runs.competing()
    SOURCES["made"] = lambda directory: small_runs.images(count=8 * small_runs.BATCH)
    settings = {
        "space": "tiny",
        "data.name": "made",
        "supernet.cells": 1,
        "supernet.channels": 2,
        "search.epochs": epochs,
        "search.batch_size": small_runs.BATCH,
        "search.architecture.learning_rate": 0.1,
    }
    flags = [f"--config.{name}={value}" for name, value in settings.items()]
    names = ("--coordinator", "--processes", "--process")
    for name, value in zip(names, cluster, strict=bool(cluster)):
        flags += [name, value]
    return darts_jax_command(["search", "--run", run, *flags])


@dataclasses.dataclass
class Trial:
    """Effects of one preemption.

    Attributes:
      sent: signals in words.
      epoch: of the newest architecture at that moment.
      statuses: exit status of every process.
      seconds: until all had ended.
      step: of the newest checkpoint afterwards.
    """

    sent: str
    epoch: int
    statuses: list[int]
    seconds: float
    step: int = 0

    def __str__(self) -> str:
        statuses = " ".join(map(str, self.statuses))
        return (
            f"{self.sent:34} epoch {self.epoch:3}  status {statuses:12} "
            f"{self.seconds:5.1f} s  goes on from step {self.step}"
        )


@dataclasses.dataclass
class Preempted:
    """A search on some processes that is preempted again and again.

    Attributes:
      run: its directory.
      processes: number of them.
      devices: virtual devices of each.
      epochs: of the search.
    """

    run: Path
    processes: int
    devices: int
    epochs: int

    def start(self) -> list[subprocess.Popen[str]]:
        command = ["-m", "tests.support.preempted", self.run, self.epochs]
        if self.processes == 1:
            return [launch(self.devices, *command)]
        address = f"localhost:{free_port()}"
        return [
            launch(self.devices, *command, address, self.processes, index)
            for index in range(self.processes)
        ]

    def finish(self) -> str:
        """Runs to the end; returns what process 0 printed."""
        running = self.start()
        outputs = [process.communicate()[0] for process in running]
        assert all(process.returncode == 0 for process in running), outputs
        return outputs[0]

    def preempt(self, kind: str, draw: random.Random) -> tuple[Trial, list[str]]:
        """Starts it, sends signals at a random moment; returns outputs, too."""
        first = self.epoch()
        running = self.start()
        target = first + draw.randint(1, 2)
        while self.epoch() < target:
            time.sleep(0.01)
            assert all(process.poll() is None for process in running), [
                process.communicate()[0] for process in running
            ]
        time.sleep(draw.uniform(0, 0.5))
        trial = Trial("", self.epoch(), [], 0.0)
        trial.sent = send(kind, running, draw)
        began = time.monotonic()
        outputs = []
        for process in running:
            left = max(LIMIT + began - time.monotonic(), 0.1)
            outputs.append(process.communicate(timeout=left)[0])
        trial.seconds = time.monotonic() - began
        trial.statuses = [process.returncode for process in running]
        trial.step = self.newest()
        return trial, outputs

    def epoch(self) -> int:
        return len(list(self.run.glob("architecture/epoch_*.npz")))

    def newest(self) -> int:
        return max(Checkpoints(self.run / "checkpoints" / "search").steps(), default=0)


def send(kind: str, running: list[subprocess.Popen[str]], draw: random.Random) -> str:
    """Sends the signals of a kind of preemption; returns them in words."""
    order = draw.sample(range(len(running)), len(running))
    first, last = order[0], order[-1]
    signals = {
        "term": [(first, signal.SIGTERM)],
        "kill": [(first, signal.SIGKILL)],
        "both": [(first, signal.SIGTERM), (last, signal.SIGKILL)],
    }[kind]
    for process, number in signals:
        running[process].send_signal(number)
    return ", ".join(f"{number.name} to {process}" for process, number in signals)


def preempt_often(search: Preempted, kills: int, seed: int) -> list[Trial]:
    """Preempts a search some times, checks each, and lets it end.

    A process that is told to stop saves its very step, and so do the others; of one
    that is killed, the others end with a line. What was saved is gone on from.
    """
    draw = random.Random(seed)
    trials: list[Trial] = []
    for number in range(kills):
        kind = ("both", "term", "kill")[number % 3]
        trial, outputs = search.preempt(kind, draw)
        print(trial, flush=True)
        if trials:
            check_return(trials[-1], outputs[0])
        if kind == "term":
            assert set(trial.statuses) == {128 + signal.SIGTERM}, outputs
            assert f"saved at step {trial.step};" in outputs[0], outputs
        else:
            check_loss(trial, outputs)
        if trials:
            assert trial.step >= trials[-1].step
        trials.append(trial)
    check_return(trials[-1], search.finish())
    return trials


def check_return(trial: Trial, output: str) -> None:
    """Requires that a search went on from its newest checkpoint, if there was one."""
    told = f"going on from step {trial.step} of" if trial.step else "compiled in"
    assert told in output, output
    assert ("going on" in output) == bool(trial.step), output


def check_loss(trial: Trial, outputs: list[str]) -> None:
    """Requires of those who were not killed a status and one line, no traceback."""
    for status, output in zip(trial.statuses, outputs, strict=True):
        if status == -signal.SIGKILL:
            continue
        assert "Traceback" not in output, output
        # Both were done: the step was saved, and only then one was lost.
        if status != 128 + signal.SIGTERM:
            assert status == 75, output
            assert len(LOST.findall(output)) == 1, output
            assert "Check failure" not in output, output


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
