"""Modules repeated along a leading axis of their variables.

A stack is one traced module whose parameters and statistics carry an extra first
axis, of edges in a cell or of cells in a network. The stack's owner walks that axis by
`lax.scan`, `vmap`, or one slice at a time.
"""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn
from jaxtyping import PRNGKeyArray

from darts_jax.models.operations.layers import STREAMS

Variables = dict[str, Any]
_COLLECTIONS = ("params", "batch_stats")


def declare(
    parent: nn.Module, name: str, module: nn.Module, size: int, *example: Any
) -> Variables:
    """Returns a stack's variables, which the parent holds, and makes them first.

    Args:
      parent: module that holds them.
      name: of the stack in the parent's variables.
      module: one element, called as ``module(*example, train)``.
      size: length of the leading axis.
      example: arguments of the shapes that one element will see.

    Returns:
      Collection -> tree with leaves [size, ...]; collections without leaves are absent.
    """
    if parent.is_initializing():
        keys = jax.random.split(parent.make_rng("params"), size)
        made = jax.vmap(
            lambda key: module.init(
                {"params": key} | dict.fromkeys(STREAMS, key), *example, False
            )
        )(keys)
        for collection, tree in made.items():
            parent.put_variable(collection, name, tree)
    return {
        collection: parent.get_variable(collection, name)
        for collection in _COLLECTIONS
        if parent.has_variable(collection, name)
    }


def apply(
    module: nn.Module,
    variables: Variables,
    key: PRNGKeyArray,
    *arguments: Any,
    train: bool,
    behind: Sequence[Any] = (),
) -> tuple[Any, Any]:
    """Runs one element of a stack.

    Args:
      module: the element, called as ``module(*arguments, train, *behind)``.
      variables: of the element.
      key: of all random streams; consumed.
      arguments: before ``train``.
      train: whether the network is trained.
      behind: arguments that follow ``train``.

    Returns:
      The output, and the statistics after the call.
    """
    output, changed = module.apply(
        variables,
        *arguments,
        train,
        *behind,
        rngs=dict.fromkeys(STREAMS, key),
        mutable=["batch_stats"],
    )
    return output, changed.get("batch_stats", {})


def commit(parent: nn.Module, name: str, stats: Any) -> None:
    """Stores a stack's new statistics in its parent, where these may change.

    Args:
      parent: module that holds the stack.
      name: of the stack.
      stats: leaves [size, ...].
    """
    if jax.tree.leaves(stats) and parent.is_mutable_collection("batch_stats"):
        parent.put_variable("batch_stats", name, stats)


def key_for(parent: nn.Module, stream: str) -> PRNGKeyArray:
    """Returns the key of a random stream; a fixed one if the caller passed none.

    Args:
      parent: module that draws.
      stream: an entry of `STREAMS`.
    """
    return parent.make_rng(stream) if parent.has_rng(stream) else jax.random.key(0)
