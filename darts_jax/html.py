"""HTML from Jinja2 templates, in which all text is escaped."""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a heading for each column and, in the first one, for each row.

    Attributes:
      rows: column -> value. The columns are those of all rows; numbers stand at the
        right.
      label: says what the table shows, for those who hear the page.
    """

    rows: Sequence[Mapping[str, Any]]
    label: str
    kind: ClassVar[str] = "table"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def is_numeric(self, column: str) -> bool:
        """Returns whether a column has numbers alone.

        Args:
          column: name of the column.
        """
        values = [row.get(column) for row in self.rows]
        return all(isinstance(value, int | float | None) for value in values)

    def value(self, row: Mapping[str, Any], column: str) -> Any:
        """Returns the value of a cell, with two decimals for a percentage.

        Args:
          row: the row.
          column: name of the column.
        """
        value = row.get(column)
        if "%" in column and isinstance(value, float) and math.isfinite(value):
            return f"{value:.2f}"
        return value


def results_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of all columns as HTML, for a notebook.

    Args:
      rows: column -> value.
    """
    template = make_environment().get_template("table.html")
    table = Table(rows, "results")
    return str(template.module.table(table))  # type: ignore[attr-defined]


@functools.cache
def make_environment(*folders: Path) -> "Environment":
    """Makes a Jinja2 environment that escapes all text of its templates.

    It has the macro ``table`` of "table.html" and the filters ``format_value`` and
    ``breakable``.

    Args:
      *folders: folders of templates, beside those of this package.
    """
    # Jinja2 takes a moment to import: only where a page is made.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).with_name("templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["format_value"] = format_value
    environment.filters["breakable"] = _make_breakable
    return environment


def format_value(value: Any) -> str:
    """Formats a value for people: digits in groups, four of a fraction, "-" for none.

    Args:
      value: any value.
    """
    if value is None or value != value:  # NaN is not itself
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _make_breakable(value: Any) -> "Markup":
    """Escapes a value, and lets a line break after the dots of a name."""
    from markupsafe import Markup, escape

    text = str(escape(format_value(value)))
    return Markup(re.sub(r"(?<=[a-z])(\.)(?=[a-z])", r"\1<wbr>", text))
