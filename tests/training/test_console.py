"""Progress and tables, on a terminal, in a notebook and elsewhere."""

import io
import sys
import types

import pytest

from darts_jax.training import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show_progress() -> None:
    with console.show_progress(4, "search") as bar:
        for epoch in (1, 2):
            bar.advance(2, 128, loss=1.5, accuracy=0.25)
            bar.end_epoch(epoch, 2, accuracy=0.5)


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_progress()
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("search 1/2  loss 1.5000  accuracy 0.5000  images/s ")
    assert second.endswith("  0:00:00 left")


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    show_progress()
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("search: 100%")
    assert "loss=1.5000, accuracy=0.5000, images/s=" in last


def test_notebook_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not console.is_in_notebook()
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    module = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)  # type: ignore[arg-type]
    assert console.is_in_notebook()


def test_table_aligns_numbers_right() -> None:
    rows = [{"name": "darts", "acc": 0.97123, "n": 12}, {"name": "random", "n": 7}]
    assert console.format_table(rows, ["name", "acc", "n"]) == (
        "name       acc   n\n"
        "------  ------  --\n"
        "darts   0.9712  12\n"
        "random           7\n"
    )
    assert console.format_table([], ["a"]) == "a\n-\n"
