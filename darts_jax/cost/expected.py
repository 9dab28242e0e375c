"""Expected cost of a network, a polynomial in the probabilities of its choices.

A choice of an operation adds the cost of the operation where it stands. Where widths
are chosen, that cost depends on the widths before and behind it: it is a table over
both, and the expectation over independent choices is a sum of products of
probabilities. At the one-hot probabilities of a genotype it is exactly the cost of the
genotype's network.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from darts_jax.cost.modules import ImageShape, module_macs
from darts_jax.cost.networks import operation_macs, operation_parameters
from darts_jax.cost.sites import (
    ChoiceSite,
    PlacedBlock,
    Site,
    placed_blocks,
    site_widths,
)
from darts_jax.cost.tables import read_cost_table
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.models.functional import count_parameters
from darts_jax.models.macro import (
    ImageNetStem,
    Preprocess,
    make_head,
    make_plain_block,
    make_stem,
)
from darts_jax.models.network import Network
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge, Space
from darts_jax.spaces.widths import COLUMNS, STEM, rounded

Weights = Mapping[str, Float[Array, "edge op"] | Float[np.ndarray, "edge op"]]
"""Kind of cell -> probability of every choice [edge, op]."""


JOINT = "|"
"""Separates names of kinds whose choices cost something together."""


@dataclasses.dataclass(frozen=True)
class ExpectedCost:
    """Cost of a network as a polynomial in the probabilities of its choices.

    Attributes:
      unit: unit of the cost, such as "million multiply-accumulates".
      fixed: cost of the parts that do not depend on any choice.
      tables: kind -> cost of every choice, summed over the cells of that kind
        [edge, op, width before, own width], 0 where there is no such choice.
      around: kind -> cost of what surrounds the choices in the cells of that kind and,
        for the last one, of the classifier [width before, own width].
      edges: kind -> index of the edge that chooses its width, where one does.
      before: kind -> the kind whose width its cells see.
      joint: names of kinds of one edge, joined by ``|`` -> cost of their choices
        together beyond that of fewer of them, an axis [op] for each.
      whole: kind -> cost of all its edges' choices together, an axis [op] for each.
    """

    unit: str
    fixed: float
    tables: Mapping[str, Float[np.ndarray, "edge op before own"]]
    around: Mapping[str, Float[np.ndarray, "before own"]]
    edges: Mapping[str, int]
    before: Mapping[str, str]
    joint: Mapping[str, Float[np.ndarray, "..."]] = dataclasses.field(
        default_factory=dict
    )
    whole: Mapping[str, Float[np.ndarray, "..."]] = dataclasses.field(
        default_factory=dict
    )

    def __call__(self, weights: Weights) -> Any:
        """Computes the expected cost of independent choices, a scalar.

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
        for kinds, table in self.joint.items():
            own = [weights[kind][0] for kind in kinds.split(JOINT)]
            total = total + _mean(table, own)
        for kind, table in self.whole.items():
            mine = weights[kind]
            sizes = enumerate(table.shape)
            total = total + _mean(table, [mine[e, :size] for e, size in sizes])
        return total

    def _widths(self, kind: str | None, weights: Weights, count: int, like: Any) -> Any:
        """Returns the probabilities of a kind's widths; 1 where there is no choice."""
        if kind is None or kind not in self.edges:
            return np.ones(count, like.dtype)
        return weights[kind][self.edges[kind], :count]

    def to_json(self) -> str:
        """Returns the polynomial as JSON."""
        tree = dataclasses.asdict(self)
        for name in ("joint", "whole"):
            if not tree[name]:
                del tree[name]
        return json.dumps(tree, default=np.ndarray.tolist) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ExpectedCost":
        """Reads ``text``, as `to_json` wrote it; damaged, it raises InputError."""
        try:
            tree = json.loads(text)
            for name in ("tables", "around", "joint", "whole"):
                tree.setdefault(name, {})
                tree[name] = {k: np.array(v, float) for k, v in tree[name].items()}
            return cls(**tree)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"not a table of expected costs: {error!r}") from None


def _mean(table: Float[np.ndarray, "..."], probabilities: Sequence[Any]) -> Any:
    """Returns the mean of a table over independent choices of a place on each axis."""
    part: Any = np.asarray(table, probabilities[0].dtype)
    for mine in probabilities:
        part = (mine * part.T).T.sum(0)
    return part


