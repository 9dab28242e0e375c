"""Subnets: the network of a genotype, with the weights that a supernet has for it.

A genotype's one-hot mixture runs its own operations alone. Their weights are rows of
the supernet's stacks, and the first channels where a cell is narrower. The network
that gets them computes what the supernet does at that mixture, once it has the path's
batch statistics.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from darts_jax.errors import InputError
from darts_jax.models.execution import edge_stacks
from darts_jax.models.functional import (
    Initialized,
    initialize_network,
    shared_parameters,
)
from darts_jax.models.network import Network
from darts_jax.models.operations.image import make_operation
from darts_jax.models.operations.operation import traits
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import Cell, Genotype, KeptEdge
from darts_jax.types import Params, Stats

Leaf = Any
_Path = tuple[str, ...]

_BLOCKS = re.compile(r"blocks_(\d+)_(\d+)")
_EDGE = re.compile(r"edge_\d+_\d+_(\d+)")


def make_subnet(net: Supernet, genotype: Genotype) -> Network:
    """Returns the network of a genotype at the size of a supernet.

    Args:
      net: the supernet.
      genotype: of its space.
    """
    return Network(
        genotype,
        net.space.macro,
        net.classes,
        net.cells,
        net.channels,
        net.imagenet,
        dtype=net.dtype,
    )


def take_subnet(
    net: Supernet,
    genotype: Genotype,
    params: Params,
    stats: Stats,
    image_shape: tuple[int, int, int],
) -> Initialized:
    """Returns parameters and statistics of `make_subnet`'s network, out of a supernet.

    Args:
      net: the supernet.
      genotype: of its space.
      params: weights of the supernet.
      stats: its batch statistics: running ones, or those of the genotype's path.
      image_shape: height, width and channels of the images.

    Raises:
      InputError: the genotype's network is another than the supernet at its mixture.
    """
    _require_same_network(net, genotype)
    network = make_subnet(net, genotype)
    shapes = jax.eval_shape(
        lambda: initialize_network(network, jax.random.key(0), image_shape)
    )
    taken = {
        "params": shared_parameters(net, params),
        "stats": stats,
    }
    places = _Places(net, genotype, taken)
    places.require_no_more(shapes)

    def take(path: Any, leaf: Any) -> np.ndarray:
        collection, *names = (getattr(e, "key", None) or e.name for e in path)
        return places.take(collection, tuple(names), leaf)

    filled: Initialized = jax.tree_util.tree_map_with_path(take, shapes)
    return filled


class _Places:
    """Places of a network's arrays in the trees of a supernet.

    Args:
      net: the supernet.
      genotype: of the network.
      trees: collection -> the supernet's tree.
    """

    def __init__(
        self, net: Supernet, genotype: Genotype, trees: Mapping[str, Any]
    ) -> None:
        self._net = net
        self._genotype = genotype
        self._trees = trees
        self._blocks = net.blocks()
        self._stacks: dict[int, tuple[str, int]] = {}
        for name in {*trees["params"], *trees["stats"]}:
            if match := _BLOCKS.fullmatch(name):
                first = int(match[1])
                for i in range(first, int(match[2]) + 1):
                    self._stacks[i] = name, i - first

    def require_no_more(self, shapes: Initialized) -> None:
        """Raises InputError if a kept operation has arrays in the supernet alone.

        Args:
          shapes: of the network's trees.
        """
        named = shapes._asdict()
        known = {
            (collection, int(match[1]) + at, edge)
            for collection, tree in named.items()
            for block in tree
            if (match := _BLOCKS.fullmatch(block))
            for at in range(int(match[2]) - int(match[1]) + 1)
            for edge in tree[block]
        }
        for i, (block, _) in self._stacks.items():
            kind = self._blocks[i].kind
            if kind not in self._genotype.cells:
                continue
            for n, choice in enumerate(self._genotype.cells[kind].choices):
                stack, _ = self._stack_row(i, choice)
                edge = f"edge_{choice.source}_{choice.target}_{n}"
                for collection in named:
                    held = _find(self._trees[collection], (block, "edges", stack))
                    if held is not None and (collection, i, edge) not in known:
                        raise InputError(
                            f"{choice.operation} of the {kind} cell has batch norm in "
                            "the supernet and none in the genotype's network: they "
                            "differ, so that no weights can be taken out"
                        )

    def _stack_row(self, i: int, choice: KeptEdge) -> tuple[str, int]:
        block = self._blocks[i]
        widens = not self._net.space.macro.preprocesses and (
            block.widths[1] != block.channels
        )
        return _stack_row(self._net.space.cells[block.kind], choice, widens)

    def take(self, collection: str, path: _Path, like: Any) -> np.ndarray:
        """Returns an array of the network.

        Args:
          collection: "params" or "stats".
          path: of the array in the network's tree.
          like: its shape.
        """
        match = _BLOCKS.fullmatch(path[0])
        if match is None:
            return _fit(_find(self._trees[collection], path), path, like)
        shape = like.shape[1:]
        rows = range(int(match[1]), int(match[2]) + 1)
        each = [self._take_of_block(i, collection, path[1:], shape) for i in rows]
        return np.stack(each)

    def _take_of_block(
        self, i: int, collection: str, path: _Path, shape: tuple[int, ...]
    ) -> np.ndarray:
        name, at = self._stacks[i]
        index: tuple[int, ...] = (at,)
        ours = path
        if match := _EDGE.fullmatch(path[0]):
            kind = self._blocks[i].kind
            choice = self._genotype.cells[kind].choices[int(match[1])]
            stack, row = self._stack_row(i, choice)
            ours = ("edges", stack, *path[1:])
            index = at, row
        found = _find(self._trees[collection], (name, *ours))
        like = jax.ShapeDtypeStruct(shape, np.float32)
        return _fit(None if found is None else found[index], path, like)


def _stack_row(cell: Cell, choice: KeptEdge, widens: bool) -> tuple[str, int]:
    """Returns the stack of a kept edge's operation, and the edge's row in it."""
    done: dict[str, int] = {}
    for e in sorted(range(len(cell.edges)), key=lambda e: (cell.edges[e].source, e)):
        edge = cell.edges[e]
        for operation, stack in edge_stacks(cell, e, widens).items():
            row = done.get(stack, 0)
            done[stack] = row + 1
            if choice == KeptEdge(edge.target, edge.source, operation):
                return stack, row
    raise InputError(f"the supernet's space has no edge with {choice}")


def _find(tree: Any, path: _Path) -> Any:
    for name in path:
        if not isinstance(tree, Mapping) or name not in tree:
            return None
        tree = tree[name]
    return tree


def _fit(found: Any, path: _Path, like: Any) -> np.ndarray:
    """Returns the first channels of an array; BN's scale and bias where it has none."""
    if found is None and path[-1] in ("scale", "bias"):
        value = float(path[-1] == "scale")
        return np.full(like.shape, value, np.float32)
    if found is None:
        raise InputError(
            f"the supernet has no {'/'.join(path)}, which the genotype's network has: "
            "their operations differ, so that no weights can be taken out"
        )
    part = tuple(slice(size) for size in like.shape)
    return np.asarray(found)[part]


def _require_same_network(net: Supernet, genotype: Genotype) -> None:
    """Refuses what is computed otherwise in a supernet than in a genotype's network."""
    if net.partial > 1:
        raise InputError(
            "a supernet of partial channels is no network of a genotype: want "
            "supernet.partial_channels=1"
        )
    variants = net.space.supernet_variants
    is_narrow = False
    for kind, cell in genotype.cells.items():
        is_narrow = is_narrow or cell.width_share < 1
        for choice in cell.choices:
            if choice.operation in variants:
                raise InputError(
                    f"{choice.operation} of the {kind} cell is another operation in "
                    f"the supernet, {variants[choice.operation]}: its weights cannot "
                    "be taken out"
                )
            # Every operation takes stride 2, and some take no other.
            module = make_operation(choice.operation, 8, 2, discrete=True)
            if is_narrow and traits(module).adds_input:
                raise InputError(
                    f"{choice.operation} of the {kind} cell expands all channels in "
                    "the supernet, and those that are kept in the genotype's network: "
                    "want a genotype of full widths"
                )
