"""Spaces of signals: those of images with windows along one axis.

A signal, [length, channel], is an image of one row. A space of signals has the cells
and the layout of a space of images; its operations have the names of theirs with one
number for the window, as ``sep_conv_3`` for ``sep_conv_3x3``. This module needs the
standard library only.
"""

import dataclasses
import re

from darts_jax.spaces.graph import Cell, Space


def window_name(side: int, axes: int) -> str:
    """Returns the part of an operation's name that says its window.

    Args:
      side: of the window, in pixels.
      axes: number of axes that it spans.

    Returns:
      Such as ``3x3``, or ``3`` where it spans one axis.
    """
    return "x".join([str(side)] * axes)


def signal_space(space: Space, name: str) -> Space:
    """Returns the space of signals that corresponds to a space of images.

    Args:
      space: of images, whose windows all are square.
      name: of the space of signals.
    """
    return dataclasses.replace(
        space,
        name=name,
        cells={kind: _signal_cell(cell) for kind, cell in space.cells.items()},
        macro=dataclasses.replace(space.macro, axes=1),
        supernet_variants={
            _one_axis(operation): _one_axis(variant)
            for operation, variant in space.supernet_variants.items()
        },
    )


def _signal_cell(cell: Cell) -> Cell:
    edges = (
        dataclasses.replace(edge, operations=tuple(map(_one_axis, edge.operations)))
        for edge in cell.edges
    )
    return dataclasses.replace(cell, edges=tuple(edges))


def _one_axis(operation: str) -> str:
    return re.sub(r"_(\d+)x\1", r"_\1", operation)
