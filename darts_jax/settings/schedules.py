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


@dataclasses.dataclass(frozen=True)
class Schedule:
    """From ``initial`` at epoch 0 towards ``final``, one epoch after the last.

    That is how published code lets its rates fall; `parse` reads one from a setting.
    """

    initial: float
    final: float
    shape: str = "linear"

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Of ``"0.3"``, ``"0.03:0.3"`` or ``"10:0.1:cosine"``; raises InputError."""
        first, *rest = text.split(":")
        last, *shapes = rest or [first]
        try:
            schedule = cls(float(first), float(last), *shapes)
        except (TypeError, ValueError):
            raise InputError(
                f"schedule {text!r}; want a number, FROM:TO or FROM:TO:SHAPE"
            ) from None
        if schedule.shape not in SHAPES:
            raise InputError(f"schedule {text!r}; want a shape of {', '.join(SHAPES)}")
        if not math.isfinite(schedule.initial) or not math.isfinite(schedule.final):
            raise InputError(f"schedule {text!r}; want finite numbers")
        if schedule.shape == "exponential" and schedule.low <= 0:
            raise InputError(f"schedule {text!r}; an exponential's ends are above 0")
        return schedule

    @property
    def low(self) -> float:
        return min(self.initial, self.final)

    @property
    def high(self) -> float:
        return max(self.initial, self.final)

    @property
    def is_zero(self) -> bool:
        return self.initial == self.final == 0

    def at(self, epoch: int, epochs: int) -> float:
        return SHAPES[self.shape](epoch / epochs, self.initial, self.final)
