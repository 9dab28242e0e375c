"""What a network costs of which choices are weighed: a polynomial in their weights.

A choice of an operation adds what it costs where it stands. Where widths are chosen,
that depends on the widths before and behind it, so that its cost is a table over both,
and the expectation of independent choices a sum over products of weights. At the
one-hot weights of a genotype it is the genotype's cost, exactly.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from darts_jax.cost.networks import Placed, operation_macs, placed_blocks
from darts_jax.cost.sites import (
    Site,
    operation_parameters,
    read_cost_table,
    site_widths,
)
from darts_jax.cost.traced import ImageShape, traced_macs
from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters
from darts_jax.models.macro import Preprocess, Residual, make_head, make_stem
from darts_jax.models.network import ImageNetStem, Network
from darts_jax.spaces.graph import CellGenotype, Choice, Genotype, Space
from darts_jax.spaces.widths import rounded

Weights = Mapping[str, Float[Array, "edge op"] | Float[np.ndarray, "edge op"]]


@dataclasses.dataclass(frozen=True)
class Expected:
    """The cost of a whole network, as far as it is known.

    Attributes:
      unit: such as "million multiply-accumulates".
      fixed: of what is there whatever is chosen.
      tables: kind -> of every choice, summed over the cells of that kind
        [edge, op, width before, own width], 0 where there is none.
      around: kind -> of what surrounds the choices in its cells and, in the last, of
        the classifier [width before, own width].
      edges: kind -> the edge that chooses its width, where one does.
      before: kind -> the kind whose width its cells see.
    """

    unit: str
    fixed: float
    tables: Mapping[str, Float[np.ndarray, "edge op before own"]]
    around: Mapping[str, Float[np.ndarray, "before own"]]
    edges: Mapping[str, int]
    before: Mapping[str, str]

    def __call__(self, weights: Weights) -> Any:
        """The expected cost of independent choices, a scalar.

        Args:
          weights: kind -> probability of every choice [edge, op].
        """
        total: Any = self.fixed
        for kind, table in self.tables.items():
            mine = weights[kind]
            widths = self._widths(self.before.get(kind), weights, table.shape[2], mine)
            own = self._widths(kind, weights, table.shape[3], mine)
            scale = widths[:, None] * own
            # Tables are float64: at the precision of the weights, float32 in a search.
            choices = (np.asarray(table, mine.dtype) * scale).sum((-2, -1))
            total = total + (choices * mine).sum()
            total = total + (np.asarray(self.around[kind], mine.dtype) * scale).sum()
        return total

    def _widths(self, kind: str | None, weights: Weights, count: int, like: Any) -> Any:
        """Probabilities of a kind's widths; 1 where there is no choice."""
        if kind is None or kind not in self.edges:
            return np.ones(count, like.dtype)
        return weights[kind][self.edges[kind], :count]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=np.ndarray.tolist) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Expected":
        """Reads what `to_json` wrote; raises InputError if it is damaged."""
        try:
            tree = json.loads(text)
            for name in ("tables", "around"):
                tree[name] = {k: np.array(v, float) for k, v in tree[name].items()}
            return cls(**tree)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"not a table of expected costs: {error!r}") from None


@dataclasses.dataclass(frozen=True)
class Price:
    """How much of something operations and layers take.

    Attributes:
      layer: of a module around operations that sees images of these shapes; 0 where
        that is not known.
    """

    unit: str
    operation: Callable[[Site], float]
    layer: Callable[..., float]


@functools.cache
def _layer_macs(module: nn.Module, *shapes: ImageShape) -> int:
    return traced_macs(module, *shapes)


@functools.cache
def _layer_parameters(module: nn.Module, *shapes: ImageShape) -> int:
    key = jax.random.key(0)
    images = (jnp.zeros((1, *shape)) for shape in shapes)
    made = jax.eval_shape(lambda: module.init(key, *images, False))
    return count_parameters(made.get("params", {}))


PRICES: dict[str, Price] = {
    "macs": Price(
        "million multiply-accumulates",
        lambda site: operation_macs(site) / 1e6,
        lambda *layer: _layer_macs(*layer) / 1e6,
    ),
    "parameters": Price(
        "million parameters",
        lambda site: operation_parameters(site) / 1e6,
        lambda *layer: _layer_parameters(*layer) / 1e6,
    ),
}


def price_of(name: str) -> Price:
    """Of ``search.costs``: a name of `PRICES`, or the file of a table.

    Raises:
      InputError: there is no such file, or it is damaged.
    """
    if name in PRICES:
        return PRICES[name]
    if not Path(name).exists():
        known = ", ".join(PRICES)
        raise InputError(f"costs are {known} or in a table's file; there is no {name}")
    table = read_cost_table(name)
    return Price(table.unit, table.at, lambda *layer: 0.0)


