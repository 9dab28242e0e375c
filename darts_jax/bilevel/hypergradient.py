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
    return optax.tree.add(direct, mixed_product(train_loss, params, alpha, direction))


def unrolled(
    train_loss: Loss,
    valid_loss: Loss,
    params: Params,
    alpha: Alpha,
    inner_step: InnerStep,
    steps: int = 2,
) -> Alpha:
    """The gradient of ``V(w_steps(a), a)`` through that many inner steps on T.

    Franceschi et al. (2017), section 3.1. The steps share ``inner_step``'s closed-over
    state: a momentum buffer enters all of them as it is before the first. One step
    is `exact`. Beside the weights of every step the memory is that of one step: its
    activations are computed again on the way back.
    """

    @jax.checkpoint
    def step(w: Params, alpha: Alpha) -> Params:
        return inner_step(jax.grad(train_loss)(w, alpha), w)

    def outer(alpha: Alpha) -> Float[Array, ""]:
        w, _ = jax.lax.scan(lambda w, _: (step(w, alpha), None), params, length=steps)
        return valid_loss(w, alpha)

    return jax.grad(outer)(alpha)


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
