"""Seconds, rows and tables, as all benchmarks take and print them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

Row = dict[str, Any]
Turn = Callable[[], Any]


def seconds_of(turn: Turn) -> float:
    """Seconds until what a function returns is there."""
    began = time.perf_counter()
    jax.block_until_ready(turn())
    return time.perf_counter() - began


def take_turns(turns: Mapping[str, Turn], rounds: int) -> dict[str, list[float]]:
    """Seconds of every function in every round.

    They take turns, so that whatever slows the machine slows all.
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            seconds[name].append(seconds_of(turn))
    return seconds


def repeat(step: Turn, times: int) -> Turn:
    """A function that takes some steps and returns what the last one does."""

    def turn() -> Any:
        for _ in range(times - 1):
            step()
        return step()

    return turn


def run_alone(*options: str, timeout: float | None = None) -> Any:
    """The last line that this command prints in a process with further options.

    Raises:
      subprocess.TimeoutExpired: it did not end in ``timeout`` seconds.
    """
    command = [sys.executable, *sys.argv, *options]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=timeout
    )
    return json.loads(done.stdout.splitlines()[-1])


def format_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Lines of a table: names to the left, numbers to the right.

    Columns that no row has are left out.
    """
    columns = [c for c in columns if any(row.get(c) is not None for row in rows)]
    cells = [list(columns)]
    cells += [[_format_value(row.get(c)) for c in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words = {c for c in columns if any(isinstance(row.get(c), str) for row in rows)}

    def line(values: Sequence[str]) -> str:
        placed = (
            value.ljust(width) if c in words else value.rjust(width)
            for c, value, width in zip(columns, values, widths, strict=True)
        )
        return "  ".join(placed).rstrip()

    return "\n".join(map(line, cells))


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
