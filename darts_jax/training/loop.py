"""Training loop under every verb: epochs, records, checkpoints and signals.

What an epoch leaves is written in one order: the observer's files, the record that
vouches for them, the checkpoint that vouches for the record. The last is written while
the next epoch runs. A run that is killed in between goes on from its newest checkpoint
and forgets the records behind it, so that it ends with the bits of a run that was not.

Several processes agree by a message after every call of the program whether one of
them was told to stop, so that all save the same step. JAX's own sync point is for
SIGTERM alone, and swallows it while nothing listens yet, as during a compilation.
"""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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
from darts_jax.training.console import print_status, show_progress
from darts_jax.training.directory import RunDirectory
from darts_jax.training.evaluation import Evaluator
from darts_jax.training.lock import require_held
from darts_jax.training.loss_watch import WARNING, LossWatch
from darts_jax.training.metrics import MetricsLog, read_metrics
from darts_jax.training.processes import (
    broadcast_from_process_zero,
    is_set_in_any_process,
    wait_for_all,
)

# A call of the program lasts about this long, so that the bar moves and signals count.
_SECONDS_PER_CALL = 1.0


@dataclasses.dataclass(frozen=True)
class EpochEnd:
    """End of an epoch, as an `Observer` sees it.

    Attributes:
      epoch: number of epochs that are done.
      job: what the loop runs.
      state: after the epoch.
      scalars: of the epoch's steps.
      model: made of the state by `Job.model`.
      data: chunk of the feed that holds the epoch's last step.
      score: measures a model, as `Job.model` makes them, on the held-out data.
      held_out: the score of ``model``: a number, or [member].
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

    def measure(self, end: EpochEnd) -> dict[str, Any]:
        """Returns what is added to the record of the epoch; may write files."""
        del end
        return {}

    def on_record(self, record: dict[str, Any]) -> None:
        """Takes an epoch's record, with the planned ``epochs``, once it is on disk."""
        del record

    def should_stop(self, epoch: int) -> bool:
        """Returns whether the run ends after an epoch; a resumed run asks again."""
        del epoch
        return False


