"""Gradients of the outer loss through the inner optimizer's step.

The bilevel problem (Liu et al., 2019, eqs. 3 and 4) is
``min_a V(w*(a), a)  such that  w*(a) = argmin_w T(w, a)``. With one inner step
``w'(a) = U(dT/dw(w, a), w)`` in place of w*, the gradient of ``V(w'(a), a)`` is

    dV/da(w', a)  +  d2T/dadw(w, a) . u,      u = (dU/dg)^T dV/dw(w', a)

For plain SGD of rate r, u is ``-r dV/dw``; U may as well hold momentum, decay and
clipping. The functions below differ in what they make of the second term, and
`unrolled` takes more than one step; those of `implicit` take the weights as trained.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.bilevel.implicit import conjugate_gradient, mixed_product, neumann
from darts_jax.documentation import implements
from darts_jax.types import Alpha, Hypergradient, InnerStep, Loss, Params

PUBLISHED_RADIUS = 0.01


@implements(Hypergradient)
def first_order(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
) -> Alpha:
    """Computes ``dV/da(w, a)``, as if the inner step had rate 0 (Liu et al., 2019)."""
    del train_loss, inner_step
    return jax.grad(valid_loss, argnums=1)(params, alpha)


@implements(Hypergradient)
def exact(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
) -> Alpha:
    """Computes both terms of the gradient of ``V(w'(a), a)`` (Liu et al., 2019, eq. 7).

    The second one is a Hessian-vector product, forward over reverse.
    """
    direct, direction = _at_unrolled(train_loss, valid_loss, params, alpha, inner_step)
    return optax.tree.add(direct, mixed_product(train_loss, params, alpha, direction))


@implements(Hypergradient)
def unrolled(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
    steps: int = 2,
) -> Alpha:
    """Computes the gradient of ``V(w_steps(a), a)`` through several inner steps on T.

    Franceschi et al. (2017), section 3.1. All steps share ``inner_step``'s state: a
    momentum buffer enters each of them as it is before the first. One step is `exact`.
    The memory is that of the weights of every step, and of one step's activations,
    which are computed again in the backward pass.

    Args:
      steps: number of inner steps, 1 or more.
    """

    @jax.checkpoint
    def step(w: Params, alpha: Alpha) -> Params:
        return inner_step(jax.grad(train_loss)(w, alpha), w)

    def outer(alpha: Alpha) -> Float[Array, ""]:
        w, _ = jax.lax.scan(lambda w, _: (step(w, alpha), None), params, length=steps)
        return valid_loss(w, alpha)

    return jax.grad(outer)(alpha)


@implements(Hypergradient)
def finite_difference(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
    radius: float | Float[Array, ""] = PUBLISHED_RADIUS,
) -> Alpha:
    """Computes the second term by a central difference (Liu et al., 2019, eq. 8).

    On networks with ReLU the published radius crosses kinks: this is the paper's
    estimate, not the value of the gradient.

    Args:
      radius: norm of the change of the weights to either side, 0 or more.
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
    """Returns ``dV/da(w', a)`` and u."""
    gradient = jax.grad(train_loss)(params, alpha)
    stepped, pull = jax.vjp(lambda g: inner_step(g, params), gradient)
    by_params, direct = jax.grad(valid_loss, argnums=(0, 1))(stepped, alpha)
    (direction,) = pull(by_params)
    return direct, direction


HYPERGRADIENTS: dict[str, Hypergradient] = {
    "first_order": first_order,
    "exact": exact,
    "finite_difference": finite_difference,
    "unrolled": unrolled,
    "neumann": neumann,
    "conjugate_gradient": conjugate_gradient,
}
"""`search.hypergradient` -> gradient of the validation loss by alpha."""
