"""Rows: the published name of an array, and where its numbers lie in our trees.

A family of networks lists its layers (`image.py`). What arrays a layer has, and of
what shapes, is read off our own tree, so that biases, scales and statistics need no
row of their own: what our layer lacks has no name.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from darts_jax.errors import InputError
from darts_jax.models.functional import Initialized
from darts_jax.models.language import HIDDEN
from darts_jax.models.operations.layers import MOMENTS

# Leaf -> the published arrays that lie in it, and where behind the layer's own index.
_LEAVES: dict[str, dict[str, tuple[int, ...]]] = {
    "kernel": {"weight": ()},
    "scale": {"weight": ()},
    "bias": {"bias": ()},
    MOMENTS: {"running_mean": (0,), "running_var": (1,)},
    "mean": {"running_mean": ()},
    "var": {"running_var": ()},
}
# Rank of PyTorch's array -> its axes in our order: (o, i, h, w) to (h, w, i, o), and
# (out, in) to (in, out).
_AXES = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
_SHOWN = 3  # names of a list in an error message


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution, a batch normalisation or a linear layer.

    Attributes:
      name: as published, ``cells.3._ops.5.op.1``.
      path: in our trees, ``blocks_2_3/edge_0_2_0/Conv_0``.
      index: its place in the leading axes of a stack: of cells, of edges.
      window: side of a convolution's window where ours is a matrix over the window's
        pixels; else 1.
      twin: the published layer whose statistics our network uses in this one's place,
        as it computes both at once; or none.
    """

    name: str
    path: str
    index: tuple[int, ...] = ()
    window: int = 1
    twin: str | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A published array.

    Attributes:
      name: as published, ``cells.3._ops.5.op.1.weight``.
      path: of the leaf: its collection, ``params`` or ``stats``, then its keys.
      index: place in the leaf's leading axes.
      shape: of the published array.
      axes: the published array's axes in our order; ours may join some of them.
      twin: name of the array that serves in this one's place, or none.
    """

    name: str
    path: tuple[str, ...]
    index: tuple[int, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    twin: str | None


def make_rows(layers: Iterable[Layer], trees: Initialized) -> tuple[Row, ...]:
    """Makes a row for every array of every layer.

    Args:
      layers: of a network.
      trees: the network's, of arrays or of their shapes.
    """
    return tuple(row for layer in layers for row in _rows(layer, trees))


def require_every_row(rows: Iterable[Row], trees: Initialized) -> None:
    """Raises InputError if some of the trees' numbers have no row.

    Args:
      rows: of a network.
      trees: its parameters and statistics, or their shapes.
    """
    # Arrays that share a place count once.
    places = {(row.path, row.index): math.prod(row.shape) for row in rows}
    named: dict[tuple[str, ...], int] = {}
    for (path, _), size in places.items():
        named[path] = named.get(path, 0) + size
    leaves = named_leaves(trees)
    bare = [path for path, leaf in leaves.items() if named.get(path) != leaf.size]
    if bare:
        raise InputError(
            f"no published names for {len(bare)} arrays of this network "
            f"({shorten_list('/'.join(path) for path in bare)}); "
            "interop.MODULES gives a module's layers theirs"
        )


def named_leaves(trees: Initialized) -> dict[tuple[str, ...], Any]:
    """Returns the leaves of both trees by path, as in `Row.path`.

    Hidden states are left out: they are no weights, but of the text that was read.

    Args:
      trees: parameters and statistics, or their shapes.
    """
    flat, _ = jax.tree_util.tree_flatten_with_path(trees._asdict())
    named = ((tuple(key.key for key in path), leaf) for path, leaf in flat)
    return {path: leaf for path, leaf in named if path[-1] != HIDDEN}


def import_array(row: Row, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Lays a published array out as ours.

    Args:
      row: of the array.
      array: as published.
      shape: of ours.
    """
    return array.transpose(row.axes).reshape(shape)


def export_array(row: Row, array: np.ndarray) -> np.ndarray:
    """Lays one of our arrays out as published: the inverse of `import_array`.

    Args:
      row: of the array.
      array: ours.

    Returns:
      A copy.
    """
    joined = array.reshape([row.shape[axis] for axis in row.axes])
    return np.array(joined.transpose(np.argsort(row.axes)), order="C")


def shorten_list(names: Iterable[str]) -> str:
    """Joins the first few names, and says how many more there are.

    Args:
      names: of arrays, say.
    """
    listed = list(names)
    more = len(listed) - _SHOWN
    rest = f", and {more} more" if more > 0 else ""
    return ", ".join(listed[:_SHOWN]) + rest


def _rows(layer: Layer, trees: Initialized) -> Iterator[Row]:
    for collection, tree in trees._asdict().items():
        keys = tuple(layer.path.split("/"))
        for leaf, value in _descend(tree, keys).items():
            for name, place in _LEAVES[leaf].items():
                index = (*layer.index, *place)
                shape = _published_shape(value.shape[len(index) :], layer.window)
                yield Row(
                    f"{layer.name}.{name}",
                    (collection, *keys, leaf),
                    index,
                    shape,
                    _AXES[len(shape)],
                    layer.twin and f"{layer.twin}.{name}",
                )


def _descend(tree: Mapping[str, Any], keys: tuple[str, ...]) -> Mapping[str, Any]:
    for key in keys:
        tree = tree.get(key, {})
    return tree


def _published_shape(ours: tuple[int, ...], window: int) -> tuple[int, ...]:
    if len(ours) == 3:  # depthwise: PyTorch's kernels have one input channel
        height, width, channels = ours
        ours = height, width, 1, channels
    if len(ours) == 4:
        height, width, inputs, outputs = ours
        ours = height * window, width * window, inputs // window**2, outputs
    axes = _AXES[len(ours)]
    return tuple(ours[axes.index(axis)] for axis in range(len(ours)))
