"""The smallest space with all that matters, for tests that compile much."""

import functools
from typing import Any

import jax

from darts_jax.settings.config import default_config
from darts_jax.settings.scalars import search_scalars
from darts_jax.spaces.graph import (
    Cell,
    CellGenotype,
    Genotype,
    KeptEdge,
    Macro,
    Space,
    dense_edges,
)

# For programs that run once or twice: compiled in half the time.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
OPERATIONS = ("skip_connect", "sep_conv_3x3", "max_pool_3x3", "nor_conv_3x3")


def tiny_space(operations: tuple[str, ...] = OPERATIONS) -> Space:
    """Cells of one input and two nodes, none of which reduces."""
    cell = Cell(1, 2, dense_edges(1, 2, operations), output=(2,))
    macro = Macro(lambda cells: ("normal",) * cells, (), 1, False, True)
    return Space("tiny", {"normal": cell}, macro, "argmax")


def ragged_space() -> Space:
    """Edges of one, two and three operations, some of which can only be a skip."""
    operations = {
        (0, 2): ("skip_connect",),
        (1, 2): ("skip_connect", "none"),
        (0, 3): ("skip_connect", "sep_conv_3x3", "none"),
        (1, 3): ("max_pool_3x3", "skip_connect"),
        (2, 3): ("skip_connect",),
    }
    cell = Cell(2, 2, dense_edges(2, 2, operations), output=(2, 3))
    macro = Macro(lambda cells: ("normal",) * cells, (), 1, True, False)
    return Space("ragged", {"normal": cell}, macro, "two_strongest")


def tiny_genotype() -> Genotype:
    """Returns a genotype of `tiny_space`."""
    chosen = ((1, 0, "nor_conv_3x3"), (2, 0, "max_pool_3x3"), (2, 1, "skip_connect"))
    choices = tuple(KeptEdge(*choice) for choice in chosen)
    return Genotype("tiny", {"normal": CellGenotype(1, choices, (2,))})


def scalars(weights: dict[str, float], architecture: dict[str, float]) -> Any:
    """Returns the default scalars of a step, with 0 for those that are not given."""
    default = search_scalars(default_config().search, 0)
    given = {
        "weights": {"clip": 1.0} | weights,
        "architecture": {"learns": 1.0} | architecture,
    }
    return default | {
        part: dict.fromkeys(default[part], 0.0) | numbers
        for part, numbers in given.items()
    }
