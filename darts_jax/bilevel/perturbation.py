"""Perturbations of the mixture in the step of the weights, for a flat landscape.

SDARTS (Chen and Hsieh, 2020), section 4.1: the weights train at ``p + delta``, the
architecture at p. No entry of delta exceeds ``radius`` before p + delta is put back on
the simplex.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from darts_jax.bilevel.optimizers import Scalar
from darts_jax.documentation import implements
from darts_jax.types import Mask, Mixture

PUBLISHED_STEPS = 7
MixtureLoss = Callable[[Mixture], Float[Array, ""]]
"""Training loss by the mixture, at the present weights."""

Weights = dict[str, Float[Array, "edge op"]]  # by kind of cell


class Perturbation(Protocol):
    """Perturbation of the mixture at which the weights take their step.

    Args:
      key: consumed.
      loss: training loss by the mixture, at the present weights.
      mixture: weight of every operation.
      mask: kind -> [edge, op], False where there is no operation.
      radius: largest change of a weight; 0 returns the mixture bit for bit.

    Returns:
      A mixture near the given one; operations that do not exist keep their 0.
    """

    def __call__(
        self,
        key: PRNGKeyArray,
        loss: MixtureLoss,
        mixture: Mixture,
        mask: Mask,
        radius: Scalar,
    ) -> Mixture: ...


@implements(Perturbation)
def no_perturbation(
    key: PRNGKeyArray, loss: MixtureLoss, mixture: Mixture, mask: Mask, radius: Scalar
) -> Mixture:
    """Returns the mixture itself."""
    del key, loss, mask, radius
    return mixture


@implements(Perturbation)
def random(
    key: PRNGKeyArray, loss: MixtureLoss, mixture: Mixture, mask: Mask, radius: Scalar
) -> Mixture:
    """Draws p + U(-radius, radius), cut to [0, 1] and divided by its sum.

    SDARTS-RS (Chen and Hsieh, 2020). On an edge whose weights do not sum to 1 it
    changes their shares of the sum.
    """
    del loss
    noise = _noise(key, mixture, mask)

    def perturb(kind: str) -> Array:
        p = mixture.weights[kind]
        total = p.sum(-1, keepdims=True)
        share = p / jnp.where(total == 0, 1, total)
        cut = jnp.clip(share + radius * noise[kind], 0, 1)
        cut_total = cut.sum(-1, keepdims=True)
        rescaled = total * cut / jnp.where(cut_total == 0, 1, cut_total)
        return jnp.where((cut_total == 0) | (radius == 0), p, rescaled)

    return mixture.replace(weights={kind: perturb(kind) for kind in noise})


def _noise(key: PRNGKeyArray, mixture: Mixture, mask: Mask) -> Weights:
    """Draws U(-1, 1) for every operation that exists; 0 for others."""
    # In a compiled function's order, which its caller's need not be.
    kinds = sorted(mixture.weights)
    keys = dict(zip(kinds, jax.random.split(key, len(kinds)), strict=True))

    def draw(kind: str) -> Array:
        p = mixture.weights[kind]
        uniform = jax.random.uniform(keys[kind], p.shape, p.dtype, -1, 1)
        return jnp.where(jnp.asarray(mask[kind]), uniform, 0)

    return {kind: draw(kind) for kind in kinds}


@implements(Perturbation)
def adversarial(
    key: PRNGKeyArray,
    loss: MixtureLoss,
    mixture: Mixture,
    mask: Mask,
    radius: Scalar,
    steps: int = PUBLISHED_STEPS,
) -> Mixture:
    """Computes a mixture of large loss near p, by steps of ascent from a random start.

    SDARTS-ADV (Chen and Hsieh, 2020). On each edge a step is the steepest in the ball's
    norm: of all mixtures that differ by at most ``2 * radius / steps``, lie in the
    ball, are not negative and have the sum of p, the one of highest linearized loss.
    Without the last two conditions it would be the clipped sign of the gradient; the
    sign alone loses to the sum all that it gains.

    Args:
      steps: number of steps of ascent, each as costly as a gradient.
    """
    size = 2 * radius / steps
    low: Weights = {}
    high: Weights = {}
    noise = _noise(key, mixture, mask)
    weights = mixture.weights
    for kind in noise:
        p = weights[kind]
        exists = jnp.asarray(mask[kind])
        # A straight-through sample may be below 0 by rounding.
        floor = jnp.minimum(p, jnp.maximum(p - radius, 0))
        low[kind] = jnp.where(exists, floor, p)
        high[kind] = jnp.where(exists, p + radius, p)

    def ascend(_: Int[Array, ""], p: Weights) -> Weights:
        slope = jax.grad(lambda p: loss(mixture.replace(weights=p)))(p)
        return {
            kind: _fill(
                slope[kind],
                jnp.maximum(p[kind] - size, low[kind]),
                jnp.minimum(p[kind] + size, high[kind]),
                weights[kind].sum(-1, keepdims=True),
            )
            for kind in noise
        }

    def start_at(kind: str) -> Array:
        moved = weights[kind] + radius * noise[kind]
        return _nearest(moved, low[kind], high[kind], weights[kind].sum(-1))

    start = {kind: start_at(kind) for kind in noise}
    return mixture.replace(weights=jax.lax.fori_loop(0, steps, ascend, start))


PERTURBATIONS: dict[str, Perturbation] = {
    "none": no_perturbation,
    "random": random,
    "adversarial": adversarial,
}
"""`search.perturbation` -> change of the mixture in the step of the weights."""


def _fill(
    slope: Float[Array, "edge op"],
    low: Float[Array, "edge op"],
    high: Float[Array, "edge op"],
    total: Float[Array, "edge 1"],
) -> Float[Array, "edge op"]:
    """Returns the p of highest ``slope . p`` within bounds and of a given sum.

    All start at their lower bound; what is left goes to the steepest first.
    """
    order = jnp.argsort(slope, -1, descending=True)
    room = jnp.take_along_axis(high - low, order, -1)
    before = jnp.cumsum(room, -1) - room
    left = total - low.sum(-1, keepdims=True)
    share = jnp.clip(left - before, 0, room)
    inverse = jnp.argsort(order, -1)
    return low + jnp.take_along_axis(share, inverse, -1)


def _nearest(
    moved: Float[Array, "edge op"],
    low: Float[Array, "edge op"],
    high: Float[Array, "edge op"],
    total: Float[Array, " edge"],
) -> Float[Array, "edge op"]:
    """Returns the point nearest to ``moved`` within bounds and of a given sum.

    It is ``clip(moved - shift, low, high)``, whose sum is linear in the shift between
    those where an entry meets a bound.
    """
    shifts = jnp.sort(jnp.concatenate([moved - low, moved - high], -1), descending=True)
    candidates = moved[:, None] - shifts[..., None]
    sums = jnp.clip(candidates, low[:, None], high[:, None]).sum(-1)
    shift = jax.vmap(jnp.interp)(total, sums, shifts)
    return jnp.clip(moved - shift[:, None], low, high)
