"""What the weights descend besides their loss: agreement of cells on the mixture.

Lambda-DARTS (Movahedi et al., 2023). With ``g_l(w) = dT/dp_l`` the gradient by the
mixture of cell l alone, Lambda(w) is the mean cosine over pairs of cells; the weights
ascend it. Its gradient goes through g and is one derivative of the loss's gradient:

    d Lambda/dw  =  sum_l (d g_l/dw)^T d_l  =  d/de dT/dw(w, p + e d),  d = dLambda/dg
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.types import Params

Cells = Float[Array, "cell edge op"]
CellLoss = Callable[[Params, Cells], Float[Array, ""]]
"""Training loss by the weights and by the mixture of each cell of one kind."""


class WeightHook(Protocol):
    """What is added, times a scheduled factor, to the gradient of the weights.

    Args:
      mixture: [cell, edge, op], one and the same mixture for each cell of a kind.
    """

    def __call__(self, loss: CellLoss, params: Params, mixture: Cells) -> Params: ...


def no_hook(loss: CellLoss, params: Params, mixture: Cells) -> Params:
    """Zeros."""
    del loss, mixture
    return optax.tree.zeros_like(params)


def alignment(loss: CellLoss, params: Params, mixture: Cells) -> Params:
    """``-dLambda/dw``, exact; the paper takes a central difference along d.

    Raises:
      ValueError: fewer than two cells.
    """

    def by_params(p: Cells) -> Params:
        return jax.grad(loss)(params, p)

    by_mixture = jax.grad(loss, argnums=1)(params, mixture)
    direction = jax.grad(mean_cosine)(by_mixture)
    _, slope = jax.jvp(by_params, (mixture,), (direction,))
    return optax.tree.scale(-1, slope)


def mean_cosine(gradients: Cells) -> Float[Array, ""]:
    """Lambda: mean cosine over pairs of cells; a cell without gradient has cosine 0.

    Raises:
      ValueError: fewer than two cells.
    """
    cells = gradients.shape[0]
    if cells < 2:
        raise ValueError(f"cells align in pairs, and there are {cells}")
    flat = gradients.reshape(cells, -1)
    square = jnp.sum(flat**2, -1, keepdims=True)
    heard = square > 0
    # The derivative of the branch not taken must be finite, too.
    unit = jnp.where(heard, flat / jnp.sqrt(jnp.where(heard, square, 1)), 0)
    pairs = jnp.sum(jnp.triu(unit @ unit.T, 1))
    return 2 * pairs / (cells * (cells - 1))


WEIGHT_HOOKS: dict[str, WeightHook] = {"none": no_hook, "alignment": alignment}