@dataclasses.dataclass(frozen=True)
class Price:
    """Cost of single operations and layers in one unit.

    Attributes:
      unit: the unit, such as "million parameters".
      operation: cost of the operation at a site.
      layer: cost of a module around the operations that takes images of these shapes;
        0 where that is not known.
    """

    unit: str
    operation: Callable[[Site], float]
    layer: Callable[[nn.Module, tuple[ImageShape, ...]], float]


_layer_macs = functools.cache(module_macs)


@functools.cache
def _layer_parameters(module: nn.Module, shapes: tuple[ImageShape, ...]) -> int:
    key = jax.random.key(0)
    images = (jnp.zeros((1, *shape)) for shape in shapes)
    variables = jax.eval_shape(lambda: module.init(key, *images, False))
    return count_parameters(variables.get("params", {}))


PRICES: dict[str, Price] = {
    "macs": Price(
        "million multiply-accumulates",
        lambda site: operation_macs(site) / 1e6,
        lambda layer, shapes: _layer_macs(layer, shapes) / 1e6,
    ),
    "parameters": Price(
        "million parameters",
        lambda site: operation_parameters(site) / 1e6,
        lambda layer, shapes: _layer_parameters(layer, shapes) / 1e6,
    ),
}
"""Prices that are counted, by their names in ``search.costs``."""


def get_price(name: str) -> Price:
    """Returns the price that a name or a file stands for.

    Args:
      name: value of ``search.costs``: a name of `PRICES`, or the file of a table.

    Raises:
      InputError: there is no such file, or it is damaged.
    """
    if name in PRICES:
        return PRICES[name]
    if not open_place(name).exists():
        known = ", ".join(PRICES)
        raise InputError(f"costs are {known} or in a table's file; there is no {name}")
    table = read_cost_table(name)
    return Price(table.unit, table.look_up, lambda layer, shapes: 0.0)


def make_expected_cost(
    space: Space, net: Network, image_shape: ImageShape, price: Price
) -> ExpectedCost:
    """Makes the expected cost of all networks of a space that have one size.

    Args:
      space: the search space.
      net: a network of that size, of any genotype; see `make_empty_network`.
      image_shape: height, width and channels of the images.
      price: cost of single operations and layers.

    Raises:
      InputError: the price has no such operation, or the cost of a cell depends on
        which of several kinds is before it.
    """
    placed = placed_blocks(net, image_shape)
    stem = (
        ImageNetStem(net.channels, net.macro.axes)
        if net.imagenet
        else make_stem(net.macro, net.widths())
    )
    tables = _zero_tables(space, net)
    around = {kind: np.zeros(table.shape[2:]) for kind, table in tables.items()}
    fixed = 0.0
    if net.macro.stem_follows:
        kind = net.macro.stem_follows
        for j, share in enumerate(space.cells[kind].width_shares):
            width = _scale_channels(net.widths()[STEM], share)
            own = make_stem(net.macro, {STEM: width})
            around[kind][0, j] += price.layer(own, (image_shape,))
    elif COLUMNS in tables:
        one, two = (price.layer(stem, ((*image_shape[:2], n),)) for n in (1, 2))
        fixed += 2 * one - two
        tables[COLUMNS][:, 0] = two - one  # of a column that is taken
    else:
        fixed += price.layer(stem, (image_shape,))
    for place in placed:
        kind = place.block.kind
        if kind not in space.cells:
            layer = make_plain_block(place.block, net.macro.axes)
            fixed += price.layer(layer, (place.earlier, place.last))
        elif net.macro.preprocesses:
            for i, j, narrow in _narrow_blocks(space, net, place):
                layer = Preprocess(narrow.block, affine=True)
                around[kind][i, j] += price.layer(layer, (narrow.earlier, narrow.last))
    for choice in choice_sites(space, net, image_shape):
        table = tables[choice.kind]
        cost = price.operation(choice.site)
        table[choice.edge, choice.operation, choice.before, choice.own] += cost
    head = net.top or make_head(net.macro, net.widths(), net.classes)
    for i, j, narrow in _narrow_blocks(space, net, placed[-1]):
        around[narrow.block.kind][i, j] += price.layer(head, (narrow.output,))
    edges = {
        kind: cell.width_edge
        for kind, cell in space.cells.items()
        if cell.width_edge is not None
    }
    kinds_before = {kind: _kind_before(space, net, kind) for kind in space.cells}
    before = {kind: other for kind, other in kinds_before.items() if other in edges}
    return ExpectedCost(price.unit, fixed, tables, around, edges, before)


