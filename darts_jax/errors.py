"""Errors of the user's input, in one line; the command line exits with status 2."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeVar

_T = TypeVar("_T")


class InputError(ValueError):
    """Mistake in the user's input, explained in one line."""


class DataWarning(UserWarning):
    """Warning about data that a user should know of, though it is no mistake."""


def first_line(error: Exception) -> str:
    """Returns the first line of an exception's message, or its name.

    Args:
      error: any exception.
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def unknown_name_error(kind: str, name: object, known: Sequence[str]) -> InputError:
    """Returns the error for a name that is not in a table, with the nearest one.

    Args:
      kind: of the name, as "space".
      name: what was asked for.
      known: names of the table.
    """
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {kind} {name!r}; {hint}")


def look_up(table: Mapping[str, _T], name: str, kind: str) -> _T:
    """Returns the entry of a name.

    Args:
      table: name -> entry.
      name: what was asked for.
      kind: of the name, as "space".

    Raises:
      InputError: there is none; the message has the nearest name.
    """
    if name not in table:
        raise unknown_name_error(kind, name, list(table))
    return table[name]
