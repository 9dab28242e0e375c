"""Small supernets in float64, with their batches and architecture parameters."""

import jax
import jax.numpy as jnp
import numpy as np

from darts_jax.models.functional import initialize_supernet
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import get_space
from darts_jax.types import Examples
from tests.support.tiny import scalars

DARTS = get_space("darts")
KEY = jax.random.key(0)
CELLS = 3
SCALARS = scalars(
    {"learning_rate": 0.03, "momentum": 0.9, "decay": 3e-4, "clip": 5.0},
    {"learning_rate": 3e-4, "beta1": 0.5, "beta2": 0.999, "decay": 1e-3},
)


def to64(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def small(space=DARTS, execution="scan", cells=CELLS, partial=1, channels=2):
    net = Supernet(space, 3, cells, channels, partial, execution)
    params, stats = initialize_supernet(net, KEY, (8, 8, 2))
    return net, to64(params), to64(stats)


def examples(seed=0, batch=2, size=8):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(batch, size, size, 2)))
    return Examples(images, jnp.asarray(rng.integers(0, 3, batch), jnp.int32))


def random_alpha(space=DARTS, seed=1):
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(rng.normal(size=c.shape)) for k, c in space.cells.items()}


def masks(space):
    return {kind: cell.mask for kind, cell in space.cells.items()}


def graft(own, params, cell, chosen):
    """Puts the supernet's weights of the chosen path into the network's tree."""
    own = jax.tree.map(lambda x: x, own)
    own["stem"], own["head"] = params["stem"], params["head"]
    order = sorted((edge.source, edge.target) for edge in cell.edges)
    for block, tree in own.items():
        if block.startswith("blocks") and "Conv_0" in str(jax.tree.structure(tree)):
            if "edges" not in params[block]:
                own[block] = params[block]
                continue
            for i, (edge, o) in enumerate(zip(cell.edges, chosen, strict=True)):
                name = f"edge_{edge.source}_{edge.target}_{i}"
                if name in tree:
                    stack = params[block]["edges"][edge.operations[o]]
                    place = order.index((edge.source, edge.target))
                    kernel = stack["Conv_0"]["kernel"][:, place]
                    tree[name]["Conv_0"]["kernel"] = kernel
    return own
