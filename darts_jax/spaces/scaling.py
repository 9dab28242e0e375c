"""Compound scaling of a chain: deeper, wider, and for larger images, at one go.

Tan and Le (2019), EfficientNet, section 3.3. This module needs the standard library
only.
"""

import math
from typing import NamedTuple

from darts_jax.errors import InputError
from darts_jax.spaces.graph import CellGenotype, Choice, Genotype, Macro
from darts_jax.spaces.widths import rounded


class Scaled(NamedTuple):
    """A larger network, and the side of the images that it is for, in pixels."""

    genotype: Genotype
    side: int


def scaled(
    genotype: Genotype,
    macro: Macro,
    *,
    depth: float = 1.0,
    width: float = 1.0,
    resolution: float = 1.0,
    side: int = 224,
    channels: int | None = None,
) -> Scaled:
    """A chain with more blocks in every stage, and more channels everywhere.

    Blocks are rounded up in number, widths by `rounded`. The new blocks of a stage are
    spread over the old ones, each the same as one of these; what was left out of a
    stage stays out.

    Args:
      depth: times the blocks.
      width: times the channels, which become the genotype's own.
      resolution: times ``side``.
      channels: that a genotype without widths of its own has; None: the macro's base.

    Raises:
      InputError: the genotype is no chain, or a factor is not above 0.
    """
    factors = {"depth": depth, "width": width, "resolution": resolution}
    for name, factor in factors.items():
        if not factor > 0:
            raise InputError(f"{name} times {factor}; want a factor above 0")
    before = genotype.widths_in(macro, channels or macro.base)
    widths = {k: w if width == 1 else rounded(w * width) for k, w in before.items()}
    cells = {kind: _deeper(kind, c, depth) for kind, c in genotype.cells.items()}
    return Scaled(Genotype(genotype.space, cells, widths), round(side * resolution))


def _deeper(kind: str, cell: CellGenotype, depth: float) -> CellGenotype:
    steps = [(c.source, c.target) for c in cell.choices]
    if steps != [(i, i + 1) for i in range(len(steps))] or cell.inputs != 1:
        raise InputError(f"{kind} of the genotype is no chain of blocks; want one")
    blocks = [
        choice.operation
        for choice in cell.choices
        if choice.operation != "skip_connect" and choice.width_share is None
    ]
    count = math.ceil(depth * len(blocks))
    return chain([blocks[i * len(blocks) // count] for i in range(count)])


def chain(blocks: list[str]) -> CellGenotype:
    """A stage of these blocks, one after the other."""
    choices = tuple(Choice(i + 1, i, name) for i, name in enumerate(blocks))
    return CellGenotype(1, choices, (len(blocks),))
