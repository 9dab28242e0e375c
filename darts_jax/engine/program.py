"""Steps to compiled programs: many steps in one call, data on the device.

The only place that loops over steps. One call runs the steps [start, stop) of an
epoch; the bounds are arrays, so a program is compiled once and a progress bar may cut
an epoch into as many calls as it likes without changing a bit of the result.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from darts_jax.engine import memory
from darts_jax.types import Metrics, Scalars

NEVER = jnp.iinfo(jnp.int32).max

Step = Callable[[Any, Any, Any, Any, Scalars], tuple[Any, Metrics]]
"""(state, data, order, index in the epoch, scalars) -> (state, metrics)."""


METRICS = ("loss", "correct", "count")
"""Sums that a program over images keeps; ``loss`` and ``count`` are those of every."""


def empty_totals(
    members: int | None = None, names: tuple[str, ...] = METRICS
) -> dict[str, np.ndarray]:
    """Sums of an epoch before its first step, of one or of each member."""
    shape = () if members is None else (members,)
    sums: dict[str, np.ndarray] = {n: np.zeros(shape, np.float32) for n in names}
    return sums | {"first_bad_step": np.full(shape, NEVER, np.int32)}


def add_metrics(totals: Metrics, metrics: Metrics, step: Any) -> Metrics:
    """Adds a step's sums; notes the first step whose loss is not finite."""
    bad = jnp.where(jnp.isfinite(metrics["loss"]), NEVER, step).astype(jnp.int32)
    sums = {name: totals[name] + value for name, value in metrics.items()}
    return sums | {"first_bad_step": jnp.minimum(totals["first_bad_step"], bad)}


def epoch_program(order: Callable[[Any, Any], Any], step: Step) -> Callable[..., Any]:
    """Many steps as one: (state, totals, data, scalars, epoch, start, stop).

    Args:
      order: (the state's key, epoch) -> whatever fixes an epoch's batches; computed
        once a call.

    Returns:
      A pure function to (state, totals), for `devices.Layout.jit`.
    """

    def run(
        state: Any,
        totals: Metrics,
        data: Any,
        scalars: Scalars,
        epoch: Any,
        start: Any,
        stop: Any,
    ) -> tuple[Any, Metrics]:
        batches = order(state.key, epoch)

        def body(i: Any, carry: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
            state, totals = carry
            new, metrics = step(state, data, batches, i, scalars)
            return new, add_metrics(totals, metrics, state.step)

        return lax.fori_loop(start, stop, body, (state, totals))

    return run


def compile_program(
    program: Callable[..., Any], *arguments: Any
) -> tuple[Callable[..., Any], float]:
    """Compiles for arguments of these shapes: the executable and the seconds taken."""
    began = time.perf_counter()
    executable = compile_lowered(program.lower(*arguments))  # type: ignore[attr-defined]
    return executable, time.perf_counter() - began


def compile_lowered(lowered: Any) -> Any:
    """The executable of what was traced and lowered, in little memory."""
    memory.give_back()
    with memory.frugal():
        executable = lowered.compile()
    memory.give_back()
    return executable


@dataclasses.dataclass(frozen=True)
class Examination:
    """How a model is tested, batch after batch; pure functions.

    Attributes:
      begin: model -> what is carried into the first batch.
      examine: (model, carried, batch, its number) -> the same after the batch.
      sums: carried -> a tree of arrays that add up over parts of the data.
    """

    begin: Callable[[Any], Any]
    examine: Callable[[Any, Any, Any, Any], Any]
    sums: Callable[[Any], Any]


def evaluation_program(
    examination: Examination, batches: Callable[[Any, Any, Any], Any]
) -> Callable[..., Any]:
    """Makes of an examination a pass over many batches.

    Args:
      batches: (data, nothing, i) -> the i-th batch, of one part.

    Returns:
      (model, data, start, stop) -> the examination's sums.
    """

    def evaluate(model: Any, data: Any, start: Any, stop: Any) -> Any:
        def body(i: Any, carried: Any) -> Any:
            (batch,) = batches(data, (), i)
            return examination.examine(model, carried, batch, i)

        carried = lax.fori_loop(start, stop, body, examination.begin(model))
        return examination.sums(carried)

    return evaluate
