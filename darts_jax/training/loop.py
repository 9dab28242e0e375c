"""The loop under every verb: epochs, checkpoints, metrics, signals, bad losses."""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from ml_collections import ConfigDict

from darts_jax.engine import program
from darts_jax.engine.compilation import describe_compilation
from darts_jax.engine.devices import to_host
from darts_jax.engine.feed import Chunks
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.console import Progress, print_status, show_progress
from darts_jax.training.directory import RunDirectory
from darts_jax.training.evaluation import Evaluator
from darts_jax.training.lock import require_held
from darts_jax.training.loss_watch import WARNING, LossWatch
from darts_jax.training.metrics import MetricsLog, read_metrics
from darts_jax.training.processes import (
    broadcast_from_process_zero,
    is_set_in_any_process,
)

# A call of the program lasts about this long, so that the bar moves and signals count.
_SECONDS_PER_CALL = 1.0


@dataclasses.dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch, as an `Observer` sees it.

    Attributes:
      epoch: how many are done.
      model: of the state, as `Job.model` makes it.
      data: of the epoch's last step.
      score: of a model, as `Job.model` makes them, on the held-out data.
      held_out: that score of the state; of each member, if any.
    """

    epoch: int
    job: Job
    state: Any
    scalars: Any
    model: Any
    data: Any
    score: Callable[[Any], np.ndarray]
    held_out: np.ndarray


class Observer:
    """Looks at a run after every epoch; this one sees nothing and lets it go on."""

    def measure(self, moment: EpochEnd) -> dict[str, Any]:
        """Goes into the epoch's record; what is written here the record vouches for."""
        del moment
        return {}

    def on_record(self, record: dict[str, Any]) -> None:
        """Is shown an epoch's record once it is on disk, and how many ``epochs``."""
        del record

    def should_stop(self, epoch: int) -> bool:
        """Whether the run is over with so many epochs, also when it is resumed."""
        del epoch
        return False


