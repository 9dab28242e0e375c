"""Sites: where the operations of networks and supernets stand.

A site is an operation with the widths, the stride and the image size that it meets
there. Its cost depends on nothing else.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from darts_jax.cost.modules import ImageShape
from darts_jax.models.macro import Block
from darts_jax.models.network import Network
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import KeptEdge, Macro

Size = tuple[int, int]
"""Height and width of an image in pixels."""

Costs = dict[str, Float[np.ndarray, "edge op"]]
"""Kind of cell -> the cost of every choice [edge, op]."""


@dataclasses.dataclass(frozen=True, order=True)
class Site:
    """An operation with the widths, stride and image size that it meets.

    Attributes:
      operation: its name.
      inputs: number of channels that enter it.
      channels: number of channels that leave it.
      stride: its stride, 1 or 2.
      height: height of the image that enters it, in pixels.
      width: width of the image that enters it, in pixels.
    """

    operation: str
    inputs: int
    channels: int
    stride: int
    height: int
    width: int


class ChoiceSite(NamedTuple):
    """The site of one choice of an edge in one cell.

    Attributes:
      kind: kind of the cell.
      edge: index of the edge.
      operation: index of the operation among those of the edge.
      site: where the operation stands.
      before: index of the width that the cell before has; 0 where none is chosen.
      own: index of the width that the cell has; 0 where none is chosen.
    """

    kind: str
    edge: int
    operation: int
    site: Site
    before: int = 0
    own: int = 0


class PlacedBlock(NamedTuple):
    """A block and the shapes of the images around it.

    Attributes:
      block: the block.
      earlier: shape of the output of the block before the last.
      last: shape of the output of the last block.
      output: shape of its own output.
    """

    block: Block
    earlier: ImageShape
    last: ImageShape
    output: ImageShape


def operation_costs(net: Supernet, size: Size, cost: Callable[[Site], float]) -> Costs:
    """Computes the cost of every choice, summed over the cells of each kind.

    Args:
      net: the supernet.
      size: height and width of the images.
      cost: cost of one operation in one cell.

    Returns:
      Kind -> float64 array [edge, op], 0 where an edge has no such operation.
    """
    sums = {kind: np.zeros(cell.shape) for kind, cell in net.space.cells.items()}
    for choice in supernet_sites(net, size):
        sums[choice.kind][choice.edge, choice.operation] += cost(choice.site)
    return sums


def supernet_sites(net: Supernet, size: Size) -> Iterator[ChoiceSite]:
    """Yields the site of every operation of every cell of a supernet.

    Args:
      net: the supernet.
      size: height and width of the images.
    """
    space = net.space
    entering = _halve(size, 3) if net.imagenet else size
    for block, before, after in _sized_blocks(net.blocks(), space.macro, entering):
        if block.kind not in space.cells:
            continue
        cell = space.cells[block.kind]
        for e, edge in enumerate(cell.edges):
            is_entering = edge.source < cell.inputs
            height, width = before if is_entering else after
            inputs, channels = site_widths(block, space.macro, is_entering, net.partial)
            for o, operation in enumerate(edge.operations):
                site = Site(operation, inputs, channels, edge.stride, height, width)
                yield ChoiceSite(block.kind, e, o, site)


def network_sites(net: Network, image_shape: ImageShape) -> Iterator[Site]:
    """Yields the site of every operation of a genotype's network.

    Args:
      net: the network.
      image_shape: height, width and channels of the images.
    """
    cells = net.genotype.cells
    for placed in placed_blocks(net, image_shape):
        if placed.block.kind in cells:
            for choice in cells[placed.block.kind].choices:
                yield network_site(net, placed, choice)


def network_site(net: Network, placed: PlacedBlock, choice: KeptEdge) -> Site:
    """Returns the site of one operation of a genotype's network.

    Args:
      net: the network.
      placed: the block in which the operation stands.
      choice: the edge and its operation.
    """
    block = placed.block
    is_entering = choice.source < net.genotype.cells[block.kind].inputs
    height, width, _ = placed.last if is_entering else placed.output
    inputs, channels = site_widths(block, net.macro, is_entering)
    stride = 2 if block.kind in net.macro.reductions and is_entering else 1
    return Site(choice.operation, inputs, channels, stride, height, width)


def placed_blocks(net: Network, image_shape: ImageShape) -> list[PlacedBlock]:
    """Returns the blocks of a network, first to last, with the images around them.

    Args:
      net: the network.
      image_shape: height, width and channels of its images.
    """
    blocks = net.blocks()
    size = image_shape[:2]
    stem = int(net.macro.stem_stride == 2)
    earlier_size = _halve(size, 2 if net.imagenet else stem)
    last_size = _halve(size, 3 if net.imagenet else stem)
    earlier_width, last_width = blocks[0].widths
    earlier = (*earlier_size, earlier_width)
    last = (*last_size, last_width)
    entering = _halve(size, 3) if net.imagenet else size
    placed = []
    for block, _, after in _sized_blocks(blocks, net.macro, entering):
        output = (*after, block.output)
        placed.append(PlacedBlock(block, earlier, last, output))
        earlier = last
        last = output
    return placed


def site_widths(
    block: Block, macro: Macro, is_entering: bool, partial: int = 1
) -> tuple[int, int]:
    """Returns the numbers of channels that enter and leave an operation of a block.

    Args:
      block: the block.
      macro: the macro structure around it.
      is_entering: whether the operation is on an edge that leaves an input.
      partial: 1/partial of the channels enter operations.
    """
    is_projected = macro.preprocesses or not is_entering
    inputs = block.channels if is_projected else block.widths[1]
    return inputs // partial, block.channels // partial


def _sized_blocks(
    blocks: Sequence[Block], macro: Macro, size: Size
) -> Iterator[tuple[Block, Size, Size]]:
    """Yields blocks with the sizes of what enters and what leaves them.

    Args:
      blocks: the blocks of a network, first to last.
      macro: the macro structure around them.
      size: size of what enters the stem.
    """
    size = _halve(size, int(macro.stem_stride == 2))
    for block in blocks:
        after = _halve(size, int(block.kind in macro.reductions))
        yield block, size, after
        size = after


def _halve(size: Size, times: int) -> Size:
    """Returns the size after that many strides of 2; odd sizes are rounded up."""
    height, width = (-(-n // 2**times) for n in size)
    return height, width
