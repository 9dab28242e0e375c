"""Additions to the gradient of the weights, such as agreement of the cells.

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

from darts_jax.documentation import implements
from darts_jax.types import Params

Cells = Float[Array, "cell edge op"]
CellLoss = Callable[[Params, Cells], Float[Array, ""]]
"""Training loss by the weights and by the mixture of each cell of one kind."""


class WeightHook(Protocol):
    """Addition to the gradient of the weights, before a scheduled factor.

    Args:
      loss: training loss by weights and by the mixture of each cell.
      params: present weights.
      mixture: the same weights for each cell of the kind.

    Returns:
      Addition to the gradient, of the form of ``params``.
    """

    def __call__(self, loss: CellLoss, params: Params, mixture: Cells) -> Params: ...


@implements(WeightHook)
def no_hook(loss: CellLoss, params: Params, mixture: Cells) -> Params:
    """Returns zeros."""
    del loss, mixture
    return optax.tree.zeros_like(params)


@implements(WeightHook)
def alignment(loss: CellLoss, params: Params, mixture: Cells) -> Params:
    """Computes ``-dLambda/dw`` exactly (Movahedi et al., 2023).

    The paper takes a central difference along d.

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
    """Computes Lambda, the mean cosine over pairs of cells.

    Args:
      gradients: gradient by the mixture of each cell; one that is 0 has cosine 0.

    Raises:
      ValueError: fewer than two cells.
    """
    cells = gradients.shape[0]
    if cells < 2:
        raise ValueError(f"cells align in pairs, and there are {cells}")
    flat = gradients.reshape(cells, -1)
    square = jnp.sum(flat**2, -1, keepdims=True)
    nonzero = square > 0
    # The derivative of the branch not taken must be finite, too.
    unit = jnp.where(nonzero, flat / jnp.sqrt(jnp.where(nonzero, square, 1)), 0)
    cosines = jnp.matmul(unit, unit.T, precision="highest")
    pairs = jnp.sum(jnp.triu(cosines, 1))
    return 2 * pairs / (cells * (cells - 1))


WEIGHT_HOOKS: dict[str, WeightHook] = {"none": no_hook, "alignment": alignment}
"""`search.hook` -> addition to the gradient of the weights."""
