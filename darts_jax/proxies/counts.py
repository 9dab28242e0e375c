"""Proxies that count: parameters and multiply-accumulates."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from darts_jax.cost.dependence import remove_fixed_products
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
    of AZ-NAS (Lee and Ham, 2024). The padding counts, average pooling does not.
    """
    if network.macs is not None:
        return in_double(network.macs)

    image = jnp.zeros((1, *batch.images.shape[1:]), batch.images.dtype)
    forward = functools.partial(network.apply, train=False)
    program = jax.make_jaxpr(forward)(network.params, network.stats, image)
    given = [True] * len(program.jaxpr.invars)
    return in_double(float(count_macs(remove_fixed_products(program, given))))
