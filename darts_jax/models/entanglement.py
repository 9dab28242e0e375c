"""Weight entanglement: smaller operations are a part of larger ones.

Operations that differ in the size of their kernels alone have one set of weights
(Sukthanker et al., 2023, for searches by gradient; Chen et al., 2021, AutoFormer), and
so have mobile blocks that differ in their expansion (Cai et al., 2020, once-for-all).
This is a function of a supernet's parameters, before its forward pass.
"""

from collections.abc import Collection, Mapping
from typing import Any

import jax
from jaxtyping import Array, Float

from darts_jax.spaces.sizes import (
    expansion,
    kernel_size,
    without_expansion,
    without_kernel,
)
from darts_jax.types import Params

_SIDES = (2, 3)  # axes of a kernel [cell, edge, height, width, ...]
_KERNEL_AXES = 5  # fewer are of a bias


def find_entangled(
    operations: Collection[str], *, kernels: bool = True, expansions: bool = False
) -> dict[str, str]:
    """Returns the operations that are part of another, and the largest of their kind.

    Args:
      operations: names, of which sizes are a part, as "sep_conv_3x3" and "mb6_5x5".
      kernels: whether operations may differ in the size of their kernels.
      expansions: whether mobile blocks may differ in their expansion.

    Returns:
      Operation -> the largest that differs from it in no more than that.
    """
    families: dict[str, dict[tuple[int, int], str]] = {}
    for name in operations:
        sizes = kernel_size(name) or 0, expansion(name) or 0
        family = without_kernel(name) if kernels and sizes[0] else name
        # The block mb1 has no convolution that expands, and none to share.
        if expansions and sizes[1] > name.startswith("mb"):
            family = without_expansion(family)
        families.setdefault(family, {})[sizes] = name
    return {
        name: family[max(family)]
        for family in families.values()
        for sizes, name in family.items()
        if sizes < max(family)
    }


def entangle(
    params: Params, *, kernels: bool = True, expansions: bool = False
) -> Params:
    """Returns a supernet's parameters with each smaller operation a part of a larger.

    A smaller kernel is the middle of the larger one, fewer channels are the first. All
    gradients go to the larger ones. Other parameters of two such operations, as their
    pointwise convolutions, are the larger one's, too.

    Args:
      params: of a `Supernet`: block -> "edges" -> operation -> parameters of all edges.
      kernels: as of `find_entangled`.
      expansions: as of `find_entangled`.

    Returns:
      The tree with some leaves replaced.
    """
    return {
        name: _entangle_block(block, kernels, expansions)
        for name, block in params.items()
    }


def _entangle_block(block: Any, kernels: bool, expansions: bool) -> Any:
    if not isinstance(block, Mapping) or "edges" not in block:
        return block
    edges = dict(block["edges"])
    tied = find_entangled(edges, kernels=kernels, expansions=expansions)
    for small, large in tied.items():
        edges[small] = jax.tree.map(_take_part, edges[small], block["edges"][large])
    return {**block, "edges": edges}


def _take_part(
    small: Float[Array, "cell edge *rest"], large: Float[Array, "cell edge *rest"]
) -> Float[Array, "cell edge *rest"]:
    """Returns the part of a larger array that a smaller one is.

    It is the middle of its height and width, and the first of its channels.
    """
    taken = large
    for axis, size in enumerate(small.shape):
        is_side = axis in _SIDES and small.ndim >= _KERNEL_AXES
        start = (large.shape[axis] - size) // 2 if is_side else 0
        if size != large.shape[axis]:
            taken = jax.lax.slice_in_dim(taken, start, start + size, axis=axis)
    return taken
