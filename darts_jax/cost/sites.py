"""Where operations stand, and what they cost there: counted here, or from a table."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters
from darts_jax.models.macro import Block
from darts_jax.models.operations.image import get_operation
from darts_jax.models.operations.layers import STREAMS
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import Macro

Size = tuple[int, int]
Costs = dict[str, Float[np.ndarray, "edge op"]]


@dataclasses.dataclass(frozen=True, order=True)
class Site:
    """An operation where it stands: the widths, stride and image size that it meets.

    Attributes:
      inputs: channels that enter it.
      channels: that leave it.
      height: of the image that enters it; so is ``width``.
    """

    operation: str
    inputs: int
    channels: int
    stride: int
    height: int
    width: int


def parameter_costs(net: Supernet) -> Costs:
    """Millions of parameters of every choice, as a genotype's network has them.

    Kind -> the sum over the cells of that kind, each at its own width, with the affine
    BN of a discrete network.
    """
    return operation_costs(
        net, _ANY_SIZE, lambda site: operation_parameters(site) / 1e6
    )


_ANY_SIZE = (8, 8)  # no operation's parameters depend on it


@functools.cache
def operation_parameters(site: Site) -> int:
    """Of one operation of a genotype's network."""
    module = get_operation(site.operation)(site.channels, site.stride, True)
    image = jnp.zeros((1, site.height, site.width, site.inputs))
    key = jax.random.key(0)
    streams = dict.fromkeys(("params", *STREAMS), key)
    made = jax.eval_shape(lambda: module.init(streams, image, False))
    return count_parameters(made.get("params", {}))


def operation_costs(net: Supernet, size: Size, cost: Callable[[Site], float]) -> Costs:
    """A cost of every choice of every edge, summed over the cells of each kind.

    Args:
      size: [height, width] of the images.
      cost: of one operation in one cell.

    Returns:
      Kind -> float64 array, 0 where an edge has no such operation.
    """
    sums = {kind: np.zeros(cell.shape) for kind, cell in net.space.cells.items()}
    for kind, edge, column, site in sites(net, size):
        sums[kind][edge, column] += cost(site)
    return sums


def sites(net: Supernet, size: Size) -> Iterator[tuple[str, int, int, Site]]:
    """Every operation of every cell: its kind, edge, column, and where it stands.

    Args:
      size: [height, width] of the images.
    """
    space = net.space
    for block, before, after in sized_blocks(net.blocks(), space.macro, size):
        if block.kind not in space.cells:
            continue
        cell = space.cells[block.kind]
        for e, edge in enumerate(cell.edges):
            enters = edge.source < cell.inputs
            widths = site_widths(block, space.macro, enters, net.partial)
            place = before if enters else after
            for o, operation in enumerate(edge.operations):
                site = Site(operation, *widths, edge.stride, *place)
                yield block.kind, e, o, site


def site_widths(
    block: Block, macro: Macro, enters: bool, partial: int = 1
) -> tuple[int, int]:
    """Channels that enter and leave an operation of a block.

    Args:
      enters: whether it is on an edge that leaves an input.
      partial: of the channels, 1/partial enter operations.
    """
    projected = macro.preprocesses or not enters
    inputs = block.channels if projected else block.widths[1]
    return inputs // partial, block.channels // partial


def sized_blocks(
    blocks: Sequence[Block], macro: Macro, size: Size
) -> Iterator[tuple[Block, Size, Size]]:
    """Blocks with the sizes [height, width] of what enters them and what leaves.

    Args:
      size: of what enters the stem.
    """
    size = halved(size, int(macro.stem_stride == 2))
    for block in blocks:
        after = halved(size, int(block.kind in macro.reductions))
        yield block, size, after
        size = after


def halved(size: Size, times: int) -> Size:
    """After that many strides of 2; odd images are rounded up."""
    height, width = (-(-n // 2**times) for n in size)
    return height, width


@dataclasses.dataclass(frozen=True)
class CostTable:
    """What operations cost where they stand, counted or measured, to be kept in a file.

    Attributes:
      unit: of the costs, such as "ms".
      conditions: under which they hold: device, batch, dtype; for people.
      costs: of every operation at every width and size.
    """

    unit: str
    conditions: Mapping[str, str | int]
    costs: Mapping[Site, float]

    def __call__(self, net: Supernet, size: Size) -> Costs:
        """The table as the loss term takes it; see `operation_costs`.

        Raises:
          InputError: the network has an operation that the table has not.
        """
        return operation_costs(net, size, self.at)

    def at(self, site: Site) -> float:
        """One cost; raises InputError if it is not in the table."""
        if site not in self.costs:
            raise InputError(
                f"the table of costs lacks {_told(site)}; make one for this space, "
                "these cells, channels and images"
            )
        return self.costs[site]

    def to_json(self) -> str:
        rows = [
            {**dataclasses.asdict(site), "cost": cost}
            for site, cost in sorted(self.costs.items())
        ]
        tree = {"unit": self.unit, "conditions": dict(self.conditions), "costs": rows}
        return json.dumps(tree, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CostTable":
        """Reads what `to_json` wrote; raises InputError if it is damaged."""
        try:
            tree = json.loads(text)
            pairs = [_row(row) for row in tree["costs"]]
            table = cls(str(tree["unit"]), dict(tree["conditions"]), dict(pairs))
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"not a table of costs: {error!r}") from None
        if len(table.costs) != len(pairs):
            raise InputError("not a table of costs: an operation stands in it twice")
        return table


def read_cost_table(path: str | Path) -> CostTable:
    """The table of a file; raises InputError if there is none, or it is damaged."""
    try:
        return CostTable.from_json(Path(path).read_text())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read a table of costs from {path}: {error}") from None


def _row(row: Any) -> tuple[Site, float]:
    site = Site(**{field.name: row[field.name] for field in dataclasses.fields(Site)})
    numbers = (site.inputs, site.channels, site.stride, site.height, site.width)
    if type(site.operation) is not str or not all(
        type(n) is int and n > 0 for n in numbers
    ):
        raise InputError(
            f"not a table of costs: {row}; want the name of an operation, and whole "
            "numbers above 0 for its inputs, channels, stride, height and width"
        )
    cost = row["cost"]
    if type(cost) not in (int, float) or not 0 <= cost < math.inf:
        raise InputError(
            f"the cost of {_told(site)} is {cost!r}; want a number, at least 0"
        )
    return site, float(cost)


def _told(site: Site) -> str:
    return (
        f"{site.operation} of {site.inputs} to {site.channels} channels with stride "
        f"{site.stride} on {site.height}x{site.width}"
    )
