"""Rules that end a search early: pure functions of what has been recorded.

Each rule is asked after every epoch. It answers with the epoch whose architecture is to
be returned, which may be an earlier one, or None. To add one: ``STOP_RULES["mine"] =
mine``.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from darts_jax.bilevel.discretization import HostAlpha
from darts_jax.documentation import implements
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Cell, Genotype, Space


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """Facts about a search after an epoch.

    Attributes:
      epoch: number of epochs done.
      alpha: architecture parameters.
      genotype: read off them by a rule of discretization.
      eigenvalue: largest of the Hessian of the validation loss by alpha; None where it
        was not measured.
    """

    epoch: int
    alpha: HostAlpha
    genotype: Genotype
    eigenvalue: float | None = None


@dataclasses.dataclass(frozen=True)
class Stop:
    """Early end of a search.

    Attributes:
      epoch: the epoch to return to.
      reason: one line.
    """

    epoch: int
    reason: str


class StopRule(Protocol):
    """Decision to end a search, taken after every epoch.

    Args:
      space: search space.
      history: records of the epochs so far, in order.

    Returns:
      The stop, or None to go on.
    """

    def __call__(self, space: Space, history: Sequence[EpochRecord]) -> Stop | None: ...


@implements(StopRule)
def eigenvalue_ratio(
    space: Space,
    history: Sequence[EpochRecord],
    window: int = 5,
    factor: float = 1.3,
    delta: int = 4,
    start: int = 10,
) -> Stop | None:
    """Stops when the dominant eigenvalue has grown.

    DARTS-ES (Zela et al., 2020), section 4.3. With l the centred moving average of
    ``window`` measurements: stops when ``l[i] / l[i - delta] > factor`` for the latest
    i, and returns to the epoch of ``i - delta``, if it is ``start`` or later. The
    published search measures every second epoch, so that is eight epochs back. An
    average exists where its window is whole.

    Args:
      window: number of measurements in an average, odd.
      factor: growth that stops the search.
      delta: distance of the two averages, in measurements.
      start: first epoch to return to.

    Raises:
      InputError: ``window`` is even.
    """
    del space
    if window % 2 == 0:
        raise InputError(f"a centred window is odd, not {window}")
    measured = [r for r in history if r.eigenvalue is not None]
    values = np.array([r.eigenvalue for r in measured], np.float64)
    if len(values) < window + delta:
        return None
    smooth = np.convolve(values, np.ones(window) / window, mode="valid")
    centres = [r.epoch for r in measured][window // 2 :]
    before = centres[len(smooth) - 1 - delta]
    ratio = smooth[-1] / smooth[-1 - delta]
    if before < start or not ratio > factor:
        return None
    return Stop(
        before, f"the largest eigenvalue grew {ratio:.2f} times from epoch {before}"
    )


@implements(StopRule)
def skip_count(
    space: Space, history: Sequence[EpochRecord], least: int = 2
) -> Stop | None:
    """Stops when a cell that does not reduce has 2 skips: DARTS+ (Liang et al., 2019).

    Returns to the last epoch recorded, in which they appeared.

    Args:
      least: number of skips that stops the search.
    """
    if not history:
        return None
    last = history[-1]
    for kind, cell in last.genotype.cells.items():
        if kind not in space.macro.reductions and cell.skips >= least:
            return Stop(last.epoch, f"the {kind} cell has {cell.skips} skip_connect")
    return None


@implements(StopRule)
def stable_ranking(
    space: Space, history: Sequence[EpochRecord], epochs: int = 10
) -> Stop | None:
    """Stops when no edge has reordered its operations for so many epochs.

    DARTS+ (Liang et al., 2019). Returns to the last epoch recorded; the first record to
    compare with is the one ``epochs`` before it.

    Args:
      epochs: number of epochs without a change.
    """
    if len(history) <= epochs:
        return None
    orders = [
        [
            rank_operations(cell, record.alpha[kind])
            for kind, cell in space.cells.items()
        ]
        for record in history[-epochs - 1 :]
    ]
    same = all(
        np.array_equal(now, last)
        for order in orders[:-1]
        for now, last in zip(order, orders[-1], strict=True)
    )
    if not same:
        return None
    return Stop(history[-1].epoch, f"no ranking has changed for {epochs} epochs")


def rank_operations(
    cell: Cell, logits: Float[np.ndarray, "edge op"]
) -> Int[np.ndarray, "edge op"]:
    """Returns each edge's operations, strongest first; ties in order, absent ones last.

    Args:
      cell: shape of the cell.
      logits: architecture parameters.
    """
    masked = np.where(cell.mask, np.asarray(logits, np.float64), -np.inf)
    return np.argsort(-masked, axis=-1, kind="stable")


STOP_RULES: dict[str, StopRule] = {
    "eigenvalue_ratio": eigenvalue_ratio,
    "skip_count": skip_count,
    "stable_ranking": stable_ranking,
}
"""`search.stop` -> decision to stop a search after an epoch."""
