"""Measured costs of whole networks, such as HW-NAS-Bench's latencies and energies.

A table is an ``.npz`` with a row for every cell of a space: ``ops``, ``edges`` and
``arch`` as in a table of NAS-Bench-201, and a column for each device and measure.
``search.costs=TABLE.npz:COLUMN`` takes a column.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from darts_jax.cost.expected import ExpectedCost
from darts_jax.cost.sites import Costs
from darts_jax.errors import InputError, unknown_name_error
from darts_jax.files import open_place, read_npz
from darts_jax.spaces.graph import Space

_ENDING = ".npz"
_CODED = ("ops", "edges", "arch")
_BESIDES = ("benchmark", "source", *_CODED)
UNITS = {"latency": "ms", "energy": "mJ"}
"""Last word of a column -> unit of its numbers."""


class MeasuredColumn(NamedTuple):
    """A column of a table.

    Attributes:
      path: of the table.
      name: of the column.
    """

    path: str
    name: str


def measured_column(costs: str) -> MeasuredColumn | None:
    """Returns the column that a setting names; None where it names no such table.

    Args:
      costs: as ``search.costs``.
    """
    path, ending, name = costs.rpartition(f"{_ENDING}:")
    if ending:
        return MeasuredColumn(path + _ENDING, name)
    return MeasuredColumn(costs, "") if costs.endswith(_ENDING) else None


def read_measured_cost(column: MeasuredColumn, space: Space) -> ExpectedCost:
    """Returns the cost of a space's networks, as a table has them.

    Its expectation over independent choices is exact: the sum over all cells of the
    product of the probabilities of their edges' operations and their cost.

    Args:
      column: of a table.
      space: of one kind of cell, all of whose edges the table knows.

    Raises:
      InputError: the table is missing, damaged, lacks the column or cells of the space.
    """
    (kind, cell), *others = space.cells.items()
    arrays = _read(column)
    known = [str(name) for name in arrays["ops"]]
    names = [str(name) for name in arrays["edges"]]
    edges = [f"{edge.source}->{edge.target}" for edge in cell.edges]
    asked = [op for edge in cell.edges for op in edge.operations]
    if others or sorted(edges) != sorted(names) or not set(asked) <= set(known):
        raise InputError(
            f"{column.path} has measured cells of edges {', '.join(names)} with "
            f"{', '.join(known)}; those of space {space.name!r} are others"
        )
    grid = np.full((len(known),) * len(names), np.nan)
    codes = arrays["arch"].astype(int)
    grid[tuple(codes[:, names.index(edge)] for edge in edges)] = arrays[column.name]
    wanted = [[known.index(op) for op in edge.operations] for edge in cell.edges]
    grid = grid[np.ix_(*wanted)]
    if not np.isfinite(grid).all():
        raise InputError(
            f"{column.path} lacks {column.name} of {np.isnan(grid).sum()} of the "
            f"{grid.size} cells of space {space.name!r}"
        )
    unit = UNITS.get(column.name.rpartition("_")[2], column.name)
    return ExpectedCost(unit, 0.0, {}, {}, {}, {}, whole={kind: grid})


def main_effects(cost: ExpectedCost) -> Costs:
    """Returns what each operation costs on each edge, on average over all else.

    The sum over the edges of a cell is the best approximation of its cost by single
    operations, but for a constant.

    Args:
      cost: as `read_measured_cost` returns it.

    Returns:
      kind -> mean cost of the cells with an operation, less that of those with the
      edge's cheapest [edge, op].
    """
    found = {}
    for kind, grid in cost.whole.items():
        rows = np.zeros((grid.ndim, max(grid.shape)))
        for e, size in enumerate(grid.shape):
            others = tuple(axis for axis in range(grid.ndim) if axis != e)
            means: Float[np.ndarray, " op"] = grid.mean(others)
            rows[e, :size] = means - means.min()
        found[kind] = rows
    return found


def _read(column: MeasuredColumn) -> dict[str, np.ndarray]:
    path = Path(column.path)
    arrays = read_npz(
        open_place(column.path),
        f"no table of costs at {path}",
        f"table of costs {path} cannot be read",
    )
    missing = [name for name in _CODED if name not in arrays]
    if missing:
        raise InputError(f"table of costs {path} lacks {', '.join(missing)}")
    columns = [name for name in arrays if name not in _BESIDES]
    if column.name not in columns:
        raise unknown_name_error(f"column of {path}", column.name, columns)
    codes, values = arrays["arch"], arrays[column.name]
    whole = codes.ndim == 2 and codes.dtype.kind in "iu" and len(codes)
    shape = (len(codes), len(arrays["edges"]))
    sound = whole and codes.shape == shape and codes.min() >= 0
    if not sound or codes.max() >= len(arrays["ops"]) or values.shape != shape[:1]:
        raise InputError(
            f"table of costs {path} has arch {codes.dtype} {codes.shape} and "
            f"{column.name} {values.shape}; want an operation of each edge and a number"
        )
    return arrays