class StoppedError(SystemExit):
    """Ends the process after a signal, with exit status 128 + signal.

    Args:
      number: of the signal.
      step: at which the state was saved.
    """

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
      job: what to run.
      run: where checkpoints and records lie.
      verb: names the job's checkpoints and records.
      settings: ``config.checkpoint``.
      observer: sees every epoch before the checkpoint that vouches for it.
      origin: another verb and a step of it: the checkpoint to begin with where the job
        has none; by default it begins with its initial state.

    Returns:
      The final state.

    Raises:
      InputError: the loss is not finite; the last good checkpoint stays.
      StoppedError: SIGTERM or SIGINT came; the state was saved first.
    """
    observer = observer or Observer()
    checkpoints = Checkpoints(run.checkpoints / verb, settings.keep)
    checkpoints.clean()
    done, state, totals = _restore(job, run, checkpoints, origin)
    total = job.epochs * job.steps_per_epoch
    epochs_done, within_epoch = divmod(done, job.steps_per_epoch)
    if done == total or (not within_epoch and observer.should_stop(epochs_done)):
        return state
    if done:
        print_status(f"{verb}: going on from step {done} of {total}")

    # Data come before the compiler's minutes, as a stream may be refused.
    chunks = job.feed.open(job.layout)
    evaluator = Evaluator(job)
    executable, compile_seconds = compile_job(job, state, totals)
    # Gloo gives up after 30 s where one process is compiling and another is not.
    wait_for_all(f"{verb} is compiled")
    print_status(f"{verb}: {describe_compilation(compile_seconds)}")
    calls = _ProgramCalls(executable, chunks)
    recorder = _Recorder(job, run, verb, observer, evaluator, compile_seconds, done)

    def save() -> None:
        step = completed_steps(state)
        tree = {"state": state, "totals": totals}
        checkpoints.start_saving(step, tree, lambda: require_held(run.path))

    def should_save() -> bool:
        # A write that has failed is told by the next one.
        return is_set_in_any_process(bool(signals) or checkpoints.has_failed())

    with (
        recorder.log,
        _caught_signals() as signals,
        checkpoints,
        show_progress(total, verb, done, job.unit) as bar,
    ):
        for epoch in range(epochs_done, job.epochs):
            # 1. Train, and obey a signal between two calls of the program.
            began = time.perf_counter()
            scalars = recorder.adapt(job.scalars(epoch))
            first = completed_steps(state) - epoch * job.steps_per_epoch
            step = first
            for stop, data in calls.cut(epoch, first):
                state, totals = calls.run(
                    state, totals, data, scalars, epoch=epoch, start=step, stop=stop
                )
                sums = to_host(totals)
                _require_finite(sums, verb, checkpoints)
                examples = (stop - step) * job.per_step
                bar.advance(stop - step, examples, **_shown(sums))
                step = stop
                # At its end an epoch is recorded first.
                if step < job.steps_per_epoch and should_save():
                    save()
                    checkpoints.finish_saving()
                    raise _stopped(verb, signals, step=completed_steps(state))
            speed = (step - first) * job.per_step / (time.perf_counter() - began)

            # 2. Test, and record what vouches for the observer's files.
            recorder.record(epoch + 1, state, scalars, data, _means(sums), speed)
            bar.end_epoch(epoch + 1, job.epochs, held_out=recorder.scores[-1])
            recorder.print_warnings()

            # 3. Save what vouches for the record, and end where that is due.
            is_last = epoch + 1 == job.epochs or observer.should_stop(epoch + 1)
            totals = job.layout.init(lambda t: t, job.empty_totals())
            is_stopped = should_save()
            if is_last or is_stopped or (epoch + 1) % settings.every_epochs == 0:
                save()
            if is_stopped:
                checkpoints.finish_saving()
                raise _stopped(verb, signals, step=completed_steps(state))
            if is_last:
                break
    return state


def initial_tree(job: Job) -> dict[str, Any]:
    """Returns what a checkpoint of a job holds before its first step.

    Args:
      job: whose state is drawn and placed on its devices.
    """
    layout = job.layout
    state = layout.init(job.init, job.start)
    return {"state": state, "totals": layout.init(lambda t: t, job.empty_totals())}


def compile_job(job: Job, state: Any, totals: Any) -> tuple[Callable[..., Any], float]:
    """Compiles the program of a job.

    Args:
      job: whose ``run`` is compiled.
      state: of the job, or its shapes.
      totals: sums of an epoch, or their shapes.

    Returns:
      The executable, and the seconds taken.
    """
    began = time.perf_counter()
    zero = np.int32(0)
    data = job.feed.shapes(job.layout)
    program_of_steps = job.layout.jit(job.run, state, totals)
    executable = program.compile_lowered(
        program_of_steps.lower(state, totals, data, job.scalars(0), zero, zero, zero)
    )
    return executable, time.perf_counter() - began


def completed_steps(state: Any) -> int:
    """Returns the number of steps that a state has taken.

    Args:
      state: of one run, or of a population, whose members go in step.
    """
    return int(np.max(to_host(state.step)))


def _restore(
    job: Job,
    run: RunDirectory,
    checkpoints: Checkpoints,
    origin: tuple[str, int] | None,
) -> tuple[int, Any, Any]:
    """Returns the steps done, the state and the totals that a run begins with.

    The newest whole checkpoint comes first, then the origin, then the initial state.
    """
    done = 0
    tree = initial_tree(job)
    newest = checkpoints.restore_latest(tree, notify=print_status)
    if newest is not None:
        done, tree = newest
    elif origin is not None:
        verb, done = origin
        tree = Checkpoints(run.checkpoints / verb).restore(done, tree)
    return done, tree["state"], tree["totals"]


class _ProgramCalls:
    """Steps of an epoch, as calls of the compiled program of about a second.

    Args:
      executable: compiled ``Job.run``.
      chunks: of the data to learn from.
    """

    def __init__(self, executable: Callable[..., Any], chunks: Chunks) -> None:
        self._executable = executable
        self._chunks = chunks
        self._steps_per_call = 1

    def cut(self, epoch: int, first: int) -> Iterator[tuple[int, Any]]:
        """Yields (stop, data) of the next call: data of the steps up to ``stop``.

        Args:
          epoch: from 0.
          first: steps of the epoch that are done.
        """
        stop = first
        for chunk_end, data in self._chunks(epoch, first):
            while stop < chunk_end:
                stop = min(stop + self._steps_per_call, chunk_end)
                yield stop, data

    def run(
        self,
        state: Any,
        totals: Any,
        data: Any,
        scalars: Any,
        *,
        epoch: int,
        start: int,
        stop: int,
    ) -> tuple[Any, Any]:
        """Returns state and totals after the steps [start, stop) of an epoch."""
        began = time.perf_counter()
        state, totals = self._executable(
            state,
            totals,
            data,
            scalars,
            np.int32(epoch),
            np.int32(start),
            np.int32(stop),
        )
        totals = jax.block_until_ready(totals)
        per_step = (time.perf_counter() - began) / (stop - start)
        steps = max(1, math.floor(_SECONDS_PER_CALL / per_step))
        self._steps_per_call = broadcast_from_process_zero(steps)
        return state, totals


@dataclasses.dataclass
class _Recorder:
    """Tests the model after every epoch, and writes the epoch's record.

    Attributes:
      job: that runs.
      run: where the records lie.
      verb: that names the records.
      observer: adds to every record.
      evaluator: of the held-out data.
      compile_seconds: told in every record.
      done: steps; records behind them are forgotten, as no checkpoint vouches for them.
      log: of the records.
      scores: mean score on the held-out data of every epoch that is done.
    """

    job: Job
    run: RunDirectory
    verb: str
    observer: Observer
    evaluator: Evaluator
    compile_seconds: float
    done: int

    def __post_init__(self) -> None:
        self._model = jax.jit(self.job.model)
        self.log = MetricsLog(self.run, self.verb)
        self.log.truncate_after(self.done)
        epochs_done = self.done // self.job.steps_per_epoch
        records = [
            record
            for record in read_metrics(self.run.metrics)
            if record["verb"] == self.verb and record["epoch"] <= epochs_done
        ]
        measured = f"held_out_{self.job.score.name}"
        self.scores = [float(np.mean(record[measured])) for record in records]
        self._losses = LossWatch(_rate_setting(self.verb), self.job.chance, records)
        self._warnings: Mapping[str, str] = {}

    def adapt(self, scalars: Any) -> Any:
        """Returns the scalars of the next epoch, which may follow earlier scores."""
        if self.job.adapt is None:
            return scalars
        return self.job.adapt(scalars, self.scores)

    def record(
        self,
        epoch: int,
        state: Any,
        scalars: Any,
        data: Any,
        means: dict[str, np.ndarray],
        speed: float,
    ) -> None:
        """Tests the state after an epoch, shows it the observer, writes the record.

        Args:
          epoch: from 1.
          state: after the epoch.
          scalars: of its steps.
          data: of its last step.
          means: of its metrics over the examples.
          speed: examples a second.
        """
        job = self.job
        model = self._model(state, scalars)
        evaluation = self.evaluator.evaluate(model)
        held_out = evaluation.measures[job.score.name]
        self.scores.append(float(np.mean(held_out)))
        values = means | {
            "learning_rate": np.asarray(scalars["weights"]["learning_rate"]),
            **{f"held_out_{name}": v for name, v in evaluation.measures.items()},
            **({} if evaluation.loss is None else {"valid_loss": evaluation.loss}),
        }
        end = EpochEnd(
            epoch=epoch,
            job=job,
            state=state,
            scalars=scalars,
            model=model,
            data=data,
            score=self.evaluator.score,
            held_out=held_out,
        )
        require_held(self.run.path)
        measured = self.observer.measure(end)
        record = {name: value.tolist() for name, value in values.items()} | {
            "epoch": epoch,
            f"{job.unit}_per_second": speed,
            "compile_seconds": self.compile_seconds,
            **measured,
        }
        self._warnings = self._losses.check(epoch, values)
        if self._warnings:
            record[WARNING] = "; ".join(self._warnings.values())
        self.log.write(completed_steps(state), record)
        self.observer.on_record(record | {"epochs": job.epochs})

    def print_warnings(self) -> None:
        """Prints the warnings of the last record that were not printed before."""
        for line in self._losses.select_new(self._warnings):
            print_status(f"{self.verb}: warning: {line}")


def _require_finite(
    sums: Mapping[str, np.ndarray], verb: str, checkpoints: Checkpoints
) -> None:
    """Raises InputError where the loss of every member has become NaN or infinite."""
    first_bad = sums["first_bad_step"]
    # A population goes on as long as one of its members does.
    if np.any(first_bad == program.NEVER):
        return
    bad = int(np.max(first_bad))
    steps = checkpoints.steps()
    kept = f"checkpoint {steps[-1]} is kept" if steps else "no checkpoint was due"
    raise InputError(
        f"{verb}: the loss became NaN or infinite at step {bad}; {kept}; a smaller "
        f"{_rate_setting(verb)} may help"
    )


def _rate_setting(verb: str) -> str:
    """Returns the setting of the weights' learning rate."""
    part = "search" if verb.split("_")[0] in ("search", "population") else "retrain"
    return f"{part}.weights.learning_rate"


def _means(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns metrics by example: name -> a number, or [member]."""
    count = np.maximum(sums["count"], 1)
    named = {"correct": "accuracy"}
    ours = set(sums) - {"count", "first_bad_step"}
    return {named.get(name, name): sums[name] / count for name in sorted(ours)}


def _shown(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the metrics that stand beside the bar, as means over members."""
    return {name: float(np.mean(value)) for name, value in _means(sums).items()}


def _stopped(verb: str, signals: list[int], step: int) -> StoppedError:
    """Prints how a run that was saved goes on, and returns the error that ends it."""
    print_status(f"{verb}: saved at step {step}; the same command goes on from there")
    # A signal to another process ends this one as if it had come here.
    return StoppedError((signals or [signal.SIGTERM])[0], step)


@contextlib.contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT, to be obeyed between two calls of the program.

    One that comes too late for that has its usual effect at the end.
    """
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
    for too_late in caught[:1]:
        signal.raise_signal(too_late)
