"""Table of a grid's programs: running, done, failed, and the time that is left.

The table is told three events, by whatever runs the programs: one has started, has
finished, has failed. A terminal and a notebook show the table in place; elsewhere every
event is a line.
"""

import contextlib
import dataclasses
import html
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from darts_jax.errors import first_line
from darts_jax.html import results_table
from darts_jax.training.console import (
    format_duration,
    is_in_notebook,
    is_shown_in_place,
    print_status,
    progress_goes_to,
)

MOST_ROWS = 12
"""Programs that are shown at once; of more, those that a reader looks for."""

COLUMNS = ("program", "state", "time", "note")

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclasses.dataclass
class GridRow:
    """Program of a grid.

    Attributes:
      name: of the program.
      state: "waiting", "running", "done" or "failed".
      note: what it does now, or why it failed.
      began: time of its start in seconds.
      seconds: that it took, once it has ended.
      was_found: whether it was finished before, so that its time tells nothing.
    """

    name: str
    state: str = WAITING
    note: str = ""
    began: float = 0.0
    seconds: float = 0.0
    was_found: bool = False


class GridTable:
    """Programs of a grid, with what is known of each.

    Args:
      title: of the grid, as "ablation".
      names: of its programs, in order; others are added when they start.
      clock: returns seconds.
      total: number of programs, where more than the named ones are expected.

    Attributes:
      title: of the grid.
      listen: takes every event in words; "" where only a note has changed.
    """

    def __init__(
        self,
        title: str,
        names: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        total: int = 0,
    ) -> None:
        self.title = title
        self._rows = {name: GridRow(name) for name in names}
        self._clock = clock
        self._total = total
        self.listen: Callable[[str], None] = lambda event: None

    def start(self, *names: str) -> None:
        """Notes that programs run; one may run again, as after a lost worker.

        Args:
          *names: of the programs.
        """
        for name in names:
            self._rows[name] = GridRow(name, RUNNING, began=self._clock())
        self.listen(f"{_join(names)}: begun")

    def note(self, text: str, *names: str) -> None:
        """Notes what programs do now, those of them that still run.

        Args:
          text: in a few words.
          *names: of the programs.
        """
        for name in self._running(names):
            self._rows[name].note = text
        self.listen("")

    def finish(self, *names: str, was_found: bool = False) -> None:
        """Notes that programs have ended well.

        Args:
          *names: of the programs.
          was_found: whether an earlier call had finished them, and they were only read.
        """
        rows = [self._end(name, DONE, "found" if was_found else "") for name in names]
        for row in rows:
            row.was_found = was_found
        longest = max((row.seconds for row in rows), default=0.0)
        told = "found" if was_found else f"done in {format_duration(longest)}"
        if rows:
            self.listen(f"{_join(names)}: {told}")

    def fail(self, name: str, reason: str) -> None:
        """Notes that a program has ended badly.

        Args:
          name: of the program.
          reason: in a line.
        """
        self._end(name, FAILED, reason)
        self.listen(f"{name}: failed: {reason}")

    @contextlib.contextmanager
    def run(self, *names: str) -> Iterator[None]:
        """Shows a program of this process: its start, its loops' progress and its end.

        One that took no step was finished before.

        Args:
          *names: of the program, or of all that go in step in one.
        """
        self.start(*names)
        bars = _RowBars(self, names, are_shown=is_shown_in_place())
        try:
            with progress_goes_to(bars.make):
                yield
        except Exception as error:
            for name in self._running(names):
                self.fail(name, first_line(error))
            raise
        self.finish(*self._running(names), was_found=not bars.are_used)

    def has_failed(self, name: str) -> bool:
        """Returns whether a program has ended badly.

        Args:
          name: of the program.
        """
        return self._rows[name].state == FAILED

    def count(self, state: str) -> int:
        """Returns the number of programs in a state.

        Args:
          state: as in `GridRow`.
        """
        return sum(row.state == state for row in list(self._rows.values()))

    @property
    def total(self) -> int:
        """Number of all programs, as far as it is known."""
        return max(self._total, len(self._rows))

    def seconds_left(self) -> float | None:
        """Returns the time until all have ended; None before the first has.

        Programs are taken as long as those that have ended in this call, and as many
        to run at once as run now.
        """
        rows = list(self._rows.values())
        ended = [r.seconds for r in rows if r.state == DONE and not r.was_found]
        running = [self._clock() - r.began for r in rows if r.state == RUNNING]
        waiting = self.total - len(running) - self.count(DONE) - self.count(FAILED)
        if not waiting and not running:
            return 0.0
        if not ended:
            return None
        usual = sum(ended) / len(ended)
        left = waiting * usual + sum(max(usual - spent, 0.0) for spent in running)
        return left / max(len(running), 1)

    def summary(self) -> str:
        """Returns a line: how many are done, run and have failed, and the time left."""
        parts = [
            f"{self.count(DONE)} of {self.total} done",
            f"{self.count(RUNNING)} running",
            f"{self.count(FAILED)} failed",
        ]
        left = self.seconds_left()
        if left:
            parts.append(f"{format_duration(left)} left")
        return ", ".join(parts)

    def rows(self, most: int = MOST_ROWS) -> list[dict[str, str]]:
        """Returns rows to show: program, state, time and note.

        Args:
          most: number of rows; running and failed programs come before those that
            have ended last, and these before those that wait.
        """
        rows = list(self._rows.values())
        by_interest = sorted(range(len(rows)), key=lambda i: _interest(i, rows[i]))
        shown = [rows[i] for i in sorted(by_interest[:most])]
        told = [self._describe(row) for row in shown]
        hidden = len(rows) - len(shown)
        return told + ([{"program": f"and {hidden} more"}] if hidden else [])

    def _running(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if self._rows[name].state == RUNNING]

    def _describe(self, row: GridRow) -> dict[str, str]:
        spent = self._clock() - row.began if row.state == RUNNING else row.seconds
        has_time = row.state != WAITING and not row.was_found
        return {
            "program": row.name,
            "state": row.state,
            "time": format_duration(spent) if has_time else "",
            "note": row.note,
        }

    def _end(self, name: str, state: str, note: str) -> GridRow:
        row = self._rows.setdefault(name, GridRow(name, began=self._clock()))
        seconds = self._clock() - row.began if row.state == RUNNING else 0.0
        row.state = state
        row.note = note
        row.seconds = seconds
        return row


