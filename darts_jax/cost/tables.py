"""Tables of costs: what operations cost where they stand, kept in a file."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darts_jax.cost.sites import Site
from darts_jax.errors import InputError
from darts_jax.files import open_place


@dataclasses.dataclass(frozen=True)
class CostTable:
    """Counted or measured costs of operations.

    Attributes:
      unit: unit of the costs, such as "ms".
      conditions: conditions under which they hold, for people: device, batch, dtype.
      costs: the cost of every operation at every width and size.
    """

    unit: str
    conditions: Mapping[str, str | int]
    costs: Mapping[Site, float]

    def look_up(self, site: Site) -> float:
        """Returns the cost of one operation; raises InputError if the table lacks it.

        Args:
          site: where the operation stands.
        """
        if site not in self.costs:
            raise InputError(
                f"the table of costs lacks {_describe(site)}; make one for this space, "
                "these cells, channels and images"
            )
        return self.costs[site]

    def to_json(self) -> str:
        """Returns the table as JSON, a row for each operation."""
        rows = [
            {**dataclasses.asdict(site), "cost": cost}
            for site, cost in sorted(self.costs.items())
        ]
        tree = {"unit": self.unit, "conditions": dict(self.conditions), "costs": rows}
        return json.dumps(tree, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CostTable":
        """Reads ``text``, as `to_json` wrote it; damaged, it raises InputError."""
        try:
            tree = json.loads(text)
            pairs = [_read_row(row) for row in tree["costs"]]
            table = cls(str(tree["unit"]), dict(tree["conditions"]), dict(pairs))
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"not a table of costs: {error!r}") from None
        if len(table.costs) != len(pairs):
            raise InputError("not a table of costs: an operation stands in it twice")
        return table


def read_cost_table(path: str | Path) -> CostTable:
    """Reads a table of costs from a file.

    Args:
      path: the file, JSON as `CostTable.to_json` writes it.

    Raises:
      InputError: there is no such file, or it is damaged.
    """
    try:
        return CostTable.from_json(open_place(path).read_text())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read a table of costs from {path}: {error}") from None


def _read_row(row: Any) -> tuple[Site, float]:
    site = Site(**{field.name: row[field.name] for field in dataclasses.fields(Site)})
    numbers = (site.inputs, site.channels, site.stride, site.height, site.width)
    if type(site.operation) is not str or not all(
        type(n) is int and n > 0 for n in numbers
    ):
        raise InputError(
            f"not a table of costs: {row}; want the name of an operation, and whole "
            "numbers above 0 for its inputs, channels, stride, height and width"
        )
    cost = row["cost"]
    if type(cost) not in (int, float) or not 0 <= cost < math.inf:
        raise InputError(
            f"the cost of {_describe(site)} is {cost!r}; want a number, at least 0"
        )
    return site, float(cost)


def _describe(site: Site) -> str:
    return (
        f"{site.operation} of {site.inputs} to {site.channels} channels with stride "
        f"{site.stride} on {site.height}x{site.width}"
    )