def expected_cost(
    space: Space, net: Network, image_shape: ImageShape, price: Price
) -> Expected:
    """Of all networks of a space that have a net's size.

    Args:
      net: of any genotype; see `blank_network`.

    Raises:
      InputError: the price has no such operation.
    """
    placed = placed_blocks(net, image_shape)
    fixed = price.layer(_first(net), image_shape)
    tables, around = _zeros(space, net)
    for place in placed:
        kind = place.block.kind
        if kind not in space.cells:
            block = Residual(place.block.channels)
            fixed += price.layer(block, place.earlier, place.last)
        elif net.macro.preprocesses:
            for i, j, narrow in _narrowed(space, net, place):
                layer = Preprocess(narrow.block, affine=True)
                around[kind][i, j] += price.layer(layer, narrow.earlier, narrow.last)
    for kind, e, o, i, j, site in choice_sites(space, net, image_shape):
        tables[kind][e, o, i, j] += price.operation(site)
    head = net.top or make_head(net.macro, net.widths(), net.classes)
    for i, j, narrow in _narrowed(space, net, placed[-1]):
        around[narrow.block.kind][i, j] += price.layer(head, narrow.output)
    edges = {
        kind: cell.width_edge
        for kind, cell in space.cells.items()
        if cell.width_edge is not None
    }
    kinds = {kind: _before(space, net, kind) for kind in space.cells}
    before_of = {kind: other for kind, other in kinds.items() if other in edges}
    return Expected(price.unit, fixed, tables, around, edges, before_of)


def choice_sites(
    space: Space, net: Network, image_shape: ImageShape
) -> Iterator[tuple[str, int, int, int, int, Site]]:
    """Every choice wherever it may stand: kind, edge, column, both widths, and site."""
    for place in placed_blocks(net, image_shape):
        cell = space.cells.get(place.block.kind)
        if cell is None:
            continue
        for i, j, narrow in _narrowed(space, net, place):
            for e, edge in enumerate(cell.edges):
                enters = edge.source < cell.inputs
                size = (narrow.last if enters else narrow.output)[:2]
                widths = site_widths(narrow.block, net.macro, enters)
                for o, operation in enumerate(edge.operations):
                    site = Site(operation, *widths, edge.stride, *size)
                    yield narrow.block.kind, e, o, i, j, site


def _narrowed(
    space: Space, net: Network, place: Placed
) -> Iterator[tuple[int, int, Placed]]:
    """A cell with every width that may be before it and every width of its own."""
    block, cell = place.block, space.cells[place.block.kind]
    befores = _shares(space, _before(space, net, block.kind))
    for i, before in enumerate(befores):
        widths = _kept(block.widths[0], before), _kept(block.widths[1], before)
        for j, own in enumerate(cell.width_shares):
            channels = _kept(block.channels, own)
            output = channels * (block.output // block.channels)
            narrow = dataclasses.replace(
                block, widths=widths, channels=channels, output=output
            )
            yield (
                *(i, j),
                Placed(
                    narrow,
                    (*place.earlier[:2], widths[0]),
                    (*place.last[:2], widths[1]),
                    (*place.output[:2], output),
                ),
            )


def _zeros(space: Space, net: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    tables, around = {}, {}
    for kind, cell in space.cells.items():
        before = _shares(space, _before(space, net, kind))
        shape = len(before), len(cell.width_shares)
        tables[kind] = np.zeros((*cell.shape, *shape))
        around[kind] = np.zeros(shape)
    return tables, around


def blank_network(
    space: Space, classes: int, cells: int, channels: int, imagenet: bool = False
) -> Network:
    """The network of a space's size whose edges all are ``none``."""
    blank = {
        kind: CellGenotype(
            cell.inputs,
            tuple(Choice(e.target, e.source, "none") for e in cell.edges),
            cell.output,
        )
        for kind, cell in space.cells.items()
    }
    genotype = Genotype(space.name, blank)
    return Network(genotype, space.macro, classes, cells, channels, imagenet)


def _before(space: Space, net: Network, kind: str) -> str | None:
    """The kind in front of a kind's cells; None where no width is chosen there."""
    kinds = net.macro.layout(net.cells)
    found = {
        kinds[i - 1] if i else None for i, other in enumerate(kinds) if other == kind
    }
    chosen = {k for k in found if len(_shares(space, k)) > 1}
    if chosen and len(found) > 1:
        raise InputError(
            f"{kind} cells follow cells of several kinds, some with a choice of width: "
            "what they cost depends on which; want one kind before them"
        )
    return chosen.pop() if chosen else None


def _shares(space: Space, kind: str | None) -> tuple[float, ...]:
    cell = space.cells.get(kind) if kind else None
    return cell.width_shares if cell else (1.0,)


def _kept(channels: int, share: float) -> int:
    return channels if share == 1 else rounded(channels * share)


def _first(net: Network) -> nn.Module:
    if net.imagenet:
        return ImageNetStem(net.channels)
    return make_stem(net.macro, net.widths())
