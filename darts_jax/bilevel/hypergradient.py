"""Gradients of the outer loss through the inner optimizer's step.

The bilevel problem (Liu et al., 2019, eqs. 3 and 4) is
``min_a V(w*(a), a)  such that  w*(a) = argmin_w T(w, a)``. With one inner step
``w'(a) = U(dT/dw(w, a), w)`` in place of w*, the gradient of ``V(w'(a), a)`` is

    dV/da(w', a)  +  d2T/dadw(w, a) . u,      u = (dU/dg)^T dV/dw(w', a)

For plain SGD of rate r, u is ``-r dV/dw``; U may as well hold momentum, decay and
clipping. The functions below differ in what they make of the second term.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.types import Alpha, Hypergradient, InnerStep, Loss, Params

PUBLISHED_RADIUS = 0.01


def first_order(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
) -> Alpha:
    """``dV/da(w, a)``: the inner step is taken to have rate zero."""
    del train_loss, inner_step
    return jax.grad(valid_loss, argnums=1)(params, alpha)


def exact(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
) -> Alpha:
    """Both terms, the second by a Hessian-vector product, forward over reverse."""
    direct, direction = _at_unrolled(train_loss, valid_loss, params, alpha, inner_step)

    def by_alpha(w: Params) -> Alpha:
        return jax.grad(train_loss, argnums=1)(w, alpha)

    _, mixed = jax.jvp(by_alpha, (params,), (direction,))
    return optax.tree.add(direct, mixed)


def finite_difference(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
    radius: float | Float[Array, ""] = PUBLISHED_RADIUS,
) -> Alpha:
    """The second term by a central difference over ``2 * radius`` (eq. 8).

    On networks with ReLU the published radius crosses kinks: this is the paper's
    estimate, not the gradient's value.
    """
    direct, direction = _at_unrolled(train_loss, valid_loss, params, alpha, inner_step)
    norm = optax.tree.norm(direction)
    epsilon = radius / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny)
    by_alpha = jax.grad(train_loss, argnums=1)
    ahead = by_alpha(optax.tree.add_scale(params, epsilon, direction), alpha)
    behind = by_alpha(optax.tree.add_scale(params, -epsilon, direction), alpha)
    mixed = jax.tree.map(lambda a, b: (a - b) / (2 * epsilon), ahead, behind)
    return optax.tree.add(direct, mixed)


def _at_unrolled(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
) -> tuple[Alpha, Params]:
    """``dV/da(w', a)`` and u."""
    gradient = jax.grad(train_loss)(params, alpha)
    unrolled, pull = jax.vjp(lambda g: inner_step(g, params), gradient)
    by_params, direct = jax.grad(valid_loss, argnums=(0, 1))(unrolled, alpha)
    (direction,) = pull(by_params)
    return direct, direction


HYPERGRADIENTS: dict[str, Hypergradient] = {
    "first_order": first_order,
    "exact": exact,
    "finite_difference": finite_difference,
}