class StoppedError(SystemExit):
    """A signal asked for the end; the state is saved. Exit status 128 + signal."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(128 + number)
        self.step = step


def run_epochs(
    job: Job,
    run: RunDirectory,
    verb: str,
    settings: ConfigDict,
    observer: Observer | None = None,
    origin: tuple[str, int] | None = None,
) -> Any:
    """Runs a job to its end, from its newest checkpoint if there is one.

    Args:
      verb: names the job's checkpoints and records.
      settings: ``config.checkpoint``.
      observer: is shown every epoch before the checkpoint that vouches for it.
      origin: another verb and a step: where to begin, if not at the first state.

    Returns:
      The final state.

    Raises:
      InputError: the loss is not finite; the last good checkpoint stays.
      StoppedError: SIGTERM or SIGINT came; the state was saved first.
    """
    checkpoints = Checkpoints(run.checkpoints / verb, settings.keep)
    checkpoints.clean()
    like = initial_tree(job)
    state, totals = like["state"], like["totals"]
    saved = checkpoints.restore_latest(like, notify=print_status)
    if saved is None and origin is not None:
        earlier = Checkpoints(run.checkpoints / origin[0], settings.keep)
        saved = origin[1], earlier.restore(origin[1], like)
    done, total = 0, job.epochs * job.steps_per_epoch
    if saved is not None:
        done, tree = saved
        state, totals = tree["state"], tree["totals"]
    observer = observer or Observer()
    epochs, within = divmod(done, job.steps_per_epoch)
    if done == total or (not within and observer.should_stop(epochs)):
        return state
    if done:
        print_status(f"{verb}: going on from step {done} of {total}")
    ready = _make_ready(job, verb, state, totals)
    log = MetricsLog(run, verb)
    log.truncate_after(done)
    with (
        _caught_signals() as caught,
        show_progress(total, verb, done, job.unit) as bar,
    ):
        seen = caught, observer, _records(run, verb, epochs)
        work = _Epochs(job, run, verb, ready, checkpoints, log, bar, *seen)
        for epoch in range(epochs, job.epochs):
            state, totals = work.epoch(epoch, state, totals)
            last = epoch + 1 == job.epochs or observer.should_stop(epoch + 1)
            totals = job.layout.init(lambda t: t, job.empty_totals())
            stopped = is_set_in_any_process(bool(caught))
            if last or stopped or (epoch + 1) % settings.every_epochs == 0:
                work.save(state, totals)
            if stopped and not last:
                work.stop(state)
            if last:
                break
    return state


def initial_tree(job: Job) -> dict[str, Any]:
    """What a checkpoint of a job holds, before its first step."""
    layout = job.layout
    state = layout.init(job.init, job.start)
    return {"state": state, "totals": layout.init(lambda t: t, job.empty_totals())}


def compile_job(job: Job, state: Any, totals: Any) -> tuple[Callable[..., Any], float]:
    """The program of a job for a state, or the shapes of one; and the seconds taken."""
    zero, data = np.int32(0), job.feed.shapes(job.layout)
    return program.compile_program(
        job.layout.jit(job.run, state, totals),
        *(state, totals, data, job.scalars(0), zero, zero, zero),
    )


@dataclasses.dataclass(frozen=True)
class _Ready:
    """A job whose program is compiled, and whose images are at hand."""

    executable: Callable[..., Any]
    compile_seconds: float
    chunks: Chunks
    held_out: Evaluator


def _make_ready(job: Job, verb: str, state: Any, totals: Any) -> _Ready:
    # Before the compiler's minutes, as a stream may be refused.
    chunks, held_out = job.feed.open(job.layout), Evaluator(job)
    executable, seconds = compile_job(job, state, totals)
    print_status(f"{verb}: {describe_compilation(seconds)}")
    return _Ready(executable, seconds, chunks, held_out)


class _Epochs:
    """What the epochs of one call of `run_epochs` share."""

    def __init__(
        self,
        job: Job,
        run: RunDirectory,
        verb: str,
        ready: _Ready,
        checkpoints: Checkpoints,
        log: MetricsLog,
        bar: Progress,
        caught: list[int],
        observer: Observer,
        records: list[dict[str, Any]],
    ) -> None:
        self.job, self.run, self.verb, self.ready = job, run, verb, ready
        self.observer, self.model = observer, jax.jit(job.model)
        self.checkpoints, self.log, self.bar = checkpoints, log, bar
        self.caught, self.scores = caught, _scores(job, records)
        self.losses = LossWatch(_rate(verb), job.chance, records)
        self.steps_per_call = 1

    def save(self, state: Any, totals: Any) -> None:
        require_held(self.run.path)
        self.checkpoints.save(
            completed_steps(state), {"state": state, "totals": totals}
        )

    def stop(self, state: Any) -> NoReturn:
        step = completed_steps(state)
        print_status(
            f"{self.verb}: saved at step {step}; the same command goes on from there"
        )
        # A signal to another process ends this one as if it had come here.
        raise StoppedError((self.caught or [signal.SIGTERM])[0], step)

    def epoch(self, epoch: int, state: Any, totals: Any) -> tuple[Any, Any]:
        """Runs what is left of an epoch, and writes its record."""
        job, began = self.job, time.perf_counter()
        first = completed_steps(state) - epoch * job.steps_per_epoch
        start, scalars = first, job.scalars(epoch)
        if job.adapt is not None:
            scalars = job.adapt(scalars, self.scores)
        for chunk_end, data in self.ready.chunks(epoch, first):
            while start < chunk_end:
                stop = min(start + self.steps_per_call, chunk_end)
                bounds = epoch, start, stop
                state, totals = self._call(state, totals, data, scalars, bounds)
                start = stop
                self._obey(state, totals, start)
        seconds = time.perf_counter() - began
        score, model = self.ready.held_out.score, self.model(state, scalars)
        tested = self.ready.held_out.evaluate(model)
        held_out = tested.measures[job.score.name]
        self.scores.append(float(np.mean(held_out)))
        values = _means(totals) | {
            "learning_rate": np.asarray(scalars["weights"]["learning_rate"]),
            **{f"held_out_{name}": value for name, value in tested.measures.items()},
            **({} if tested.loss is None else {"valid_loss": tested.loss}),
        }
        seen = job, state, scalars, model, data, score, held_out
        moment = EpochEnd(epoch + 1, *seen)
        require_held(self.run.path)
        measured = self.observer.measure(moment)
        record = {name: value.tolist() for name, value in values.items()} | {
            "epoch": epoch + 1,
            f"{job.unit}_per_second": (start - first) * job.per_step / seconds,
            "compile_seconds": self.ready.compile_seconds,
            **measured,
        }
        wild = self.losses.notice(epoch + 1, values)
        if wild:
            record[WARNING] = "; ".join(wild.values())
        self.log.write(completed_steps(state), record)
        self.observer.on_record(record | {"epochs": job.epochs})
        self.bar.end_epoch(epoch + 1, job.epochs, held_out=self.scores[-1])
        for line in self.losses.news(wild):
            print_status(f"{self.verb}: warning: {line}")
        return state, totals

    def _obey(self, state: Any, totals: Any, step: int) -> None:
        """Saves and stops within an epoch if a signal came; see `run_epochs`."""
        # At its end an epoch is recorded first.
        if step < self.job.steps_per_epoch and is_set_in_any_process(bool(self.caught)):
            self.save(state, totals)
            self.stop(state)

    def _call(
        self,
        state: Any,
        totals: Any,
        data: Any,
        scalars: Any,
        bounds: tuple[int, int, int],
    ) -> tuple[Any, Any]:
        _, start, stop = bounds
        began = time.perf_counter()
        state, totals = self.ready.executable(
            state, totals, data, scalars, *(np.int32(n) for n in bounds)
        )
        totals = jax.block_until_ready(totals)
        per_step = (time.perf_counter() - began) / (stop - start)
        steps = max(1, math.floor(_SECONDS_PER_CALL / per_step))
        self.steps_per_call = broadcast_from_process_zero(steps)
        self._require_finite(totals)
        steps = stop - start
        shown = {name: float(np.mean(value)) for name, value in _means(totals).items()}
        self.bar.advance(steps, steps * self.job.per_step, **shown)
        return state, totals

    def _require_finite(self, totals: Any) -> None:
        first_bad = to_host(totals["first_bad_step"])
        # A population goes on as long as one of its members does.
        if np.any(first_bad == program.NEVER):
            return
        bad = int(np.max(first_bad))
        steps = self.checkpoints.steps()
        kept = f"checkpoint {steps[-1]} is kept" if steps else "no checkpoint was due"
        raise InputError(
            f"{self.verb}: the loss became NaN or infinite at step {bad}; {kept}; a "
            f"smaller {_rate(self.verb)} may help"
        )


def _rate(verb: str) -> str:
    """The setting of the learning rate of the weights."""
    part = "search" if verb.split("_")[0] in ("search", "population") else "retrain"
    return f"{part}.weights.learning_rate"


def _records(run: RunDirectory, verb: str, epochs: int) -> list[dict[str, Any]]:
    """Those of the epochs that are done."""
    records = [r for r in read_metrics(run.metrics) if r["verb"] == verb]
    return [record for record in records if record["epoch"] <= epochs]


def _scores(job: Job, records: list[dict[str, Any]]) -> list[float]:
    name = f"held_out_{job.score.name}"
    return [float(np.mean(record[name])) for record in records]


def completed_steps(state: Any) -> int:
    """Steps done; the members of a population go in step."""
    return int(np.max(to_host(state.step)))


def _means(totals: Any) -> dict[str, np.ndarray]:
    """Per member, if there are any."""
    sums = to_host(totals)
    count = np.maximum(sums["count"], 1)
    named = {"correct": "accuracy"}
    ours = set(sums) - {"count", "first_bad_step"}
    return {named.get(name, name): sums[name] / count for name in sorted(ours)}


@contextlib.contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT are noted, to be obeyed between two calls of the program."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [
        signal.signal(n, lambda number, _: caught.append(number)) for n in numbers
    ]
    try:
        yield caught
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
