"""Warnings of losses that are finite and yet beyond reason."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

TIMES_CHANCE = 10.0
"""A loss above this many times the loss of a guess is beyond reason."""

TIMES_FIRST = 100.0
"""So is one above this many times the first epoch's, if a guess loses less."""

KINDS = {"loss": "training loss", "valid_loss": "held-out loss"}
"""Name in a record -> name in a warning."""

WARNING = "warning"
"""Key, in a record, of the warnings of its losses."""


class LossWatch:
    """Compares the losses of every epoch with what a guess loses and with the first.

    Args:
      rate: the setting of the learning rate, which a warning names.
      chance: the loss of a guess, ln of the number of classes; None where it is not
        known, and a loss is compared with that of the first epoch alone.
      records: of the epochs that are done.
    """

    def __init__(
        self, rate: str, chance: float | None, records: Iterable[Mapping[str, Any]]
    ) -> None:
        self._rate = rate
        self._chance = chance
        self._first: dict[str, Float[np.ndarray, " member"]] = {}
        self._selected: set[str] = set()
        for record in records:
            self._remember(record)

    def check(self, epoch: int, losses: Mapping[str, Any]) -> dict[str, str]:
        """Returns a line for each kind of loss that is beyond reason: kind -> line.

        Args:
          epoch: from 1.
          losses: name -> loss, or those of all members, some of `KINDS`.
        """
        self._remember(losses)
        lines = {kind: self._line(kind, epoch, losses) for kind in KINDS}
        return {kind: line for kind, line in lines.items() if line}

    def select_new(self, lines: Mapping[str, str]) -> list[str]:
        """Returns the lines of the kinds of loss that no earlier call has had.

        Args:
          lines: kind -> line, as `check` returns them.
        """
        new = [line for kind, line in lines.items() if kind not in self._selected]
        self._selected.update(lines)
        return new

    def _remember(self, losses: Mapping[str, Any]) -> None:
        for kind in KINDS:
            if kind in losses and kind not in self._first:
                self._first[kind] = _by_member(losses[kind])

    def _line(self, kind: str, epoch: int, losses: Mapping[str, Any]) -> str:
        if kind not in losses:
            return ""
        each = _by_member(losses[kind])
        first = self._first[kind]
        floor = 0.0 if self._chance is None else self._chance
        has_grown = (each > TIMES_FIRST * first) & (each > floor)
        is_wild = has_grown
        if self._chance is not None:
            is_wild = has_grown | (each > TIMES_CHANCE * self._chance)
        if not is_wild.any():
            return ""
        worst = int(np.argmax(np.where(is_wild, each, -np.inf)))
        beside = []
        if self._chance is not None:
            beside.append(f"{each[worst] / self._chance:.3g} times what a guess loses")
        if has_grown[worst]:
            beside.append(f"{each[worst] / first[worst]:.3g} times the first epoch's")
        of = f" of member {worst}" if len(each) > 1 else ""
        return (
            f"the {KINDS[kind]}{of} in epoch {epoch} is {each[worst]:.3g}, "
            f"{' and '.join(beside)}: a smaller {self._rate} may help"
        )


def _by_member(losses: Any) -> Float[np.ndarray, " member"]:
    """Returns losses of every member; NaN, which exceeds nothing, where None is."""
    return np.atleast_1d(np.asarray(losses, np.float64))
