"""Steps to compiled programs: many steps in one call, data on the device.

The only place that loops over steps. One call runs the steps [start, stop) of an
epoch; the bounds are arrays, so a program is compiled once and a progress bar may cut
an epoch into as many calls as it likes without changing a bit of the result.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from darts_jax.types import Metrics, Scalars

NEVER = jnp.iinfo(jnp.int32).max

Step = Callable[[Any, Any, Any, Any, Scalars], tuple[Any, Metrics]]
"""(state, data, order, index in the epoch, scalars) -> (state, metrics)."""


def empty_totals() -> Metrics:
    """Sums of an epoch before its first step."""
    # A buffer each, as programs take them over.
    sums = {name: jnp.zeros((), jnp.float32) for name in ("loss", "correct", "count")}
    return sums | {"first_bad_step": jnp.full((), NEVER, jnp.int32)}


def add_metrics(totals: Metrics, metrics: Metrics, step: Any) -> Metrics:
    """Adds a step's sums; notes the first step whose loss is not finite."""
    bad = jnp.where(jnp.isfinite(metrics["loss"]), NEVER, step).astype(jnp.int32)
    sums = {name: totals[name] + value for name, value in metrics.items()}
    return sums | {"first_bad_step": jnp.minimum(totals["first_bad_step"], bad)}


def epoch_program(order: Callable[[Any, Any], Any], step: Step) -> Callable[..., Any]:
    """Compiles ``step`` into ``(state, totals, data, scalars, epoch, start, stop)``.

    Args:
      order: (state, epoch) -> whatever fixes an epoch's batches; computed once a call.

    Returns:
      A function to (state, totals), which donates its first two arguments.
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
        batches = order(state, epoch)

        def body(i: Any, carry: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
            state, totals = carry
            new, metrics = step(state, data, batches, i, scalars)
            return new, add_metrics(totals, metrics, state.step)

        return lax.fori_loop(start, stop, body, (state, totals))

    return jax.jit(run, donate_argnums=(0, 1))


def compile_program(
    program: Callable[..., Any], *arguments: Any
) -> tuple[Callable[..., Any], float]:
    """Compiles for arguments of these shapes: the executable and the seconds taken."""
    began = time.perf_counter()
    executable = program.lower(*arguments).compile()  # type: ignore[attr-defined]
    return executable, time.perf_counter() - began


def evaluation_program(
    predict: Callable[[Any, Any], Any], batch_size: int
) -> Callable[..., Any]:
    """Compiles ``predict(model, images) -> logits`` into a pass over a whole split.

    Returns:
      (model, examples) -> correct predictions, an int32 scalar. The last batch is
      filled up with images that do not count.
    """

    def evaluate(model: Any, examples: Any) -> Any:
        size = examples.labels.shape[0]

        def body(i: Any, correct: Any) -> Any:
            rows = i * batch_size + jnp.arange(batch_size)
            inside = jnp.minimum(rows, size - 1)
            logits = predict(model, examples.images[inside])
            hits = jnp.argmax(logits, -1) == examples.labels[inside]
            return correct + jnp.sum(hits & (rows < size), dtype=jnp.int32)

        return lax.fori_loop(0, -(-size // batch_size), body, jnp.zeros((), jnp.int32))

    return jax.jit(evaluate)
