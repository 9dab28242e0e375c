"""Terminal and notebook output: status lines, a progress bar, tables."""

import contextlib
import contextvars
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from darts_jax.training.processes import is_writer

MakeBar = Callable[[int, str, int], Any]
"""Steps of a loop, its description and its steps done -> a bar as tqdm's, or None."""

_make_bar = contextvars.ContextVar[MakeBar | None]("make_bar", default=None)


def print_status(text: str) -> None:
    """Prints a line to standard error, in process 0 alone.

    Args:
      text: without the end of the line.
    """
    if is_writer():
        print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass
class Progress:
    """Progress bar on a terminal or in a notebook; elsewhere, one line an epoch.

    Attributes:
      bar: of tqdm; None where lines are printed.
      total: steps of the whole loop.
      first: number of them that an earlier process did.
      description: stands before the bar or the line.
      unit: of the examples that steps read.
    """

    bar: Any
    total: int
    first: int
    description: str
    unit: str = "images"

    def __post_init__(self) -> None:
        self._done = self.first
        self._began = self._before = time.perf_counter()
        self._shown: dict[str, str] = {}

    def advance(self, steps: int, examples: int, **values: float) -> None:
        """Shows that steps have been done.

        Args:
          steps: number of them.
          examples: number that they read.
          **values: stand beside the bar, as the loss and the accuracy.
        """
        now = time.perf_counter()
        rate = examples / max(now - self._before, 1e-9)
        self._before = now
        self._done += steps
        self._shown |= {name: f"{value:.4f}" for name, value in values.items()}
        self._shown |= {f"{self.unit}/s": f"{rate:.0f}"}
        if self.bar is not None:
            self.bar.set_postfix(self._shown, refresh=False)
            self.bar.update(steps)

    def end_epoch(self, epoch: int, epochs: int, **values: float) -> None:
        """Shows that an epoch is over.

        Args:
          epoch: from 1.
          epochs: of the whole loop.
          **values: known only now, as the score on held-out data.
        """
        self._shown |= {name: f"{value:.4f}" for name, value in values.items()}
        if self.bar is not None:
            self.bar.set_postfix(self._shown)
            return
        shown = "  ".join(f"{name} {value}" for name, value in self._shown.items())
        line = f"{self.description} {epoch}/{epochs}  {shown}  {self._left()} left"
        print_status(line)

    def _left(self) -> str:
        elapsed = time.perf_counter() - self._began
        steps = max(self._done - self.first, 1)
        return format_duration(elapsed / steps * (self.total - self._done))


@contextlib.contextmanager
def show_progress(
    total: int, description: str, done: int = 0, unit: str = "images"
) -> Iterator[Progress]:
    """Shows the progress of a loop on standard error.

    Args:
      total: steps of the whole loop.
      description: stands before the bar or the line.
      done: number of the steps that an earlier process did.
      unit: of the examples that steps read.

    Yields:
      The progress to report to.
    """
    make_bar = _make_bar.get()
    if make_bar is not None:
        bar = make_bar(total, description, done)
        yield Progress(bar, total, done, description, unit)
        return
    if not is_shown_in_place():
        yield Progress(None, total, done, description, unit)
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=done, desc=description, unit="step") as bar:
        yield Progress(bar, total, done, description, unit)


@contextlib.contextmanager
def progress_goes_to(make_bar: MakeBar) -> Iterator[None]:
    """Shows the progress of loops elsewhere, as in the row of a table.

    Args:
      make_bar: makes the bar of each loop that begins; None has it print lines.
    """
    token = _make_bar.set(make_bar)
    try:
        yield
    finally:
        _make_bar.reset(token)


def is_part_of_grid() -> bool:
    """Returns whether a table shows the progress of what runs now."""
    return _make_bar.get() is not None


def is_shown_in_place() -> bool:
    """Returns whether progress is redrawn: on a terminal or in a notebook."""
    return is_writer() and (sys.stderr.isatty() or is_in_notebook())


def format_duration(seconds: float) -> str:
    """Returns a time as hours, minutes and seconds, ``0:01:02``.

    Args:
      seconds: of it.
    """
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def format_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Returns a table as plain text: a header, a rule, a line for each row.

    Args:
      rows: column -> value; a column that a row lacks stays empty.
      columns: to show, in order.
    """
    cells = [[_format(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    right = [
        all(isinstance(row.get(column), int | float | None) for row in rows)
        for column in columns
    ]

    def line(texts: Sequence[str]) -> str:
        aligned = (
            text.rjust(width) if numeric else text.ljust(width)
            for text, width, numeric in zip(texts, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    rule = ["-" * width for width in widths]
    return "".join(line(texts) + "\n" for texts in (list(columns), rule, *cells))


def short_name(setting: str) -> str:
    """Returns the last part of a setting's name, for headings.

    Args:
      setting: with dots, as "search.epochs".
    """
    return setting.rpartition(".")[2]


def _format(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def is_in_notebook() -> bool:
    """Returns whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})
