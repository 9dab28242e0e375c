"""A genotype's own network, with the parameters that a shared network has for it."""

import jax
import jax.numpy as jnp
import numpy as np

from darts_jax.models.execution import edge_stacks
from darts_jax.models.functional import initialize_network, network_apply
from darts_jax.models.network import Network
from darts_jax.proxies import UntrainedNetwork, make_shared_network
from darts_jax.types import Examples

IMAGE = (8, 8, 2)


def to64(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def shared_network(space, cells=1, channels=2):
    """All genotypes of a space in float64, with parameters that are all drawn."""
    network = make_shared_network(space, 3, cells, channels, IMAGE, jax.random.key(0))
    rng = np.random.default_rng(3)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(leaf + rng.normal(0, 0.05, leaf.shape)),
        to64(network.params),
    )
    return network.__class__(
        network.supernet, params, to64(network.stats), network.macs
    )


def batch(images=6, seed=0):
    rng = np.random.default_rng(seed)
    return Examples(
        jnp.asarray(rng.normal(size=(images, *IMAGE))),
        jnp.asarray(rng.integers(0, 3, images), jnp.int32),
    )


def own_network(space, genotype, shared):
    """The network of a genotype, a module of its own, as a proxy sees it."""
    size = shared.supernet
    net = Network(genotype, space.macro, size.classes, size.cells, size.channels)
    made, stats = initialize_network(net, jax.random.key(1), IMAGE)
    kinds = [block.kind for block in net.blocks()]
    own = {}
    for name, tree in made.items():
        own[name] = shared.params[name]
        if "edges" in shared.params[name]:
            kind = kinds[int(name.split("_")[1])]
            own[name] = _own_block(
                space.cells[kind], genotype.cells[kind], tree, own[name]
            )
    apply = network_apply(net)
    rate, key = jnp.zeros(()), jax.random.key(0)

    def logits(params, stats, images, *, train):
        return apply(params, stats, images, rate, key, train=train)[0].main

    jax.tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), made, own)
    return UntrainedNetwork(logits, own, to64(stats))


def _own_block(cell, chosen, tree, given):
    own = {name: leaf for name, leaf in given.items() if name != "edges"}
    for i, choice in enumerate(chosen.choices):
        name = f"edge_{choice.source}_{choice.target}_{i}"
        if name not in tree:
            continue
        (e,) = (
            e
            for e, edge in enumerate(cell.edges)
            if (edge.source, edge.target) == (choice.source, choice.target)
        )
        stack = edge_stacks(cell, e, False)[choice.operation]
        sharing = sorted(
            (edge.source, edge.target)
            for other, edge in enumerate(cell.edges)
            if edge_stacks(cell, other, False).get(choice.operation) == stack
        )
        row = sharing.index((choice.source, choice.target))
        rows = given["edges"][stack]
        own[name] = jax.tree.map(lambda leaf, row=row: leaf[:, row], rows)
    return own
