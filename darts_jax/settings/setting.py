"""A setting's entry in the schema, and the kinds of values that a setting may have.

A kind accepts, refuses and describes values. Its text goes on after "want", so that a
refusal and the reference say the same.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.settings.schedules import Schedule

Value = bool | int | float | str


class Values(abc.ABC):
    """Values that a setting may have."""

    @abc.abstractmethod
    def accepts(self, value: Any) -> bool:
        """Returns whether the setting may have a value of the right type.

        Args:
          value: of the type of the setting's default.

        Raises:
          InputError: it cannot be read, and the message says why.
        """

    @abc.abstractmethod
    def __str__(self) -> str: ...

    def require(self, key: str, value: Any) -> None:
        """Raises InputError, in one line, unless the setting may have the value.

        Args:
          key: the setting's dotted name.
          value: of the type of the setting's default.
        """
        if not self.accepts(value):
            raise InputError(f"setting {key} is {value}; want {self}")


class _Anything(Values):
    """Every value of the default's type."""

    def accepts(self, value: Any) -> bool:
        del value
        return True

    def __str__(self) -> str:
        return ""


ANYTHING = _Anything()


@dataclasses.dataclass(frozen=True)
class Range(Values):
    """Numbers between two bounds, each of which is left open where it is None.

    Attributes:
      least: lower bound that is allowed itself.
      above: lower bound that is not.
      most: upper bound that is allowed itself.
      below: upper bound that is not.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def accepts(self, value: Any) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        low = self.least
        high = self.most
        if self.below is not None:
            if low is None:
                return f"between {self.above:g} and {self.below:g}"
            return f"in [{low:g}, {_short(self.below)})"
        if high is not None:
            if low is None:
                return f"in ({self.above:g}, {high:g}]"
            whole = isinstance(low, int)
            return f"{low} to {high}" if whole else f"in [{low:g}, {high:g}]"
        if self.above is not None:
            return f"above {self.above:g}"
        if low is not None:
            return f"at least {low:g}" if low else "0 or more"
        return ""


def _short(number: float) -> str:
    return "2**31" if number == 2**31 else f"{number:g}"


POSITIVE = Range(least=1)
COUNT = Range(least=0)
ABOVE_0 = Range(above=0)
SHARE = Range(least=0, below=1)
UNTIL_1 = Range(above=0, most=1)


@dataclasses.dataclass(frozen=True)
class OneOf(Values):
    """Some values, listed.

    Attributes:
      listed: all of them.
    """

    listed: Collection[Value]

    def accepts(self, value: Any) -> bool:
        return value in self.listed

    def __str__(self) -> str:
        *others, last = (str(value) for value in self.listed)
        if all(isinstance(value, str) for value in self.listed):
            return f"one of {', '.join([*others, last])}"
        return f"{', '.join(others)} or {last}"


@dataclasses.dataclass(frozen=True)
class Registered(Values):
    """Names of functions in a table that users extend.

    Attributes:
      table: name -> function, as it is when a value is checked.
      besides: names that stand for no function of the table.
    """

    table: Mapping[str, Any]
    besides: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """Every name that is known now."""
        return [*self.besides, *self.table]

    def accepts(self, value: Any) -> bool:
        return value in self.besides or value in self.table

    def require(self, key: str, value: Any) -> None:
        if not self.accepts(value):
            raise unknown_name_error(key.split(".")[-1], value, self.names)

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


@dataclasses.dataclass(frozen=True)
class Scheduled(Values):
    """Texts of schedules, as ``5``, ``10:0.1`` or ``10:0.1:cosine``.

    Attributes:
      ends: values that both ends may have.
    """

    ends: Range = Range()

    def accepts(self, value: Any) -> bool:
        schedule = Schedule.parse(value)
        return self.ends.accepts(schedule.low) and self.ends.accepts(schedule.high)

    def __str__(self) -> str:
        words = str(self.ends)
        of = "of " if self.ends.least is not None else ""
        return f"a schedule {of}{words}".rstrip()


@dataclasses.dataclass(frozen=True)
class Parsed(Values):
    """Texts that a function reads.

    Attributes:
      parse: reads a text; raises InputError, which says what is wrong with it.
      example: texts that it reads, in words.
    """

    parse: Callable[[str], object]
    example: str

    def accepts(self, value: Any) -> bool:
        self.parse(value)
        return True

    def __str__(self) -> str:
        return self.example


class ClassWeights(Values):
    """Weights of classes in a loss: by name, or a number for each."""

    def accepts(self, value: Any) -> bool:
        return value in ("none", "balanced") or bool(class_weight_numbers(value))

    def __str__(self) -> str:
        return "none, balanced, or a number of 0 or more for each class, as 1,2,0.5"


def class_weight_numbers(text: str) -> list[float]:
    """Returns the numbers of ``data.class_weights``; [] where they are none.

    Args:
      text: numbers of 0 or more, not all of them 0, separated by commas.
    """
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        return []
    sound = all(math.isfinite(number) and number >= 0 for number in numbers)
    return numbers if sound and any(numbers) else []


@dataclasses.dataclass(frozen=True)
class Setting:
    """An entry of the schema: one setting.

    Attributes:
      default: its value where nothing else is given, which has the setting's type.
      help: what it is, in a sentence.
      values: those that it may have, of the default's type.
      unit: of its number, such as "epochs"; "" where it has none.
      scalar: dotted name of the number in a step's `Scalars`; "" where a step has none,
        as the setting shapes the program or is read outside of it.
      by_member: whether members of a population may differ in it though it is no scalar
        of a search's step. They may in all that are.
    """

    default: Value
    help: str
    values: Values = ANYTHING
    unit: str = ""
    scalar: str = ""
    by_member: bool = False

    @property
    def is_scheduled(self) -> bool:
        """Says whether its number may change by epoch."""
        return isinstance(self.values, Scheduled)
