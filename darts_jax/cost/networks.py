"""Exact costs of a genotype's network, counted without compiling it.

The cost of a network is the sum over its layers. Each layer is traced by itself, once
for all networks that have it.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from darts_jax.cost.modules import Cost, ImageShape, module_cost, module_macs
from darts_jax.cost.sites import PlacedBlock, Site, network_site, placed_blocks
from darts_jax.models.functional import count_parameters
from darts_jax.models.macro import (
    ImageNetStem,
    Preprocess,
    make_head,
    make_plain_block,
    make_stem,
)
from darts_jax.models.network import Network, make_auxiliary_head
from darts_jax.models.operations.image import get_operation, make_operation
from darts_jax.models.operations.layers import STREAMS

Part = tuple[str, str, Cost]
"""Kind of cell or "", name of the layer or operation, and its cost."""

COLUMNS = ("part", "parameters", "multiply-accumulates", "activation bytes")
"""Columns of `cost_rows`; bytes are per image."""


def network_cost(net: Network, image_shape: ImageShape) -> Cost:
    """Returns the cost of a network in training, with its auxiliary head if it has one.

    The figures of papers are those of ``net.clone(auxiliary=False)``.

    Args:
      net: the network of a genotype.
      image_shape: height, width and channels of its images.

    Returns:
      Numbers for one image; see `Cost` for their units.
    """
    return _sum_costs(cost for _, _, cost in _parts(net, image_shape))


def cost_rows(net: Network, image_shape: ImageShape) -> list[dict[str, Any]]:
    """Returns the cost of a genotype's network, part by part, for `console.table`.

    Args:
      net: the network of a genotype.
      image_shape: height, width and channels of its images.

    Returns:
      A row with ``COLUMNS`` for each layer and operation, summed over all cells, in
      the order of the first of them; then the sum of all, which papers state; then
      what an auxiliary head adds to it in training.
    """
    plain = net.clone(auxiliary=False)
    sums: dict[str, Cost] = {}
    for kind, part, cost in _parts(plain, image_shape):
        name = f"{kind} {part}".strip()
        sums[name] = _sum_costs((sums.get(name, _NOTHING), cost))
    rows = [*sums.items(), ("sum", network_cost(plain, image_shape))]
    if net.auxiliary:
        rows.append(("auxiliary head", _auxiliary_cost(net, image_shape)))
    return [
        dict(zip(COLUMNS, (name, *map(int, cost)), strict=True)) for name, cost in rows
    ]


@functools.cache
def operation_cost(site: Site, dtype: str = "float32") -> Cost:
    """Returns the cost of one operation of a genotype's network.

    Args:
      site: where the operation stands.
      dtype: dtype of the images.

    Raises:
      InputError: there is no operation of that name.
    """
    module = make_operation(site.operation, site.channels, site.stride, discrete=True)
    shape = (site.height, site.width, site.inputs)
    return module_cost(module, (shape,), dtype=dtype)


@functools.cache
def operation_macs(site: Site) -> int:
    """Returns the multiply-accumulates of one operation, sooner than its whole cost.

    Args:
      site: where the operation stands.
    """
    module = make_operation(site.operation, site.channels, site.stride, discrete=True)
    return module_macs(module, ((site.height, site.width, site.inputs),))


@functools.cache
def operation_parameters(site: Site) -> int:
    """Returns the number of parameters of one operation of a genotype's network.

    Args:
      site: where the operation stands.
    """
    module = get_operation(site.operation)(site.channels, site.stride, True)
    image = jnp.zeros((1, site.height, site.width, site.inputs))
    key = jax.random.key(0)
    streams = dict.fromkeys(("params", *STREAMS), key)
    variables = jax.eval_shape(lambda: module.init(streams, image, False))
    return count_parameters(variables.get("params", {}))


_NOTHING = Cost(0, 0, 0)


def _parts(net: Network, image_shape: ImageShape) -> Iterator[Part]:
    """Yields every layer of a network, and every operation."""
    dtype = _dtype_name(net)
    placed = placed_blocks(net, image_shape)
    stem = make_stem(net.macro, net.widths())
    first = ImageNetStem(net.channels, net.macro.axes) if net.imagenet else stem
    columns = net.genotype.columns
    channels = image_shape[2] if columns is None else len(columns)
    yield "", "stem", _layer_cost(first, ((*image_shape[:2], channels),), dtype)
    for block in placed:
        yield from _block_parts(net, block, dtype)
    head = make_head(net.macro, net.widths(), net.classes)
    yield "", "classifier", _layer_cost(head, (placed[-1].output,), dtype)
    if net.auxiliary:
        yield "", "auxiliary head", _auxiliary_cost(net, image_shape)


def _block_parts(net: Network, placed: PlacedBlock, dtype: str) -> Iterator[Part]:
    block = placed.block
    inputs = (placed.earlier, placed.last)
    if block.kind not in net.genotype.cells:
        layer = make_plain_block(block, net.macro.axes)
        cost = _layer_cost(layer, inputs, dtype)
        yield "", f"{block.kind} blocks", cost
        return
    cell = net.genotype.cells[block.kind]
    if net.macro.preprocesses:
        cost = _layer_cost(Preprocess(block, affine=True), inputs, dtype)
        yield "", f"projections of {block.kind} cells", cost
    for choice in cell.choices:
        edge = f"{choice.source}->{choice.target} {choice.operation}"
        yield block.kind, edge, operation_cost(network_site(net, placed, choice), dtype)


def _auxiliary_cost(net: Network, image_shape: ImageShape) -> Cost:
    placed = placed_blocks(net, image_shape)
    state = placed[2 * len(placed) // 3].output
    return _layer_cost(make_auxiliary_head(net), (state,), _dtype_name(net))


@functools.cache
def _layer_cost(layer: nn.Module, shapes: tuple[ImageShape, ...], dtype: str) -> Cost:
    return module_cost(layer, shapes, dtype=dtype)


def _sum_costs(costs: Iterable[Cost]) -> Cost:
    total = _NOTHING
    for cost in costs:
        total = Cost(
            parameters=total.parameters + cost.parameters,
            macs=total.macs + cost.macs,
            activation_bytes=total.activation_bytes + cost.activation_bytes,
        )
    return total


def _dtype_name(net: Network) -> str:
    return jnp.dtype(net.dtype or jnp.float32).name
