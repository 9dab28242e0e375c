"""Compiled programs of many steps in one call, with the data on the device.

This is the only place that loops over steps. One call runs the steps [start, stop) of
an epoch; the bounds are arrays, so a program is compiled once and a progress bar may
cut an epoch into as many calls as it likes without changing a bit of the result.
"""

import dataclasses
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
"""Sums over images by class; every program keeps ``loss`` and ``count``."""


def empty_totals(
    members: int | None = None, names: tuple[str, ...] = METRICS
) -> dict[str, np.ndarray]:
    """Returns the sums of an epoch before its first step, all 0.

    Args:
      members: size of a population; None without one.
      names: names of the sums.

    Returns:
      name -> float32 [] or [member], and ``first_bad_step``, int32.
    """
    shape = () if members is None else (members,)
    sums: dict[str, np.ndarray] = {n: np.zeros(shape, np.float32) for n in names}
    return sums | {"first_bad_step": np.full(shape, NEVER, np.int32)}


def add_metrics(totals: Metrics, metrics: Metrics, step: Any) -> Metrics:
    """Adds a step's sums, and notes the first step whose loss is not finite.

    Args:
      totals: sums of the epoch so far.
      metrics: sums of the step.
      step: number of the step in the run.
    """
    bad = jnp.where(jnp.isfinite(metrics["loss"]), NEVER, step).astype(jnp.int32)
    sums = {name: totals[name] + value for name, value in metrics.items()}
    return sums | {"first_bad_step": jnp.minimum(totals["first_bad_step"], bad)}


def epoch_program(order: Callable[[Any, Any], Any], step: Step) -> Callable[..., Any]:
    """Makes one function of many steps.

    Args:
      order: (the state's key, epoch) -> whatever fixes an epoch's batches; computed
        once a call.
      step: one step.

    Returns:
      ``(state, totals, data, scalars, epoch, start, stop) -> (state, totals)``, pure,
      for `devices.Layout.jit`.
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


def compile_lowered(lowered: Any) -> Any:
    """Compiles a lowered program in little memory.

    Args:
      lowered: result of a jitted function's ``lower``.

    Returns:
      The executable.
    """
    memory.give_back()
    with memory.frugal():
        executable = lowered.compile()
    memory.give_back()
    return executable


@dataclasses.dataclass(frozen=True)
class Examination:
    """A test of a model, batch after batch, as pure functions.

    Attributes:
      begin: model -> value carried into the first batch.
      examine: (model, carried, batch, its number) -> the same after the batch.
      sums: carried -> a tree of arrays that add up over parts of the data.
    """

    begin: Callable[[Any], Any]
    examine: Callable[[Any, Any, Any, Any], Any]
    sums: Callable[[Any], Any]


def evaluation_program(
    examination: Examination, batches: Callable[[Any, Any, Any], Any]
) -> Callable[..., Any]:
    """Makes one function of an examination of many batches.

    Args:
      examination: test of one batch.
      batches: (data, nothing, i) -> the i-th batch, of one part.

    Returns:
      ``(model, data, start, stop) -> sums`` of the examination.
    """

    def evaluate(model: Any, data: Any, start: Any, stop: Any) -> Any:
        def body(i: Any, carried: Any) -> Any:
            (batch,) = batches(data, (), i)
            return examination.examine(model, carried, batch, i)

        carried = lax.fori_loop(start, stop, body, examination.begin(model))
        return examination.sums(carried)

    return evaluate
