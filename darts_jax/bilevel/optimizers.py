"""The optimizers of DARTS with PyTorch's conventions, their scalars as arrays.

L2 decay is coupled: it joins the gradient before momentum or moments see it.
"""

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
        optax.clip_by_global_norm(clip),
        optax.add_decayed_weights(decay),
        optax.trace(momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def adam(
    *, learning_rate: Scalar, beta1: Scalar, beta2: Scalar, decay: Scalar
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015, algorithm 1) on the gradient plus decay * alpha."""
    return optax.chain(
        optax.add_decayed_weights(decay),
        optax.scale_by_adam(beta1, beta2),
        optax.scale_by_learning_rate(learning_rate),
    )
