"""Pieces of a page. Each takes plain text, and makes it safe; none takes markup."""

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def text(value: Any) -> str:
    """Any value as text that is no markup, between tags and in attributes."""
    return html.escape(str(value), quote=True)


def paragraph(sentence: str, kind: str = "") -> str:
    return f"<p{class_(kind)}>{text(sentence)}</p>"


def heading(words: str) -> str:
    """Within a section."""
    return f"<h3>{text(words)}</h3>"


def code(lines: str, label: str) -> str:
    """Lines to copy: one click selects them all.

    Args:
      label: what they are, for those who hear the page.
    """
    return (
        f'<pre tabindex="0" role="group" aria-label="{text(label)}">'
        f"<code>{text(lines)}</code></pre>"
    )


def facts(named: Mapping[str, Any]) -> str:
    """Names and values, side by side."""
    rows = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(written(value))}</dd></div>"
        for name, value in named.items()
    )
    return f"<dl>{rows}</dl>"


def details(summary: str, body: str) -> str:
    """What is shown when asked for. ``body`` is made of these pieces."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>"


def table(
    rows: Sequence[Mapping[str, Any]],
    label: str,
    cell: Callable[[Any], str] | None = None,
) -> str:
    """A table with a heading for every column and, first in it, for every row.

    Columns are those of all rows; numbers stand at the right. It scrolls by itself
    where a screen is narrow.

    Args:
      label: what it shows.
      cell: a value to markup, in place of its text.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    kinds = {c: _column_kind([row.get(c) for row in rows]) for c in columns}
    shown = cell or _breakable
    head = "".join(f'<th scope="col"{class_(kinds[c])}>{text(c)}</th>' for c in columns)
    rounded = ({c: _rounded(c, row.get(c)) for c in columns} for row in rows)
    body = "".join(f"<tr>{_row(row, kinds, shown)}</tr>" for row in rounded)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{text(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def results_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of all columns, for a notebook.

    Args:
      rows: column -> value.
    """
    return table(rows, "results")


def written(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value != value:  # NaN is not itself
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(
    row: Mapping[str, Any], kinds: Mapping[str, str], shown: Callable[[Any], str]
) -> str:
    first, *others = row
    head = f'<th scope="row">{shown(row[first])}</th>'
    return head + "".join(f"<td{class_(kinds[c])}>{shown(row[c])}</td>" for c in others)


def _rounded(column: str, value: Any) -> Any:
    is_share = "%" in column and isinstance(value, float) and math.isfinite(value)
    return f"{value:.2f}" if is_share else value


def _breakable(value: Any) -> str:
    """Text in which a name with dots may go on in the next line."""
    return re.sub(r"(?<=[a-z])(\.)(?=[a-z])", r"\1<wbr>", text(written(value)))


def _column_kind(values: Sequence[Any]) -> str:
    numbers = all(isinstance(value, int | float | None) for value in values)
    return "number" if numbers else ""


def class_(name: str) -> str:
    """The attribute, or nothing."""
    return f' class="{name}"' if name else ""
