"""Proxies that count: parameters and multiply-accumulates."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from darts_jax.cost.macs import count_macs
from darts_jax.documentation import implements
from darts_jax.proxies.network import Proxy, UntrainedNetwork, in_double
from darts_jax.types import Examples


@implements(Proxy)
def params(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Counts the trainable scalars.

    A baseline in Krishnakumar et al. (2022, NAS-Bench-Suite-Zero).
    """
    del batch
    used = network.used
    if used is None:
        used = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), network.params)
    counts = [jnp.sum(in_double(leaf)) for leaf in jax.tree.leaves(used)]
    return sum(counts, start=in_double(0.0))


@implements(Proxy)
def flops(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Counts the multiply-accumulates of one image.

    A baseline in Krishnakumar et al. (2022, NAS-Bench-Suite-Zero), and the complexity
    of AZ-NAS (Lee and Ham, 2024). Average pooling counts, as does the padding.
    """
    if network.macs is not None:
        return in_double(network.macs)

    def count(images: int) -> int:
        program = jax.make_jaxpr(
            lambda x: network.apply(network.params, network.stats, x, train=False)
        )(jnp.zeros((images, *batch.images.shape[1:]), batch.images.dtype))
        return count_macs(program)

    # Less what is done once for all images, as counts of the pixels of windows.
    return in_double(float(count(2) - count(1)))
