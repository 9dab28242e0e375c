"""Tables and signals from CSV files.

A table is ``train.csv`` and ``test.csv`` in a folder, or one file, of which every fifth
row of each class, or of the order of the numbers to be predicted, is a test row. The
first line names the columns, one of which has the classes or these numbers. Signals of
one channel are the same: a row is a signal, its steps in the order of the columns.
Signals of any number of channels are files of their own, ``train/CLASS/*.csv`` and
``test/CLASS/*.csv``: a row a step, a column a channel, the first line their names.
Cells are separated by commas, or by semicolons or tabs if those of the first line are.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.reading import Reading
from darts_jax.errors import InputError

LABELS = ("label", "class", "target")
"""Usual names of the column with the labels, in lower or upper case."""

_TEST = ("test", "val", "valid", "validation")
_SEPARATORS = ",;\t"
_SHOWN = 8  # names of columns in a message


@dataclasses.dataclass(frozen=True)
class _Table:
    """Cells of a file, as texts.

    Attributes:
      path: of the file.
      columns: names in its first line.
      rows: one list of cells for each further line that is not empty.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]

    def part(self, numbers: Iterable[int]) -> "_Table":
        """Returns the table of some rows."""
        return dataclasses.replace(self, rows=[self.rows[i] for i in numbers])


def load_csv(path: Path, reading: Reading) -> Dataset:
    """Loads a table or signals.

    Args:
      path: of a file, or of a folder.
      reading: with the kind of data, the name of the column of labels, and what labels
        are.

    Returns:
      The data set, under the name of the file or folder.

    Raises:
      InputError: files are missing or in another encoding than UTF-8, columns differ,
        a cell of a signal or a number to be predicted is none, or the space takes
        images.
    """
    if reading.kind == "images":
        raise InputError(
            f"csv:{path} is for tables and signals, and the space takes images; want "
            "space=mlp for a table, or space=darts_1d for signals"
        )
    if path.is_file():
        whole = _read(path)
        return _join(*_split(whole, reading), reading, path.stem)
    name = path.resolve().name
    test = next((part for part in _TEST if _holds(path, part)), "test")
    files = [path / "train.csv", path / f"{test}.csv"]
    if all(file.is_file() for file in files):
        train_table, test_table = map(_read, files)
        return _join(train_table, test_table, reading, name)
    folders = [path / "train", path / test]
    if reading.kind == "signals" and all(folder.is_dir() for folder in folders):
        if reading.labels == "numbers":
            raise InputError(
                f"csv:{path} has a folder for each class, and numbers are to be "
                "predicted; want train.csv and test.csv, a row a signal"
            )
        return _load_folders(path / "train", path / test, name)
    wanted = "train.csv and test.csv"
    if reading.kind == "signals":
        wanted += ", or folders train/CLASS and test/CLASS of a file for each signal"
    raise InputError(f"csv:{path} is no file and holds no data; want {wanted} in it")


def _holds(path: Path, part: str) -> bool:
    return (path / f"{part}.csv").is_file() or (path / part).is_dir()


def _read(path: Path) -> _Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}") from None
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    columns: list[str] = []
    try:
        columns = [name.strip() for name in next(reader, [])]
        for row in filter(None, reader):
            if len(row) != len(columns):
                raise InputError(
                    f"{path} line {reader.line_num} has {len(row)} cells, and the "
                    f"first line {len(columns)} names; want as many"
                )
            rows.append([cell.strip() for cell in row])
    except csv.Error as error:
        raise InputError(f"{path} is no CSV: {error}") from None
    if not rows:
        raise InputError(f"{path} has no rows; want a line of names, then rows")
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(f"{path} names two columns {twice!r}; want different names")
    return _Table(path, columns, rows)


def _find_label(table: _Table, reading: Reading) -> int:
    """Returns the number of the column with the labels."""
    wanted = [reading.label] if reading.label else list(LABELS)
    for name in wanted:
        for i, column in enumerate(table.columns):
            if column == name or (not reading.label and column.lower() == name):
                return i
    shown = ", ".join(table.columns[:_SHOWN])
    more = ", ..." if len(table.columns) > _SHOWN else ""
    raise InputError(
        f"{table.path} has no column {' or '.join(wanted)}; want --config.data.label="
        f"NAME with one of {shown}{more}"
    )


def _split(table: _Table, reading: Reading) -> tuple[_Table, _Table]:
    """Returns rows to train on, and every fifth row in the labels' order to test on."""
    label = _find_label(table, reading)
    labels = np.array([row[label] for row in table.rows])
    if reading.labels == "numbers":
        labels = _as_targets(table, label)
    order = np.argsort(labels, kind="stable")
    is_test = np.isin(np.arange(len(order)), order[::5])
    return table.part(np.flatnonzero(~is_test)), table.part(np.flatnonzero(is_test))


