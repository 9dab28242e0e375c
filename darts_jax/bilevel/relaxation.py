"""From architecture parameters to mixing weights: ``p = r(alpha)``."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from darts_jax.types import Alpha, Mask, Mixture, Relaxation


def softmax(key: PRNGKeyArray, alpha: Alpha, mask: Mask) -> Mixture:
    """Softmax over the operations of every edge (Liu et al., 2019, eq. 2)."""
    del key
    return {
        kind: jax.nn.softmax(jnp.where(jnp.asarray(mask[kind]), logits, -jnp.inf))
        for kind, logits in alpha.items()
    }


RELAXATIONS: dict[str, Relaxation] = {"softmax": softmax}
