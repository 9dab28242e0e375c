"""Mistakes of the user, told in one line. The command line turns them into status 2."""

import difflib
from collections.abc import Sequence


class InputError(ValueError):
    """A mistake in what the user gave, explained in one line."""


class DataWarning(UserWarning):
    """Something about data that a user should know, though it is no mistake."""


def first_line(error: Exception) -> str:
    """Returns the first line of what an exception says, or its name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def unknown_name_error(kind: str, name: object, known: Sequence[str]) -> InputError:
    """The error for a name that is not in a table, with the nearest one."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {kind} {name!r}; {hint}")
