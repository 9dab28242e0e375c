"""Compound scaling of a chain of blocks: depth, width and image size together.

Tan and Le (2019), EfficientNet, section 3.3. This module needs the standard library
only.
"""

import math
from typing import NamedTuple

from darts_jax.errors import InputError
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge, Macro
from darts_jax.spaces.widths import rounded


class Scaled(NamedTuple):
    """A scaled genotype, and the side of its images in pixels."""

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
    """Scales a chain: more blocks in every stage, more channels, larger images.

    Tan and Le (2019), section 3.3. The number of blocks is rounded up, widths by
    `rounded`. New blocks repeat the old ones of their stage in order; blocks that were
    left out stay out.

    Args:
      genotype: a chain of blocks.
      macro: the macro structure of its space.
      depth: factor of the number of blocks.
      width: factor of the channels, which become the genotype's own.
      resolution: factor of ``side``.
      side: of the unscaled images, in pixels.
      channels: of a genotype without widths of its own; None: the macro's base.

    Returns:
      The scaled genotype and the side of its images.

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
    return make_chain([blocks[i * len(blocks) // count] for i in range(count)])


def make_chain(blocks: list[str]) -> CellGenotype:
    """Returns a stage of blocks, one after the other.

    Args:
      blocks: their operations, from the input on.
    """
    choices = tuple(KeptEdge(i + 1, i, name) for i, name in enumerate(blocks))
    return CellGenotype(1, choices, (len(blocks),))
