"""Table of a grid's programs, as lines, on a terminal and in a notebook."""

import io
import sys
import types

import pytest

from darts_jax.errors import InputError
from darts_jax.training import console, grid_table
from darts_jax.training.grid_table import GridTable, show_grid


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def states(table: GridTable) -> dict[str, str]:
    return {row["program"]: row["state"] for row in table.rows(most=100)}


def test_time_left_is_that_of_programs_run_at_once() -> None:
    clock = Clock()
    table = GridTable("ablation", [f"p{i}" for i in range(6)], clock)
    assert table.seconds_left() is None
    table.finish("p0", was_found=True)  # tells nothing of the others
    table.start("p1", "p2")
    assert table.seconds_left() is None
    clock.now = 10.0
    table.finish("p1")
    table.start("p3")
    clock.now = 14.0
    # p2 is over its 10 s, p3 has 6 s left, p4 and p5 take 10 s; two run at once.
    assert table.seconds_left() == (0 + 6 + 20) / 2
    table.fail("p2", "worker lost")
    assert table.summary() == "2 of 6 done, 1 running, 1 failed, 0:00:26 left"
    for name in ("p3", "p4", "p5"):
        table.finish(name)
    table.start("p2")  # again, on another worker
    assert states(table)["p2"] == "running"
    table.finish("p2")
    assert table.summary() == "6 of 6 done, 0 running, 0 failed"


def test_of_many_programs_those_that_matter_are_shown_in_order() -> None:
    table = GridTable("front", [f"p{i:02}" for i in range(30)])
    for i in range(12):
        table.start(f"p{i:02}")
        table.finish(f"p{i:02}")
    table.start("p12", "p20")
    table.fail("p12", "out of memory")
    shown = table.rows(most=5)
    names = [row["program"] for row in shown]
    assert names == ["p09", "p10", "p11", "p12", "p20", "and 25 more"]
    assert shown[3]["note"] == "out of memory"


def test_programs_are_added_as_they_start() -> None:
    table = GridTable("random", total=3)
    table.start("genotype 1")
    assert table.summary() == "0 of 3 done, 1 running, 0 failed"


def run_programs() -> None:
    with show_grid("ablation", ["softmax", "sigmoid", "both"]) as table:
        with table.run("softmax"), console.show_progress(4, "search") as bar:
            bar.advance(2, 128, loss=1.5)
            bar.end_epoch(1, 2, held_out=0.5)
            if bar.bar is not None:
                (row, *_) = table.rows()
                assert row["note"].startswith("search 50%  loss 1.5000")
        with table.run("sigmoid"):
            pass  # read, as no loop began
        with pytest.raises(InputError), table.run("both"):
            raise InputError("no [bold] room\nat all")


def test_a_log_has_a_line_for_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    run_programs()
    begun, epoch, *rest = capsys.readouterr().err.splitlines()
    assert begun == "ablation: softmax: begun (0 of 3 done, 1 running, 0 failed)"
    assert epoch.startswith("search 1/2  loss 1.5000")
    assert rest[0].startswith("ablation: softmax: done in 0:00:00 (1 of 3 done")
    assert rest[2].startswith("ablation: sigmoid: found (2 of 3 done")
    assert rest[-1] == (
        "ablation: both: failed: no [bold] room (2 of 3 done, 0 running, 1 failed)"
    )


def test_a_terminal_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    run_programs()
    assert sys.stderr is terminal
    written = terminal.getvalue()
    up = "\x1b[1A"  # goes up to draw over what it drew
    last = written.split(up)[-1]
    assert "ablation: 2 of 3 done, 0 running, 1 failed" in last
    assert "no [bold] room" in last
    assert written.count(up) > 20
    # A loop outside of a table has its own bar again.
    assert not console.is_part_of_grid()


def test_a_notebook_has_one_output(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, page: str) -> None:
            shown[-1] = page

    def display(page: str, display_id: bool) -> Handle:
        assert display_id
        shown.append(page)
        return Handle()

    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    place = types.ModuleType("IPython.display")
    place.HTML = str  # type: ignore[attr-defined]
    place.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", place)
    monkeypatch.setattr(grid_table, "print_status", pytest.fail)
    run_programs()
    (page,) = shown
    assert "2 of 3 done, 0 running, 1 failed" in page
    assert page.count("<tr>") == 4
