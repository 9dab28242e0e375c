"""Weight entanglement: smaller kernels are the middle of larger ones.

Operations that differ in the size of their kernels alone have one set of weights
(Sukthanker et al., 2023, for searches by gradient; Chen et al., 2021, AutoFormer). This
is a function of a supernet's parameters, before its forward pass.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jax
from jaxtyping import Array, Float

from darts_jax.types import Params

_KERNEL = re.compile(r"_(\d+)x\1(?=_|$)")
_SIDES = (2, 3)  # axes of a kernel [cell, edge, height, width, ...]


def find_entangled(operations: Collection[str]) -> dict[str, str]:
    """Returns the operations that are part of another, and the largest of their kind.

    Args:
      operations: names, of which the size of a kernel is a part, as "sep_conv_3x3".

    Returns:
      Operation -> the one of the same name with the largest kernel.
    """
    families: dict[str, dict[int, str]] = {}
    for name in operations:
        size = _KERNEL.search(name)
        if size is not None:
            families.setdefault(_KERNEL.sub("", name), {})[int(size[1])] = name
    return {
        name: family[max(family)]
        for family in families.values()
        for size, name in family.items()
        if size < max(family)
    }


def entangle(params: Params) -> Params:
    """Returns a supernet's parameters with each smaller kernel the middle of a larger.

    All gradients go to the larger ones. Other parameters of two such operations, as
    their pointwise convolutions, are the larger one's, too.

    Args:
      params: of a `Supernet`: block -> "edges" -> operation -> parameters of all edges.

    Returns:
      The tree with some leaves replaced.
    """
    return {name: _entangle_block(block) for name, block in params.items()}


def _entangle_block(block: Any) -> Any:
    if not isinstance(block, Mapping) or "edges" not in block:
        return block
    edges = dict(block["edges"])
    for small, large in find_entangled(edges).items():
        edges[small] = jax.tree.map(_take_middle, edges[small], block["edges"][large])
    return {**block, "edges": edges}


def _take_middle(
    small: Float[Array, "cell edge *rest"], large: Float[Array, "cell edge *rest"]
) -> Float[Array, "cell edge *rest"]:
    """Returns the middle of a larger array, of a smaller one's height and width."""
    taken = large
    for axis in _SIDES if small.shape != large.shape else ():
        margin = (large.shape[axis] - small.shape[axis]) // 2
        taken = jax.lax.slice_in_dim(
            taken, margin, margin + small.shape[axis], axis=axis
        )
    return taken
