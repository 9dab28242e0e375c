"""What an architecture costs, exactly and without compiling it.

A network's cost is the sum over its layers. Each layer is traced by itself, once for
all networks that have it, so that the costs of every cell of a space are sums too.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Int

from darts_jax.cost.sites import (
    Costs,
    CostTable,
    Site,
    halved,
    operation_costs,
    site_widths,
    sites,
    sized_blocks,
)
from darts_jax.cost.traced import Cost, ImageShape, traced_cost, traced_macs
from darts_jax.errors import InputError
from darts_jax.models.macro import Block, Preprocess, Residual, make_head, make_stem
from darts_jax.models.network import AuxiliaryHead, ImageNetStem, Network
from darts_jax.models.operations.image import make_operation
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import CellGenotype, Choice, Genotype

Part = tuple[str, str, Cost]  # kind of cell or "", what of it, cost of one


def cost_of(net: Network, image_shape: ImageShape) -> Cost:
    """The cost of a network as it trains, its auxiliary head included if it has one.

    For the figures of papers: ``cost_of(net.clone(auxiliary=False), (32, 32, 3))``.

    Args:
      image_shape: [height, width, channel].
    """
    return _sum(cost for _, _, cost in _parts(net, image_shape))


def supernet_cost(net: Supernet, image_shape: ImageShape) -> Cost:
    """The cost of a step of a supernet's weights; it holds less by its ``remat``.

    Its architecture parameters are no part of it.
    """
    # The scan's conditionals, idle in some slots, would count as if they never were.
    walked = net.clone(execution="batch")
    mixture = {k: jnp.zeros(cell.shape) for k, cell in net.space.cells.items()}
    return traced_cost(walked, (image_shape,), (mixture,))


COLUMNS = ("part", "parameters", "multiply-accumulates", "activation bytes")


def cost_rows(net: Network, image_shape: ImageShape) -> list[dict[str, Any]]:
    """What a genotype's network costs, part by part, as `console.table` takes it.

    A layer or an operation with its sum over all cells, in the order of the first of
    them; the sum of all, which is what papers state; and what an auxiliary head adds
    to it in training. Columns: ``COLUMNS``; bytes are per image.
    """
    plain = net.clone(auxiliary=False)
    sums: dict[str, Cost] = {}
    for kind, what, cost in _parts(plain, image_shape):
        name = f"{kind} {what}".strip()
        sums[name] = _sum((sums.get(name, _NOTHING), cost))
    whole = cost_of(plain, image_shape)
    rows = [*sums.items(), ("sum", whole)]
    if net.auxiliary:
        rows.append(("auxiliary head", _auxiliary_cost(net, image_shape)))
    return [
        dict(zip(COLUMNS, (name, *map(int, cost)), strict=True)) for name, cost in rows
    ]


def edge_costs(net: Supernet, image_shape: ImageShape) -> dict[str, Costs]:
    """What every choice of every edge adds to a genotype's network.

    The name of each field of `Cost` -> kind -> sums over the cells of that kind
    [edge, op], float64. A genotype's operations have all channels, however few enter
    those of the supernet.
    """
    whole = net.clone(partial=1)

    def over(field: str) -> Costs:
        return operation_costs(
            whole, image_shape[:2], lambda site: getattr(operation_cost(site), field)
        )

    return {field: over(field) for field in Cost._fields}


def mac_table(net: Supernet, image_shape: ImageShape) -> CostTable:
    """Multiply-accumulates of every operation where it stands, for the loss term.

    At the width that the search gives it, as `build.costs.parameter_costs` does.
    """
    places = {site for *_, site in sites(net, image_shape[:2])}
    counted = {site: operation_macs(site) / 1e6 for site in places}
    return CostTable("million multiply-accumulates", {"batch": 1}, counted)


def costs_of_cells(
    net: Supernet,
    image_shape: ImageShape,
    chosen: Mapping[str, Int[np.ndarray, "architecture edge"]],
) -> Cost:
    """The costs of many genotypes' networks at once, as sums of their operations'.

    Every edge is kept, and counts also where no path leads to it or from it, as in
    NAS-Bench-201 (Dong and Yang, 2020).

    Args:
      net: the networks have its space, cells, channels and classes.
      chosen: kind -> column of every edge's operation.

    Returns:
      Arrays [architecture] of int64.

    Raises:
      InputError: not one operation for every edge.
    """
    added = edge_costs(net, image_shape)
    total = _surroundings(net, image_shape)
    for kind, cell in net.space.cells.items():
        columns = np.asarray(chosen[kind])
        _require_operations(kind, columns, np.sum(cell.mask, axis=-1))
        edges = np.arange(len(cell.edges))
        picked = (added[field][kind][edges, columns].sum(-1) for field in Cost._fields)
        total = _sum((total, Cost(*(each.astype(np.int64) for each in picked))))
    return total


def _require_operations(kind: str, columns: Any, counts: Any) -> None:
    shaped = columns.ndim == 2 and columns.shape[1:] == counts.shape
    if not shaped or not np.all((columns >= 0) & (columns < counts)):
        raise InputError(
            f"choices of {kind!r} cells, of shape {columns.shape}, are no operations; "
            f"want the number of one, from 0, for each of {len(counts)} edges"
        )


@functools.cache
def operation_cost(site: Site, dtype: str = "float32") -> Cost:
    """The cost of one operation of a genotype's network; InputError if unknown."""
    made = make_operation(site.operation, site.channels, site.stride, discrete=True)
    shape = (site.height, site.width, site.inputs)
    return traced_cost(made, (shape,), dtype=dtype)


