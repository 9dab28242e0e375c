"""Hypergradients of converged weights, by the implicit function theorem.

Where ``dT/dw(w*(a), a) = 0`` with ``H = d2T/dw2`` invertible, the gradient of
``V(w*(a), a)`` is

    dV/da  -  d2T/dadw . H^-1 dV/dw

at w*. The functions below take the given weights for w* and differ in what replaces the
inverse. They use H only in products with vectors.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, Int

from darts_jax.documentation import implements
from darts_jax.types import Alpha, Hypergradient, InnerStep, Loss, Params

PUBLISHED_TERMS = 2
DARTS_RATE = 0.025


@implements(Hypergradient)
def neumann(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
    terms: int | Int[Array, ""] = PUBLISHED_TERMS,
    rate: float | Float[Array, ""] = DARTS_RATE,
) -> Alpha:
    """Replaces the inverse by ``rate * sum_{k <= terms} (I - rate H)^k`` (iDARTS).

    Zhang et al. (2021), after Lorraine et al. (2020). With ``terms`` 0 it is one step
    of plain SGD, except that both gradients of V are taken before the step.

    Args:
      terms: last power of the series, 0 or more; each costs a product with H.
      rate: the series converges to the inverse where ``0 < rate < 2 / |H|`` and H is
        positive definite. By default the first learning rate of DARTS.
    """
    del inner_step
    power, direct = jax.grad(valid_loss, argnums=(0, 1))(params, alpha)
    none = jax.tree.map(jnp.zeros_like, direct)

    def gradients(w: Params) -> tuple[Params, Alpha]:
        return jax.grad(train_loss, argnums=(0, 1))(w, alpha)

    def add_term(_: Int[Array, ""], so_far: Any) -> Any:
        # One product with a power is H's and the mixed derivative's at once.
        power, total = so_far
        _, (by_hessian, mixed) = jax.jvp(gradients, (params,), (power,))
        power = optax.tree.add_scale(power, -rate, by_hessian)
        return power, optax.tree.add(total, mixed)

    _, total = jax.lax.fori_loop(0, terms + 1, add_term, (power, none))
    return optax.tree.add_scale(direct, -rate, total)


@implements(Hypergradient)
def conjugate_gradient(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
    iterations: int | Int[Array, ""] = 10,
    damping: float | Float[Array, ""] = 1.0,
) -> Alpha:
    """Replaces the inverse by ``(H + damping I)^-1``, by conjugate gradients from zero.

    Pedregosa (2016), algorithm 1; damping as in Rajeswaran et al. (2019).

    Args:
      iterations: number of products with H; as many as there are weights are exact.
      damping: must exceed minus the least eigenvalue of H; else the matrix is not
        positive definite and the result is meaningless.
    """
    del inner_step
    by_params, direct = jax.grad(valid_loss, argnums=(0, 1))(params, alpha)

    def damped(v: Params) -> Params:
        by_hessian = hessian_product(lambda w: train_loss(w, alpha), params, v)
        return optax.tree.add_scale(by_hessian, damping, v)

    direction, _ = cg(damped, by_params, tol=0.0, maxiter=iterations)
    return optax.tree.sub(direct, mixed_product(train_loss, params, alpha, direction))


def mixed_product(
    train_loss: Loss, params: Params, alpha: Alpha, direction: Params
) -> Alpha:
    """Computes ``d2T/dadw . direction``, forward over reverse.

    Args:
      train_loss: T.
      params: weights w.
      alpha: architecture a.
      direction: tree of the form of ``params``.

    Returns:
      The product, of the form of ``alpha``.
    """

    def by_alpha(w: Params) -> Alpha:
        return jax.grad(train_loss, argnums=1)(w, alpha)

    _, product = jax.jvp(by_alpha, (params,), (direction,))
    return product


def hessian_product(
    function: Callable[[Any], Float[Array, ""]], point: Any, direction: Any
) -> Any:
    """Computes the Hessian of a function times a vector, forward over reverse.

    Args:
      function: scalar function of a tree of arrays.
      point: tree at which the Hessian is taken.
      direction: tree of the same form.

    Returns:
      The product, a tree of the same form.
    """
    return jax.jvp(jax.grad(function), (point,), (direction,))[1]
