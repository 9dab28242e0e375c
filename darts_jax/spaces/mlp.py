"""Spaces of multilayer perceptrons on tables.

The first layer leads from the columns to the network's width. Two stages of hidden
layers follow, chains as those of mobile networks: a layer is dense or adds to its input
(residual), has an activation, and may be left out but for the first of a stage; a last
edge chooses the stage's width. ``mlp_30`` is the space for a table of 30 columns of
which the network chooses those that it reads. This module needs the standard library
only.
"""

import dataclasses
import functools
import re
from typing import Any

from darts_jax.spaces.graph import Cell, Edge, Space
from darts_jax.spaces.mobile import BlockStage, chain_space
from darts_jax.spaces.widths import COLUMNS, LEAVE_OUT, TAKE

DENSE = ("dense_relu", "dense_swish", "dense_tanh")
RESIDUAL = ("residual_relu", "residual_swish")
UNITS = 64
DEPTH = 3
SHARES = (0.25, 0.5, 0.75, 1.0)

_NAME = re.compile(r"mlp_([1-9]\d{0,3})", re.ASCII)


def _mlp() -> Space:
    stage = BlockStage(UNITS, DEPTH, 1, (*DENSE, *RESIDUAL), SHARES, first=DENSE)
    space = chain_space(
        "mlp",
        {"hidden_1": stage, "hidden_2": stage},
        stem=UNITS,
        stem_stride=1,
        activation="relu",
    )
    return dataclasses.replace(space, macro=dataclasses.replace(space.macro, axes=0))


MLP = _mlp()


@functools.cache
def choosing_mlp(columns: int) -> Space:
    """Returns the space of perceptrons that choose among the columns of a table.

    Args:
      columns: their number.
    """
    edges = (Edge(i, i + 1, (TAKE, LEAVE_OUT)) for i in range(columns))
    cell = Cell(1, columns, tuple(edges), output=(columns,))
    return dataclasses.replace(
        MLP, name=f"mlp_{columns}", cells={COLUMNS: cell, **MLP.cells}
    )


class Spaces(dict[str, Space]):
    """Spaces by name, among them ``mlp_N`` for every number of columns from 1 to 9999.

    These are made when they are asked for, and not listed.
    """

    def __missing__(self, name: str) -> Space:
        match = _NAME.fullmatch(name)
        if match is None:
            raise KeyError(name)
        return choosing_mlp(int(match[1]))

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        return isinstance(name, str) and _NAME.fullmatch(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the space of a name; without one, ``default``."""
        try:
            return self[name]
        except KeyError:
            return default
