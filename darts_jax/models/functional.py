"""Networks as pure functions of plain trees of arrays.

Nothing outside this folder knows Flax's variables; nothing inside it knows how an
architecture is learned.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.kernels import BN_EPSILON, use_precision
from darts_jax.models import stack
from darts_jax.models.entanglement import entangle
from darts_jax.models.network import Logits, Network
from darts_jax.models.operations.layers import MOMENTS, STREAMS, Image, draw
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import Space
from darts_jax.types import Mixture, NetworkApply, Params, Stats, SupernetApply


class Initialized(NamedTuple):
    """Parameters and statistics of a network that has not been trained."""

    params: Params
    stats: Stats


def initialize(module: nn.Module, key: PRNGKeyArray, *example: Any) -> Initialized:
    """Returns parameters and statistics of a network.

    Args:
      module: the network, called as ``module(*example, train)``.
      key: consumed.
      example: arguments of the network, of which only shapes and dtypes matter.
    """

    def init(key: PRNGKeyArray) -> Any:
        streams = dict.fromkeys(("params", *STREAMS), key)
        return draw(key, module.init(streams, *example, False))

    variables = jax.jit(init)(key)
    return Initialized(variables["params"], variables.get("batch_stats", {}))


def initialize_supernet(
    net: Supernet, key: PRNGKeyArray, image_shape: tuple[int, int, int]
) -> Initialized:
    """Returns parameters and statistics of a supernet.

    Args:
      net: the supernet.
      key: consumed.
      image_shape: height and width in pixels, and number of channels, of its images.
    """
    return initialize(net, key, jnp.zeros((2, *image_shape)), zero_mixture(net.space))


def initialize_network(
    net: Network, key: PRNGKeyArray, image_shape: tuple[int, int, int]
) -> Initialized:
    """Returns parameters and statistics of a genotype's network.

    Args:
      net: the network.
      key: consumed.
      image_shape: height and width in pixels, and number of channels, of its images.
    """
    return initialize(net, key, jnp.zeros((2, *image_shape)), jnp.zeros(()))


def zero_mixture(space: Space) -> Mixture:
    """Returns the mixture in which every operation weighs 0, float32.

    Args:
      space: whose cells it is for.
    """
    return Mixture({k: jnp.zeros(cell.shape) for k, cell in space.cells.items()})


def supernet_apply(net: Supernet, precision: str = "default") -> SupernetApply:
    """Returns the supernet's forward pass.

    Args:
      net: the supernet.
      precision: of its products and of their derivatives', a key of `PRECISIONS`.

    Returns:
      A pure function; see `types.SupernetApply`.
    """

    def apply(
        params: Params,
        stats: Stats,
        mixture: Mixture,
        inputs: Image,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Float[Array, "batch class"], Stats]:
        own = shared_parameters(net, params) if isinstance(net, Supernet) else params
        variables = {"params": own, "batch_stats": stats}
        with use_precision(precision):
            return stack.apply(net, variables, key, inputs, mixture, train=train)

    return apply


def shared_parameters(net: Supernet, params: Params) -> Params:
    """Returns a supernet's parameters as its operations use them.

    Args:
      net: the supernet, which says what is a part of what.
      params: its parameters.
    """
    if not (net.entangled or net.entangled_expansions):
        return params
    return entangle(params, kernels=net.entangled, expansions=net.entangled_expansions)


def network_apply(net: Network, precision: str = "default") -> NetworkApply:
    """Returns the forward pass of a genotype's network.

    Args:
      net: the network.
      precision: of its products and of their derivatives', a key of `PRECISIONS`.

    Returns:
      A pure function; see `types.NetworkApply`.
    """

    def apply(
        params: Params,
        stats: Stats,
        inputs: Image,
        drop_rate: Float[Array, ""],
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Logits, Stats]:
        variables = {"params": params, "batch_stats": stats}
        with use_precision(precision):
            logits, changed = stack.apply(
                net, variables, key, inputs, drop_rate, train=train
            )
        # Statistics of what did not run, the auxiliary head, stay as they were.
        return logits, {**stats, **changed}

    return apply


def weight_layers(params: Params) -> list[Float[Array, "layer ..."]]:
    """Returns the weights of all layers of an image network, apart from its vectors.

    The weights are the kernels of convolutions and of the classifier, and whatever else
    has two axes or more in its layer; scales and biases are left out. Layers that are
    alike, in cells and on edges, are the rows of one array.

    Args:
      params: of a supernet or of a genotype's network, or a tree of its shape.
    """
    layers = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        axes = _stack_axes(path)
        if leaf.ndim >= axes + 2:
            layers.append(leaf.reshape(-1, *leaf.shape[axes:]))
    return layers


def mask_weights(params: Params) -> Params:
    """Returns parameters with zeros in the place of all but `weight_layers`.

    Args:
      params: of a supernet or of a genotype's network, or a tree of its shape.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            leaf if leaf.ndim >= _stack_axes(path) + 2 else jnp.zeros_like(leaf)
        ),
        params,
    )


def channel_sums(params: Params) -> list[Float[Array, "... channel"]]:
    """Returns sums over the kernel, and the bias, of each output channel of each layer.

    Args:
      params: of a supernet or of a genotype's network, or a tree of its shape.
    """
    leaves = {
        tuple(entry.key for entry in path): (_stack_axes(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    sums = []
    for (*place, name), (axes, leaf) in leaves.items():
        if name == "kernel":
            total = jnp.sum(leaf, tuple(range(axes, leaf.ndim - 1)))
            _, bias = leaves.get((*place, "bias"), (0, 0))
            sums.append(total + bias)
    return sums


def label_operations(params: Params) -> Any:
    """Returns a tree of parameters' form with the name of each leaf's operation.

    A leaf of an operation has the axes [cell, edge, ...].

    Args:
      params: of a supernet.

    Returns:
      Names as "blocks_0_2/sep_conv_3x3"; "" for what is of no operation on an edge.
    """

    def label(path: Any, leaf: Any) -> str:
        del leaf
        names = [entry.key for entry in path]
        if "edges" not in names:
            return ""
        place = names.index("edges")
        return "/".join([*names[:place], names[place + 1]])

    return jax.tree_util.tree_map_with_path(label, params)


def identity_statistics(stats: Stats) -> Stats:
    """Returns statistics by which BN in test mode leaves its input as it is.

    Their mean is 0 and their variance 1, less what BN adds to it. The scale and the
    bias of BN are still to be 1 and 0, as they are before training.

    Args:
      stats: running statistics of a network; those of Flax's own `BatchNorm` count too.
    """

    def identity(path: Any, leaf: Array) -> Array:
        name = path[-1].key
        if name == MOMENTS:
            rows = jnp.array([0.0, 1 - BN_EPSILON], leaf.dtype)[:, None]
            return jnp.broadcast_to(rows, leaf.shape)
        if name in ("mean", "var"):
            return jnp.full_like(leaf, 0.0 if name == "mean" else 1 - BN_EPSILON)
        return leaf

    return jax.tree_util.tree_map_with_path(identity, stats)


def _stack_axes(path: Any) -> int:
    """Returns how many axes of a leaf are of stacks: of equal cells, and of edges."""
    names = [entry.key for entry in path]
    return sum(name == "edges" or name.startswith("blocks_") for name in names)


def count_parameters(params: Params) -> int:
    """Returns the number of trainable scalars.

    Args:
      params: a tree of arrays or of their shapes.
    """
    return sum(leaf.size for leaf in jax.tree.leaves(params))