def choice_sites(
    space: Space, net: Network, image_shape: ImageShape
) -> Iterator[ChoiceSite]:
    """Yields every choice at every site where it may stand, with all widths.

    Args:
      space: the search space.
      net: a network of the size in question, of any genotype.
      image_shape: height, width and channels of the images.
    """
    for place in placed_blocks(net, image_shape):
        cell = space.cells.get(place.block.kind)
        if cell is None:
            continue
        for i, j, narrow in _narrow_blocks(space, net, place):
            for e, edge in enumerate(cell.edges):
                is_entering = edge.source < cell.inputs
                height, width, _ = narrow.last if is_entering else narrow.output
                inputs, channels = site_widths(narrow.block, net.macro, is_entering)
                for o, operation in enumerate(edge.operations):
                    site = Site(operation, inputs, channels, edge.stride, height, width)
                    yield ChoiceSite(narrow.block.kind, e, o, site, before=i, own=j)


def make_empty_network(
    space: Space, classes: int, cells: int, channels: int, imagenet: bool = False
) -> Network:
    """Makes a network of a space whose edges all are ``none``.

    Args:
      space: the search space.
      classes: number of classes.
      cells: number of cells.
      channels: number of initial channels.
      imagenet: whether it has the stem for images of ImageNet's size.
    """
    blank = {
        kind: CellGenotype(
            cell.inputs,
            tuple(KeptEdge(e.target, e.source, "none") for e in cell.edges),
            cell.output,
        )
        for kind, cell in space.cells.items()
    }
    genotype = Genotype(space.name, blank)
    return Network(genotype, space.macro, classes, cells, channels, imagenet)


def _narrow_blocks(
    space: Space, net: Network, place: PlacedBlock
) -> Iterator[tuple[int, int, PlacedBlock]]:
    """Yields a cell's block with every width before it and every width of its own."""
    block = place.block
    for i, before in enumerate(_shares_before(space, net, block.kind)):
        earlier_width = _scale_channels(block.widths[0], before)
        last_width = _scale_channels(block.widths[1], before)
        for j, own in enumerate(space.cells[block.kind].width_shares):
            if block.kind == net.macro.stem_follows:
                earlier_width = _scale_channels(block.widths[0], own)
                last_width = _scale_channels(block.widths[1], own)
            channels = _scale_channels(block.channels, own)
            output = channels * (block.output // block.channels)
            narrow = PlacedBlock(
                block=dataclasses.replace(
                    block,
                    widths=(earlier_width, last_width),
                    channels=channels,
                    output=output,
                ),
                earlier=(*place.earlier[:2], earlier_width),
                last=(*place.last[:2], last_width),
                output=(*place.output[:2], output),
            )
            yield i, j, narrow


def _zero_tables(space: Space, net: Network) -> dict[str, np.ndarray]:
    """Returns kind -> zeros [edge, op, width before, own width]."""
    tables = {}
    for kind, cell in space.cells.items():
        before = len(_shares_before(space, net, kind))
        tables[kind] = np.zeros((*cell.shape, before, len(cell.width_shares)))
    return tables


def _shares_before(space: Space, net: Network, kind: str) -> tuple[float, ...]:
    """Returns the shares of the channels that the cell before a kind may have."""
    before = _kind_before(space, net, kind)
    return _width_shares(space, before)


def _kind_before(space: Space, net: Network, kind: str) -> str | None:
    """Returns the kind before a kind's cells; None where no width is chosen there."""
    kinds = net.macro.layout(net.cells)
    found = {
        kinds[i - 1] if i else None for i, other in enumerate(kinds) if other == kind
    }
    chosen = {k for k in found if len(_width_shares(space, k)) > 1}
    if chosen and len(found) > 1:
        raise InputError(
            f"{kind} cells follow cells of several kinds, some with a choice of width: "
            "what they cost depends on which; want one kind before them"
        )
    return chosen.pop() if chosen else None


def _width_shares(space: Space, kind: str | None) -> tuple[float, ...]:
    cell = space.cells.get(kind) if kind else None
    return cell.width_shares if cell else (1.0,)


def _scale_channels(channels: int, share: float) -> int:
    return channels if share == 1 else rounded(channels * share)
