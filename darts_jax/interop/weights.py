"""Conversion of published weights to our trees and back, by the rows of `rows.py`.

To add a family of networks: a function of its rows, and an entry in `FAMILIES`.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import PRNGKeyArray

from darts_jax.errors import InputError
from darts_jax.interop.image import alpha_names, network_layers, supernet_layers
from darts_jax.interop.recurrent import initialize_recurrent, recurrent_rows
from darts_jax.interop.rows import (
    Row,
    export_array,
    import_array,
    make_rows,
    named_leaves,
    require_every_row,
    shorten_list,
)
from darts_jax.models.functional import Initialized, initialize, initialize_supernet
from darts_jax.models.network import Network
from darts_jax.models.recurrent import RecurrentNetwork
from darts_jax.models.supernet import Supernet
from darts_jax.types import Alpha, AnyArray, Params, Stats

Arrays = Mapping[str, AnyArray]
"""Published name -> array; a PyTorch state dict on the host is one too."""


AlphaNames = Mapping[str, tuple[str, tuple[int, ...]]]
"""Published name -> our key and the shape of architecture parameters."""


@dataclasses.dataclass(frozen=True)
class Family:
    """A class of networks whose published arrays are known.

    Attributes:
      initialize: (net, key) -> parameters and statistics, those of a net for images
        of the published size.
      rows: (net, the same trees, of shapes) -> a row for each published array.
      alpha: net -> its architecture parameters; none in a network without.
    """

    initialize: Callable[[Any, PRNGKeyArray], Initialized]
    rows: Callable[[Any, Initialized], tuple[Row, ...]]
    alpha: Callable[[Any], AlphaNames]


def _initialize_network(net: Network, key: PRNGKeyArray) -> Initialized:
    side = 224 if net.imagenet else 32
    return initialize(net, key, jnp.zeros((2, side, side, 3)), jnp.zeros(()))


def _initialize_supernet(net: Supernet, key: PRNGKeyArray) -> Initialized:
    return initialize_supernet(net, key, (32, 32, 3))


def _network_rows(net: Network, shapes: Initialized) -> tuple[Row, ...]:
    return make_rows(network_layers(net, shapes), shapes)


def _supernet_rows(net: Supernet, shapes: Initialized) -> tuple[Row, ...]:
    return make_rows(supernet_layers(net, shapes), shapes)


FAMILIES: dict[type[nn.Module], Family] = {
    Network: Family(_initialize_network, _network_rows, alpha=lambda net: {}),
    Supernet: Family(_initialize_supernet, _supernet_rows, alpha_names),
    RecurrentNetwork: Family(initialize_recurrent, recurrent_rows, lambda net: {}),
}
"""Class of network -> its family."""


def published_rows(net: nn.Module) -> tuple[Row, ...]:
    """Returns a row for every array that the network's published form has.

    Args:
      net: a network of one of the `FAMILIES`.

    Raises:
      InputError: it is of none, or some of its arrays have no published name.
    """
    return _rows(net, _shapes(net))


def import_weights(net: nn.Module, arrays: Arrays) -> Initialized:
    """Converts published arrays to a network's parameters and running statistics.

    A prefix ``module.``, an underscore before the first name, ``num_batches_tracked``
    and architecture parameters are passed over.

    Args:
      net: a network of one of the `FAMILIES`.
      arrays: published name -> floating-point array.

    Returns:
      ``(params, stats)`` in float32.

    Raises:
      InputError: arrays are missing, unknown, of another shape or no floating-point
        numbers; statistics differ that the network shares; in one line, all of it.
    """
    shapes = _shapes(net)
    rows = _rows(net, shapes)
    given = _clean_names(arrays)
    _require_fit(net, rows, given)
    empty = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    leaves = named_leaves(empty)
    for row in rows:
        leaf = leaves[row.path]
        leaf[row.index] = import_array(row, given[row.name], leaf[row.index].shape)
    return jax.tree.map(jnp.asarray, empty)


def export_weights(
    net: nn.Module, params: Params, stats: Stats
) -> dict[str, np.ndarray]:
    """Converts a network's parameters and statistics to published arrays; float32.

    PyTorch loads them strictly although ``num_batches_tracked`` is absent.

    Args:
      net: a network of one of the `FAMILIES`.
      params: its parameters.
      stats: its running statistics.

    Returns:
      Published name -> array.

    Raises:
      InputError: the trees are not this network's.
    """
    shapes = _shapes(net)
    wanted = named_leaves(shapes)
    leaves = named_leaves(Initialized(params, stats))
    names = {"/".join(path) for path in wanted.keys() ^ leaves.keys()}
    names |= {
        f"{'/'.join(path)} is {leaf.shape}, not {wanted[path].shape}"
        for path, leaf in leaves.items()
        if path in wanted and leaf.shape != wanted[path].shape
    }
    if names:
        raise InputError(
            f"parameters and statistics are not this {type(net).__name__}'s; "
            f"what differs: {shorten_list(sorted(names))}"
        )
    host = {path: np.asarray(leaf) for path, leaf in leaves.items()}
    return {
        row.name: export_array(row, host[row.path][row.index])
        for row in _rows(net, shapes)
    }


def import_alpha(net: nn.Module, arrays: Arrays) -> Alpha:
    """Converts published architecture parameters to our ``alpha``; float32.

    Args:
      net: the supernet.
      arrays: a state dict, or these parameters alone. DARTS and PC-DARTS keep
        theirs out of the state dict.

    Returns:
      kind -> [edge, op]; and ``"<kind>.edges"`` -> [edge] where these are given.

    Raises:
      InputError: some are missing or of another shape.
    """
    given = _clean_names(arrays)
    wanted = _family(net).alpha(net)
    if not wanted:
        raise InputError(f"a {type(net).__name__} has no architecture parameters")
    # Edges' own parameters are PC-DARTS's alone: all of them or none.
    edges = {name for name, (_, shape) in wanted.items() if len(shape) == 1}
    names = [n for n in wanted if n not in edges or edges & given.keys()]
    problems = _problems(given, {name: wanted[name][1] for name in names})
    if problems:
        raise InputError("no architecture parameters: " + "; ".join(problems))
    return {wanted[n][0]: jnp.asarray(given[n], jnp.float32) for n in names}


def export_alpha(net: nn.Module, alpha: Alpha) -> dict[str, np.ndarray]:
    """Converts ``alpha`` to published architecture parameters.

    Args:
      net: the supernet.
      alpha: kind -> [edge, op], and ``"<kind>.edges"`` -> [edge] where it has these.

    Returns:
      Published name -> array.

    Raises:
      InputError: it has a part that has no published name.
    """
    names = {key: name for name, (key, _) in _family(net).alpha(net).items()}
    unknown = alpha.keys() - names.keys()
    if unknown:
        raise InputError(
            f"no published names for alpha's {shorten_list(sorted(unknown))}"
        )
    return {names[key]: np.asarray(value) for key, value in alpha.items()}


def _family(net: nn.Module) -> Family:
    if type(net) not in FAMILIES:
        known = ", ".join(kind.__name__ for kind in FAMILIES)
        raise InputError(f"no published names for a {type(net).__name__}; of {known}")
    return FAMILIES[type(net)]


def _shapes(net: nn.Module) -> Initialized:
    make = functools.partial(_family(net).initialize, net)
    return jax.eval_shape(make, jax.eval_shape(lambda: jax.random.key(0)))


def _rows(net: nn.Module, shapes: Initialized) -> tuple[Row, ...]:
    """Returns the rows of a network; raises InputError if arrays have none."""
    rows = _family(net).rows(net, shapes)
    require_every_row(rows, shapes)
    return rows


def _clean_names(arrays: Arrays) -> dict[str, np.ndarray]:
    # DataParallel's prefix, and NATS-Bench's `_stem` and `_cells`.
    return {
        re.sub(r"^(module\.)*_?", "", name): np.asarray(array)
        for name, array in arrays.items()
        if not name.endswith("num_batches_tracked")
    }


def _require_fit(
    net: nn.Module, rows: Iterable[Row], given: Mapping[str, np.ndarray]
) -> None:
    shapes = {row.name: row.shape for row in rows}
    problems = _problems(given, shapes)
    unknown = given.keys() - shapes.keys() - _family(net).alpha(net).keys()
    if unknown:
        problems.append(_describe_names(sorted(unknown), "unknown"))
    apart = [row.name for row in rows if not _is_like_twin(row, given)]
    if apart:
        problems.append(
            _describe_names(apart, "unlike another edge's of the same state")
        )
    if problems:
        told = "; ".join(problems)
        raise InputError(f"arrays do not fit this {type(net).__name__}: {told}")


def _problems(
    given: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Describes what is wrong with the arrays that are wanted."""
    missing = [name for name in wanted if name not in given]
    found = [name for name in wanted if name in given]
    misshapen = [
        f"{name} is {given[name].shape}, not {wanted[name]}"
        for name in found
        if given[name].shape != wanted[name]
    ]
    strange = [
        f"{name} is {given[name].dtype}"
        for name in found
        if not jnp.issubdtype(given[name].dtype, jnp.floating)
    ]
    kinds = {
        "missing": missing,
        "of another shape": misshapen,
        "not floating-point": strange,
    }
    return [_describe_names(names, kind) for kind, names in kinds.items() if names]


def _describe_names(names: Iterable[str], kind: str) -> str:
    listed = list(names)
    return f"{len(listed)} {kind} ({shorten_list(listed)})"


def _is_like_twin(row: Row, given: Mapping[str, np.ndarray]) -> bool:
    """Returns whether an array is close to the one that serves in its place."""
    array = given.get(row.name)
    twin = given.get(row.twin or "")
    if array is None or twin is None or array.shape != twin.shape:
        return True
    return np.allclose(array, twin)