@contextlib.contextmanager
def show_grid(
    title: str, names: Sequence[str] = (), total: int = 0
) -> Iterator[GridTable]:
    """Shows a table of a grid's programs while they run.

    Args:
      title: of the grid.
      names: of its programs, in order.
      total: number of programs, where more than the named ones are expected.

    Yields:
      The `GridTable`, to tell events to.
    """
    table = GridTable(title, names, total=total)
    with _choose_display()(table) as table.listen:
        yield table


def _join(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{len(names)} programs"


def _interest(place: int, row: GridRow) -> tuple[int, int]:
    """Returns what programs are sorted by, those first that a reader looks for."""
    if row.state == WAITING:
        return 2, place
    return (1, -place) if row.state == DONE else (0, place)


class _RowBars:
    """Progress of one program's loops, as the note of its rows.

    Attributes:
      are_used: whether a loop has begun.
    """

    def __init__(self, table: GridTable, names: Sequence[str], are_shown: bool) -> None:
        self._table = table
        self._names = names
        self._are_shown = are_shown
        self.are_used = False

    def make(self, total: int, description: str, done: int) -> "_RowBar | None":
        """Returns the bar of one loop; None where its epochs are lines."""
        self.are_used = True
        if not self._are_shown:
            return None

        def tell(text: str) -> None:
            self._table.note(text, *self._names)

        return _RowBar(tell, description, total, done)


class _RowBar:
    """Bar of a loop that is a row's note; called as tqdm's."""

    def __init__(
        self, tell: Callable[[str], None], description: str, total: int, done: int
    ) -> None:
        self._tell = tell
        self._description = description
        self._total = total
        self._done = done
        self._shown = ""

    def set_postfix(self, shown: Mapping[str, str], refresh: bool = True) -> None:
        self._shown = ", ".join(f"{name} {value}" for name, value in shown.items())
        if refresh:
            self.update(0)

    def update(self, steps: int) -> None:
        self._done += steps
        share = f"{self._done / self._total:.0%}"
        self._tell(f"{self._description} {share}  {self._shown}".rstrip())


def _choose_display() -> Callable[[GridTable], Any]:
    if not is_shown_in_place():
        return _show_lines
    return _show_in_notebook if is_in_notebook() else _show_on_terminal


@contextlib.contextmanager
def _show_lines(table: GridTable) -> Iterator[Callable[[str], None]]:
    """Prints every event, with how far the grid is."""

    def listen(event: str) -> None:
        if event:
            print_status(f"{table.title}: {event} ({table.summary()})")

    yield listen


@contextlib.contextmanager
def _show_on_terminal(table: GridTable) -> Iterator[Callable[[str], None]]:
    """Keeps the table below all that is printed meanwhile."""
    # Rich takes a moment to import: only where a table is shown.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

    def draw() -> Group:
        drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column in COLUMNS:
            side = "right" if column == "time" else "left"
            drawn.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
        for row in table.rows():
            drawn.add_row(*(row.get(column, "") for column in COLUMNS))
        return Group(f"{table.title}: {table.summary()}", drawn)

    terminal = Console(file=sys.stderr, markup=False, highlight=False)
    with Live(console=terminal, get_renderable=draw, refresh_per_second=1) as live:
        yield lambda event: live.refresh() if event else None


@contextlib.contextmanager
def _show_in_notebook(table: GridTable) -> Iterator[Callable[[str], None]]:
    """Keeps the table in one place of the cell's output."""
    from IPython.display import HTML, display

    def draw() -> Any:
        told = html.escape(f"{table.title}: {table.summary()}")
        return HTML(f"<p>{told}</p>{results_table(table.rows())}")

    handle = display(draw(), display_id=True)
    drawn = time.monotonic()

    def listen(event: str) -> None:
        nonlocal drawn
        if event or time.monotonic() - drawn >= 1:
            drawn = time.monotonic()
            handle.update(draw())

    yield listen
    handle.update(draw())
