"""What operations cost, for the loss term that asks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from darts_jax.models.functional import count_parameters
from darts_jax.models.supernet import Supernet
from darts_jax.operations.image import get_operation


def parameter_costs(net: Supernet) -> dict[str, Float[np.ndarray, "edge op"]]:
    """Millions of parameters of every choice, as a genotype's network has them.

    Kind -> the sum over the cells of that kind, each at its own width, with the affine
    BN of a discrete network.
    """
    costs = {kind: np.zeros(cell.shape) for kind, cell in net.space.cells.items()}
    for block in net.blocks():
        if block.kind not in costs:
            continue
        for e, edge in enumerate(net.space.cells[block.kind].edges):
            for o, operation in enumerate(edge.operations):
                width = block.channels // net.partial
                count = _parameters(operation, width, edge.stride)
                costs[block.kind][e, o] += count / 1e6
    return costs


@functools.lru_cache
def _parameters(operation: str, channels: int, stride: int) -> int:
    module = get_operation(operation)(channels, stride, True)
    image = jnp.zeros((1, 8, 8, channels))
    key = jax.random.key(0)
    streams = dict.fromkeys(("params", "noise", "drop_path"), key)
    made = jax.eval_shape(lambda: module.init(streams, image, False))
    return count_parameters(made.get("params", {}))
