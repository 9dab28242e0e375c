"""Zero-cost proxies: scores of untrained networks by one batch of images.

Each is a pure function ``(network, batch) -> score``. To add one: ``PROXIES["mine"] =
mine``; see `network.Proxy` for what it is given.
"""

from darts_jax.proxies.az_nas import expressivity, progressivity, trainability
from darts_jax.proxies.counts import flops, params
from darts_jax.proxies.network import Proxy, UntrainedNetwork
from darts_jax.proxies.responses import jacov, naswot
from darts_jax.proxies.saliency import (
    fisher,
    grad_norm,
    grasp,
    l2_norm,
    plain,
    snip,
    synflow,
    zico,
)
from darts_jax.proxies.shared import SharedNetwork, make_shared_network

PROXIES: dict[str, Proxy] = {
    "params": params,
    "flops": flops,
    "l2_norm": l2_norm,
    "grad_norm": grad_norm,
    "plain": plain,
    "snip": snip,
    "grasp": grasp,
    "synflow": synflow,
    "fisher": fisher,
    "jacov": jacov,
    "naswot": naswot,
    "zico": zico,
    "expressivity": expressivity,
    "progressivity": progressivity,
    "trainability": trainability,
}
"""Name -> score of an untrained network. AZ-NAS's complexity is ``flops``."""


__all__ = [
    "PROXIES",
    "Proxy",
    "SharedNetwork",
    "UntrainedNetwork",
    "make_shared_network",
]
