"""All genotypes of a space as one untrained network, a function of their mixture.

At the one-hot mixture of a genotype a supernet of discrete operations is the genotype's
network: operations of weight 0 do not run. So the proxies of any number of genotypes
are one program, in which the genotype is an array.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.cost.expected import (
    ExpectedCost,
    Price,
    make_empty_network,
    make_expected_cost,
)
from darts_jax.cost.modules import module_macs
from darts_jax.cost.networks import operation_macs
from darts_jax.models.execution import edge_stacks
from darts_jax.models.functional import initialize_supernet, supernet_apply
from darts_jax.models.supernet import Supernet
from darts_jax.proxies.network import Proxy, UntrainedNetwork, in_double
from darts_jax.spaces.graph import Cell, Space
from darts_jax.types import Examples, Mixture, Params, Stats

_MACS = Price("multiply-accumulates", operation_macs, module_macs)


@dataclasses.dataclass(frozen=True)
class SharedNetwork:
    """The untrained networks of all genotypes of a space.

    Attributes:
      supernet: of discrete operations.
      params: its parameters, of which each genotype's network has some.
      stats: its running statistics.
      macs: multiply-accumulates of one image by the mixture.
      precision: of products; a key of `kernels.PRECISIONS`.
    """

    supernet: Supernet
    params: Params
    stats: Stats
    macs: ExpectedCost
    precision: str = "default"

    def at(self, mixture: Mixture) -> UntrainedNetwork:
        """Returns the network of a genotype.

        Args:
          mixture: one-hot, of the genotype.
        """
        apply = supernet_apply(self.supernet, self.precision)
        # No operation that a genotype may have draws anything before training.
        key = jax.random.key(0)

        def network(
            params: Params, stats: Stats, images: Array, *, train: bool
        ) -> Float[Array, "batch class"]:
            logits, _ = apply(params, stats, mixture, images, key, train=train)
            return logits

        used = self.used(mixture)
        params = jax.tree.map(
            lambda leaf, use: jnp.where(use, leaf, 0).astype(leaf.dtype),
            self.params,
            used,
        )
        macs = self.macs(jax.tree.map(in_double, mixture.weights))
        return UntrainedNetwork(network, params, self.stats, used, macs)

    def used(self, mixture: Mixture) -> Params:
        """Returns which parameters a genotype's network has, as a tree of booleans.

        Args:
          mixture: one-hot, of the genotype.
        """
        kinds = [block.kind for block in self.supernet.blocks()]
        used: dict[str, Any] = {}
        for name, tree in self.params.items():
            used[name] = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), tree)
            stacks = tree.get("edges") if isinstance(tree, Mapping) else None
            if isinstance(stacks, Mapping):
                kind = kinds[int(name.split("_")[1])]
                cell = self.supernet.space.cells[kind]
                used[name]["edges"] = _used_stacks(
                    cell, stacks, jnp.asarray(mixture.weights[kind])
                )
        return used


def make_shared_network(
    space: Space,
    classes: int,
    cells: int,
    channels: int,
    image_shape: tuple[int, int, int],
    key: PRNGKeyArray,
    precision: str = "default",
) -> SharedNetwork:
    """Makes the untrained networks of all genotypes of a space.

    Parameters are drawn once, from the distributions of each genotype's own network:
    genotypes share those of an operation that they have on the same edge.

    Args:
      space: a space of image cells.
      classes: number of logits.
      cells: depth in units of the space's layout.
      channels: number of channels of the first cells.
      image_shape: height, width and channels of the images.
      key: consumed.
      precision: of products; a key of `kernels.PRECISIONS`.
    """
    supernet = Supernet(
        space,
        classes,
        cells,
        channels,
        execution="scan",
        remat="none",
        sampled=True,
        discrete=True,
    )
    params, stats = initialize_supernet(supernet, key, image_shape)
    size = make_empty_network(space, classes, cells, channels)
    macs = make_expected_cost(space, size, image_shape, _MACS)
    return SharedNetwork(supernet, params, stats, macs, precision)


def score_network(
    network: SharedNetwork,
    proxies: Mapping[str, Proxy],
    mixture: Mixture,
    batch: Examples,
) -> dict[str, Float[Array, ""]]:
    """Returns the scores of a genotype's network; to be jitted and mapped.

    Args:
      network: the networks of all genotypes.
      proxies: name -> proxy.
      mixture: one-hot, of the genotype.
      batch: images as networks take them, and labels.
    """
    one = network.at(mixture)
    return {name: proxy(one, batch) for name, proxy in proxies.items()}


def _used_stacks(
    cell: Cell, stacks: Mapping[str, Any], weights: Float[Array, "edge op"]
) -> dict[str, Any]:
    """Returns which rows of the stacks of a cell's edges a mixture uses.

    Args:
      cell: the graph.
      stacks: name -> leaves [cell, edge of the stack, ...].
      weights: of every operation on every edge.
    """
    widens = any(name.endswith("_widening") for name in stacks)
    places: dict[str, list[tuple[int, int]]] = {}
    for e in sorted(range(len(cell.edges)), key=lambda e: (cell.edges[e].source, e)):
        for op, name in edge_stacks(cell, e, widens).items():
            places.setdefault(name, []).append((e, cell.edges[e].operations.index(op)))

    def rows(name: str) -> Array:
        edges, operations = np.array(places[name]).T
        return weights[edges, operations] != 0

    def spread(leaf: ArrayLike, kept: Array) -> Array:
        shape = jnp.shape(leaf)
        by_row = kept.reshape(1, -1, *itertools.repeat(1, len(shape) - 2))
        return jnp.broadcast_to(by_row, shape)

    return {
        name: jax.tree.map(lambda leaf, name=name: spread(leaf, rows(name)), tree)
        for name, tree in stacks.items()
    }
