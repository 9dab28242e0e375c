"""The optimizers of DARTS with PyTorch's conventions, their scalars as arrays.

L2 decay is coupled: it joins the gradient before momentum or moments see it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

Scalar = float | Float[Array, ""]


def sgd(
    *, learning_rate: Scalar, momentum: Scalar, decay: Scalar, clip: Scalar
) -> optax.GradientTransformation:
    """w <- w - rate * buf with buf <- momentum * buf + clipped gradient + decay * w.

    Args:
      clip: largest global norm of the gradient; infinity for none.
    """
    return optax.chain(
        _clip_by_global_norm(clip),
        optax.add_decayed_weights(decay),
        optax.trace(momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def adam(
    *, learning_rate: Scalar, beta1: Scalar, beta2: Scalar, decay: Scalar
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015, algorithm 1) on the gradient plus decay * alpha."""
    chain = optax.chain(
        optax.add_decayed_weights(decay),
        optax.scale_by_adam(beta1, beta2),
        optax.scale_by_learning_rate(learning_rate),
    )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        # optax raises the betas, arrays here, to an integer count.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)


def _clip_by_global_norm(clip: Scalar) -> optax.GradientTransformation:
    """g <- g * min(1, clip / (norm + 1e-6)), PyTorch's form.

    Written so that its derivative is finite for an infinite ``clip``: the exact
    hypergradient goes through it.
    """

    def scaled(gradient: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        norm = optax.tree.norm(gradient) + 1e-6
        share = jnp.minimum(norm, clip) / norm
        return jax.tree.map(lambda g: g * share.astype(g.dtype), gradient)

    return optax.stateless(scaled)
