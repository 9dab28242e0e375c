"""Tables: columns of numbers and of words as numbers [n, 1, 1, column].

The columns are those of the training rows:

- a column whose known cells all are numbers stays one column. A missing number is NaN
  here and, once it is standardised, 0: the mean. Where training rows lack numbers, a
  column ``NAME missing`` of zeros and ones follows;
- a column of words is one column ``NAME=WORD`` of zeros and ones for each word of the
  training rows, in their order as text. All are 0 where the word is missing, or is none
  of the training rows, of which a `DataWarning` tells.

A cell is missing if it is None, NaN, or a text of ``MISSING``.
"""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from darts_jax.errors import DataWarning, InputError

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?")
"""Texts of a cell that has no value."""

MOST_WORDS = 100
"""Largest number of different words of a column."""

Numbers = Float[np.ndarray, "n 1 1 column"]


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column of the training rows.

    Attributes:
      name: in the header.
      words: different words; empty for a column of numbers.
      lacks: whether numbers are missing.
    """

    name: str
    words: tuple[str, ...]
    lacks: bool

    @property
    def names(self) -> list[str]:
        """Names of the columns of numbers that are made of it."""
        if self.words:
            return [f"{self.name}={word}" for word in self.words]
        return [self.name, *([f"{self.name} missing"] if self.lacks else [])]


def encode_tables(
    train: Any, test: Any, name: str, columns: Sequence[str] | None = None
) -> tuple[Numbers, Numbers, tuple[str, ...]]:
    """Returns training and test rows as numbers, and the names of their columns.

    Args:
      train: cells [n, column]: an array of numbers, or rows of numbers, texts and None.
      test: like ``train``.
      name: of the data set, in messages.
      columns: names of the columns; None: ``column 1`` and so on.

    Raises:
      InputError: rows differ in their length, a cell of a column of numbers is none, or
        a column has no value at all, or more than ``MOST_WORDS`` words.
    """
    parts = {"train": _as_cells(train, f"{name}: train tables")}
    parts["test"] = _as_cells(test, f"{name}: test tables")
    width = parts["train"].shape[1]
    if parts["test"].shape[1] != width:
        raise InputError(
            f"{name}: train rows have {width} columns and test rows "
            f"{parts['test'].shape[1]}; both must have the same"
        )
    names = list(columns or (f"column {i}" for i in range(1, width + 1)))
    if len(names) != width or len(set(names)) < width:
        raise InputError(
            f"{name}: {len(names)} names, {len(set(names))} of them different, for "
            f"{width} columns; want one for each"
        )
    known = [
        _find_column(own, cells, f"{name}: train column {own!r}")
        for own, cells in zip(names, parts["train"].T, strict=True)
    ]
    rows = {
        part: _encode(cells, known, f"{name}: {part}") for part, cells in parts.items()
    }
    encoded = tuple(made for column in known for made in column.names)
    return rows["train"], rows["test"], encoded


def _as_cells(rows: Any, what: str) -> np.ndarray:
    """Returns float64 or objects [n, column]."""
    try:
        cells = np.asarray(rows)
        if cells.dtype.kind not in "iufb":
            cells = np.asarray(rows, object)
    except ValueError:
        raise InputError(f"{what} have rows of unequal lengths") from None
    if cells.ndim != 2 or not cells.size:
        raise InputError(
            f"{what} have shape {cells.shape}, must be [n, column], with some of either"
        )
    return cells if cells.dtype.kind == "O" else cells.astype(np.float64)


def _find_column(name: str, cells: np.ndarray, what: str) -> _Column:
    missing = np.array([_is_missing(cell) for cell in cells])
    if missing.all():
        raise InputError(f"{what} has no value; leave it out")
    known = cells[~missing]
    strange = [cell for cell in known if _number(cell) is None]
    if not strange:
        return _Column(name, (), bool(missing.any()))
    if len(strange) < len(known) / 2:
        raise InputError(
            f"{what}: {str(strange[0])!r} is no number, as {len(known) - len(strange)} "
            "others are; want numbers alone, or no value: an empty cell, "
            f"{', '.join(MISSING[1:])}"
        )
    words = sorted({str(cell) for cell in known})
    if len(words) > MOST_WORDS:
        raise InputError(
            f"{what} has {len(words)} different words, and {MOST_WORDS} at most are "
            "taken; leave it out, or join some of them"
        )
    return _Column(name, tuple(words), False)


def _encode(cells: np.ndarray, columns: Sequence[_Column], what: str) -> Numbers:
    made: list[np.ndarray] = []
    for column, given in zip(columns, cells.T, strict=True):
        named = f"{what} column {column.name!r}"
        made += (
            _encode_words(given, column, named)
            if column.words
            else _encode_numbers(given, column, named)
        )
    return np.stack(made, axis=-1).astype(np.float32)[:, None, None]


def _encode_words(cells: np.ndarray, column: _Column, what: str) -> list[np.ndarray]:
    texts = np.array([None if _is_missing(c) else str(c) for c in cells], object)
    strange = sorted({text for text in texts if text is not None} - {*column.words})
    if strange:
        warnings.warn(
            f"{what} has {strange[0]!r}, which no training row has, and is taken as "
            f"missing ({len(strange)} such words)",
            DataWarning,
            stacklevel=5,
        )
    return [texts == word for word in column.words]


def _encode_numbers(cells: np.ndarray, column: _Column, what: str) -> list[np.ndarray]:
    numbers = np.empty(len(cells))
    for i, cell in enumerate(cells):
        number = math.nan if _is_missing(cell) else _number(cell)
        if number is None:
            raise InputError(
                f"{what}: {str(cell)!r} in row {i + 1} is no number, as in the "
                "training rows"
            )
        if math.isinf(number) or abs(number) > np.finfo(np.float32).max:
            raise InputError(f"{what}: {cell} in row {i + 1} is not finite")
        numbers[i] = number
    return [numbers, *([np.isnan(numbers)] if column.lacks else [])]


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip() in MISSING
    return cell is None or cell != cell


def _number(cell: Any) -> float | None:
    """Returns the number of a cell; None if it is none."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None
