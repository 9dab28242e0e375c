"""Results that a terminal and a notebook show as a table."""

import abc
from typing import Any

from darts_jax.html import results_table
from darts_jax.training.console import format_table


class ShownTable(abc.ABC):
    """Result with rows, which `print` shows as text and a notebook as a table."""

    @abc.abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows: column -> value; a column that a row lacks stays empty."""

    def __str__(self) -> str:
        rows = self.rows()
        return format_table(rows, _columns(rows))

    def _repr_html_(self) -> str:
        rows = self.rows()
        return results_table([{c: row.get(c) for c in _columns(rows)} for row in rows])


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))
