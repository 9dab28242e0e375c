"""Schedules: numbers that change by epoch, and the texts that stand for them."""

import dataclasses
import math
from collections.abc import Callable

from darts_jax.errors import InputError

Shape = Callable[[float, float, float], float]
"""(share of the epochs that are over, initial, final) -> value."""


def _linear(share: float, initial: float, final: float) -> float:
    return initial + (final - initial) * share


def _cosine(share: float, initial: float, final: float) -> float:
    return final + (initial - final) * (1 + math.cos(math.pi * share)) / 2


def _exponential(share: float, initial: float, final: float) -> float:
    return initial * (final / initial) ** share


SHAPES: dict[str, Shape] = {
    "linear": _linear,
    "cosine": _cosine,
    "exponential": _exponential,
}


FLATTENED = "flattened"
"""Schedule of a learning rate alone; see `scalars.flattened_share`."""
FLAT_EPOCHS = 5
"""Epochs at the end of `FLATTENED` in which the rate falls slowly."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A number that goes from ``initial`` at epoch 0 to ``final`` after the last epoch.

    That is how published code lets its rates fall; `parse` reads one from a setting.

    Attributes:
      initial: number of the first epoch.
      final: number that an epoch after the last would have.
      shape: of `SHAPES`: how it goes from one to the other.
    """

    initial: float
    final: float
    shape: str = "linear"

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Returns the schedule that a text stands for.

        Args:
          text: ``"0.3"``, ``"0.03:0.3"`` or ``"10:0.1:cosine"``.

        Raises:
          InputError: it is none of them, or its numbers do not fit its shape.
        """
        parts = text.split(":")
        malformed = InputError(
            f"schedule {text!r}; want a number, FROM:TO or FROM:TO:SHAPE"
        )
        if len(parts) > 3:
            raise malformed
        try:
            initial = float(parts[0])
            final = float(parts[1]) if len(parts) > 1 else initial
        except ValueError:
            raise malformed from None
        schedule = cls(initial, final, parts[2] if len(parts) == 3 else "linear")
        if schedule.shape not in SHAPES:
            raise InputError(f"schedule {text!r}; want a shape of {', '.join(SHAPES)}")
        if not math.isfinite(schedule.initial) or not math.isfinite(schedule.final):
            raise InputError(f"schedule {text!r}; want finite numbers")
        if schedule.shape == "exponential" and schedule.low <= 0:
            raise InputError(f"schedule {text!r}; an exponential's ends are above 0")
        return schedule

    @property
    def low(self) -> float:
        """The smaller end."""
        return min(self.initial, self.final)

    @property
    def high(self) -> float:
        """The larger end."""
        return max(self.initial, self.final)

    @property
    def is_zero(self) -> bool:
        """Says whether it is 0 in every epoch."""
        return self.initial == self.final == 0

    def at(self, epoch: int, epochs: int) -> float:
        """Returns the number of an epoch.

        Args:
          epoch: from 0.
          epochs: how many there are.
        """
        return SHAPES[self.shape](epoch / epochs, self.initial, self.final)