@functools.cache
def operation_macs(site: Site) -> int:
    """Its multiply-accumulates alone, which are sooner known."""
    made = make_operation(site.operation, site.channels, site.stride, discrete=True)
    return traced_macs(made, (site.height, site.width, site.inputs))


@functools.cache
def _layer_cost(layer: nn.Module, *shapes: ImageShape, dtype: str) -> Cost:
    return traced_cost(layer, shapes, dtype=dtype)


_NOTHING = Cost(0, 0, 0)


def _parts(net: Network, image_shape: ImageShape) -> Iterator[Part]:
    """Every layer of a network, and every operation."""
    dtype, placed = _dtype(net), placed_blocks(net, image_shape)
    stem = make_stem(net.macro, net.widths())
    first = ImageNetStem(net.channels) if net.imagenet else stem
    yield "", "stem", _layer_cost(first, image_shape, dtype=dtype)
    for place in placed:
        yield from _block_parts(net, place, dtype)
    head = make_head(net.macro, net.widths(), net.classes)
    yield "", "classifier", _layer_cost(head, placed[-1].output, dtype=dtype)
    if net.auxiliary:
        yield "", "auxiliary head", _auxiliary_cost(net, image_shape)


class Placed(NamedTuple):
    """A block and the shapes of the images between which it stands."""

    block: Block
    earlier: ImageShape
    last: ImageShape
    output: ImageShape


def placed_blocks(net: Network, image_shape: ImageShape) -> list[Placed]:
    """The blocks of a network, first to last, with the images around them."""
    blocks = net.blocks()
    size, widths = image_shape[:2], blocks[0].widths
    stem = int(net.macro.stem_stride == 2)
    earlier = (*halved(size, 2 if net.imagenet else stem), widths[0])
    last = (*halved(size, 3 if net.imagenet else stem), widths[1])
    entering = halved(size, 3) if net.imagenet else size
    placed = []
    for block, _, after in sized_blocks(blocks, net.macro, entering):
        output = (*after, block.output)
        placed.append(Placed(block, earlier, last, output))
        earlier, last = last, output
    return placed


def _block_parts(net: Network, place: Placed, dtype: str) -> Iterator[Part]:
    block, inputs = place.block, (place.earlier, place.last)
    if block.kind not in net.genotype.cells:
        cost = _layer_cost(Residual(block.channels), *inputs, dtype=dtype)
        yield "", f"{block.kind} blocks", cost
        return
    cell = net.genotype.cells[block.kind]
    if net.macro.preprocesses:
        cost = _layer_cost(Preprocess(block, affine=True), *inputs, dtype=dtype)
        yield "", f"projections of {block.kind} cells", cost
    for choice in cell.choices:
        edge = f"{choice.source}->{choice.target} {choice.operation}"
        yield block.kind, edge, operation_cost(_site(net, place, choice), dtype)


def network_sites(net: Network, image_shape: ImageShape) -> Iterator[Site]:
    """Yields where every operation of a genotype's network stands."""
    cells = net.genotype.cells
    for place in placed_blocks(net, image_shape):
        if place.block.kind in cells:
            for choice in cells[place.block.kind].choices:
                yield _site(net, place, choice)


def _site(net: Network, place: Placed, choice: Choice) -> Site:
    block = place.block
    enters = choice.source < net.genotype.cells[block.kind].inputs
    size = (place.last if enters else place.output)[:2]
    stride = 2 if block.kind in net.macro.reductions and enters else 1
    return Site(choice.operation, *site_widths(block, net.macro, enters), stride, *size)


def _auxiliary_cost(net: Network, image_shape: ImageShape) -> Cost:
    placed = placed_blocks(net, image_shape)
    stride = 2 if net.imagenet else 3
    head = AuxiliaryHead(net.classes, stride, not net.imagenet)
    state = placed[2 * len(placed) // 3].output
    return _layer_cost(head, state, dtype=_dtype(net))


def _surroundings(net: Supernet, image_shape: ImageShape) -> Cost:
    """Of all that is not an edge's operation in the networks of a space."""
    cells = {
        kind: CellGenotype(
            cell.inputs,
            tuple(Choice(e.target, e.source, "none") for e in cell.edges),
            cell.output,
        )
        for kind, cell in net.space.cells.items()
    }
    genotype, macro = Genotype(net.space.name, cells), net.space.macro
    plain = Network(genotype, macro, net.classes, net.cells, net.channels)
    return _sum(cost for kind, _, cost in _parts(plain, image_shape) if not kind)


def _sum(costs: Iterable[Cost]) -> Cost:
    return Cost(*(sum(column) for column in zip(*costs, strict=True)))


def _dtype(net: Network) -> str:
    return jnp.dtype(net.dtype or jnp.float32).name