def _join(train: _Table, test: _Table, reading: Reading, name: str) -> Dataset:
    """Returns the data set of training and test rows with the classes among them."""
    if train.columns != test.columns:
        strange = sorted({*train.columns} ^ {*test.columns}) or ["another order"]
        raise InputError(
            f"{test.path} has other columns than {train.path.name} "
            f"({', '.join(strange[:_SHOWN])}); want the same in the same order"
        )
    label = _find_label(train, reading)
    cells: dict[str, Any] = {
        part: [row[:label] + row[label + 1 :] for row in table.rows]
        for part, table in (("train", train), ("test", test))
    }
    if reading.kind == "signals":
        cells = {
            part: _as_numbers(rows, f"{name}: {part}") for part, rows in cells.items()
        }
    named = train.columns[:label] + train.columns[label + 1 :]
    columns = named if reading.kind == "tables" else None
    if reading.labels == "numbers":
        return from_arrays(
            cells["train"],
            _as_targets(train, label),
            cells["test"],
            _as_targets(test, label),
            name=name,
            kind=reading.kind,
            columns=columns,
            target=train.columns[label],
        )
    return _make_dataset(
        cells["train"],
        [row[label] for row in train.rows],
        cells["test"],
        [row[label] for row in test.rows],
        name=name,
        kind=reading.kind,
        columns=columns,
    )


def _as_targets(table: _Table, label: int) -> np.ndarray:
    """Returns the numbers to be predicted, float64 [row]."""
    numbers = np.empty(len(table.rows))
    for i, row in enumerate(table.rows):
        try:
            numbers[i] = float(row[label])
        except ValueError:
            raise InputError(
                f"{table.path}: {row[label]!r} in row {i + 1} of column "
                f"{table.columns[label]!r} is no number to be predicted; want numbers "
                "in all rows, or task=classification"
            ) from None
    return numbers


def _load_folders(train: Path, test: Path, name: str) -> Dataset:
    parts = [_load_signals(train, name), _load_signals(test, name)]
    lengths = {len(signal): file for signals, _ in parts for file, signal in signals}
    if len(lengths) > 1:
        (one, first), (other, second), *_ = lengths.items()
        raise InputError(
            f"{first} has {one} steps and {second} {other}; want signals of one length"
        )
    (train_signals, train_classes), (test_signals, test_classes) = parts
    return _make_dataset(
        [signal for _, signal in train_signals],
        train_classes,
        [signal for _, signal in test_signals],
        test_classes,
        name=name,
        kind="signals",
    )


def _load_signals(
    folder: Path, name: str
) -> tuple[list[tuple[Path, np.ndarray]], list[str]]:
    """Returns files with their signals [length, channel], and the class of each."""
    files = sorted(folder.glob("*/*.csv"))
    if not files:
        raise InputError(f"{folder} holds no CLASS/*.csv; want a file for each signal")
    tables = [_read(file) for file in files]
    for table in tables:
        if table.columns != tables[0].columns:
            raise InputError(
                f"{table.path} has other channels than {tables[0].path}; want the same "
                "first line in all files"
            )
    signals = [(t.path, _as_numbers(t.rows, str(t.path))) for t in tables]
    return signals, [file.parent.name for file in files]


def _as_numbers(rows: Sequence[Sequence[str]], what: str) -> np.ndarray:
    """Returns cells as float64 [row, column]."""
    try:
        return np.array(rows, float)
    except ValueError:
        pass
    for i, row in enumerate(rows, start=1):
        for j, cell in enumerate(row, start=1):
            try:
                float(cell)
            except ValueError:
                raise InputError(
                    f"{what}: {cell!r} in row {i}, column {j} is no number; signals "
                    "have no gaps"
                ) from None
    raise InputError(f"{what}: rows of unequal lengths")


def _make_dataset(
    train: Any,
    train_classes: Sequence[str],
    test: Any,
    test_classes: Sequence[str],
    *,
    name: str,
    kind: str,
    columns: Sequence[str] | None = None,
) -> Dataset:
    """Returns a data set with the classes of the training rows, in order."""
    if "" in train_classes or "" in test_classes:
        raise InputError(f"{name}: a row has no class; fill its cell, or leave it out")
    classes = sorted(set(train_classes), key=_class_order)
    if len(classes) == len(train_classes) > 2:
        raise InputError(
            f"{name}: each training row has a class of its own; want classes in the "
            "column of labels, or task=regression, by which numbers are predicted"
        )
    strange = sorted(set(test_classes) - set(classes))
    if strange:
        raise InputError(
            f"{name}: test rows have the class {strange[0]!r}, and no training row "
            f"has; known: {', '.join(classes[:_SHOWN])}"
        )
    number = {known: i for i, known in enumerate(classes)}
    return from_arrays(
        train,
        [number[known] for known in train_classes],
        test,
        [number[known] for known in test_classes],
        name=name,
        class_names=classes,
        kind=kind,
        columns=columns,
    )


def _class_order(text: str) -> tuple[bool, float, str]:
    """Returns a key by which numbers stand in their order, before words."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
