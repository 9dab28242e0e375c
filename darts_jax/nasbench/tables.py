"""The benchmarks whose tables are known, and where their tables lie."""

import functools
import os
from pathlib import Path

from darts_jax.errors import InputError, look_up
from darts_jax.files import open_place, read_npz
from darts_jax.nasbench.nasbench101 import NASBench101
from darts_jax.nasbench.nasbench201 import NASBench201
from darts_jax.nasbench.nats_size import NATSSize
from darts_jax.nasbench.surrogate import Surrogate301
from darts_jax.nasbench.table import Table
from darts_jax.nasbench.transnas import TransNASMacro, TransNASMicro

BENCHMARKS: dict[str, type[Table]] = {
    NASBench201.name: NASBench201,
    NASBench101.name: NASBench101,
    NATSSize.name: NATSSize,
    TransNASMicro.name: TransNASMicro,
    TransNASMacro.name: TransNASMacro,
    Surrogate301.name: Surrogate301,
}
"""Name -> table of a benchmark, which reads the arrays of a file."""


def table_name(space: str) -> str:
    """Returns the name of the table of a space's benchmark; "" where none is known.

    Args:
      space: its name.
    """
    found = (name for name, table in BENCHMARKS.items() if space in table.spaces)
    name = next(found, "")
    return f"{name}_table.npz" if name else ""


def find_table(
    given: str = "", directory: str = "", space: str = "nasbench201"
) -> Path | None:
    """Returns the path that is given, or that of a table among the data, or None.

    Args:
      given: a path that must exist.
      directory: of data, by default ``$DARTS_JAX_DATA_DIR``.
      space: whose benchmark is wanted.

    Raises:
      InputError: nothing lies at the path given.
    """
    if given:
        if not open_place(given).is_file():
            raise InputError(f"no table of a benchmark at {given}")
        return open_place(given)
    place = directory or os.environ.get("DARTS_JAX_DATA_DIR")
    name = table_name(space)
    found = open_place(place) / name if place and name else None
    return found if found is not None and found.is_file() else None


def require_table(
    given: str = "", directory: str = "", space: str = "nasbench201"
) -> Table:
    """Reads the table that `find_table` finds.

    Args:
      given: a path that must exist.
      directory: of data, by default ``$DARTS_JAX_DATA_DIR``.
      space: whose benchmark is wanted.

    Raises:
      InputError: there is none, it is of another space, or as `load_table`.
    """
    name = table_name(space)
    if not name:
        known = [other for table in BENCHMARKS.values() for other in table.spaces]
        raise InputError(
            f"no benchmark knows space {space!r}; known are {', '.join(known)}"
        )
    path = find_table(given, directory, space)
    title = BENCHMARKS[name.removesuffix("_table.npz")].title
    if path is None:
        raise InputError(
            f"{title} needs its table: set benchmark.table or put {name} among the "
            f"data; darts-jax convert makes one"
        )
    table = load_table(path)
    if space not in table.spaces:
        raise InputError(
            f"{path} is a table of {table.title}, which does not know space {space!r}; "
            f"want one of {title}"
        )
    return table


@functools.lru_cache(maxsize=2)
def load_table(path: str | Path) -> Table:
    """Reads a table and checks it.

    Example:
      >>> arrays = {"ops": ["none", "skip_connect"], "edges": ["0->1"], "arch": [[1]]}
      >>> np.savez("table.npz", **arrays, cifar10_test_200=np.float32([50.0]))
      >>> table = darts_jax.load_table("table.npz")
      >>> table.accuracies
      ['cifar10_test_200']

    Args:
      path: of the ``.npz`` file.

    Returns:
      The table of the benchmark that ``benchmark`` names; NAS-Bench-201's without it.

    Raises:
      InputError: it cannot be read, lacks an array, or an array is not right.
    """
    arrays = read_npz(
        open_place(path),
        f"no table of a benchmark at {path}",
        f"table {path} cannot be read",
    )
    name = str(arrays.get("benchmark", NASBench201.name))
    table = look_up(BENCHMARKS, name, f"benchmark of table {path}")
    return table.from_arrays(path, arrays)
