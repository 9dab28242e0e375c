"""Engines that run the programs of a grid: here, on Ray, in SLURM's queue.

To add one, write an `Engine` and register it: ``ENGINES["mine"] = MyEngine``.
"""

import inspect
from collections.abc import Callable
from typing import Any

from darts_jax.cluster.engine import Engine, Report, Resources, Task, Work
from darts_jax.cluster.local_engine import LocalEngine
from darts_jax.cluster.ray_engine import RayEngine
from darts_jax.cluster.slurm_engine import SlurmEngine
from darts_jax.errors import InputError, look_up

ENGINES: dict[str, Callable[..., Engine]] = {
    "local": LocalEngine,
    "ray": RayEngine,
    "slurm": SlurmEngine,
}
"""Name -> class of an engine, called with options by name."""


def make_engine(name: str, **options: Any) -> Engine:
    """Makes an engine by its name.

    Args:
      name: a key of `ENGINES`.
      **options: of the engine, such as ``resources`` and ``address``.

    Raises:
      InputError: there is no such engine or option, or what the engine needs is not
        installed.
    """
    make = look_up(ENGINES, name, "engine")
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise InputError(f"engine {name}: {error}") from None
    return make(**options)


__all__ = [
    "ENGINES",
    "Engine",
    "LocalEngine",
    "RayEngine",
    "Report",
    "Resources",
    "SlurmEngine",
    "Task",
    "Work",
    "make_engine",
]
