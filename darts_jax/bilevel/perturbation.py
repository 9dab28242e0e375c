"""Mixtures at which the weights take their step: nearby ones, for a flat landscape.

SDARTS (Chen and Hsieh, 2020), section 4.1: the weights train at ``p + delta``, the
architecture at p. Before it is put back on the simplex the difference is at most
``radius`` in every entry.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from darts_jax.types import Mask, Mixture

PUBLISHED_STEPS = 7
MixtureLoss = Callable[[Mixture], Float[Array, ""]]
Weights = dict[str, Float[Array, "edge op"]]  # by kind of cell


class Perturbation(Protocol):
    """A mixture near the given one; operations that do not exist keep their 0.

    Args:
      key: consumed.
      loss: of the training batch by the mixture, at the present weights.
      mixture: of which the weights [edge, op] are moved.
      radius: 0 returns the mixture bit for bit.
    """

    def __call__(
        self,
        key: PRNGKeyArray,
        loss: MixtureLoss,
        mixture: Mixture,
        mask: Mask,
        radius: float | Float[Array, ""],
    ) -> Mixture: ...


def no_perturbation(
    key: PRNGKeyArray,
    loss: MixtureLoss,
    mixture: Mixture,
    mask: Mask,
    radius: float | Float[Array, ""],
) -> Mixture:
    """The mixture itself."""
    del key, loss, mask, radius
    return mixture


def random(
    key: PRNGKeyArray,
    loss: MixtureLoss,
    mixture: Mixture,
    mask: Mask,
    radius: float | Float[Array, ""],
) -> Mixture:
    """SDARTS-RS: p + U(-radius, radius), cut to [0, 1] and divided by its sum.

    For an edge whose weights have another sum than 1 the same of its shares.
    """
    del loss
    noise = _noise(key, mixture, mask)

    def moved(kind: str) -> Array:
        p = mixture.weights[kind]
        total = p.sum(-1, keepdims=True)
        share = p / jnp.where(total == 0, 1, total)
        cut = jnp.clip(share + radius * noise[kind], 0, 1)
        left = cut.sum(-1, keepdims=True)
        back = total * cut / jnp.where(left == 0, 1, left)
        return jnp.where((left == 0) | (radius == 0), p, back)

    return mixture.replace(weights={kind: moved(kind) for kind in noise})


def _noise(key: PRNGKeyArray, mixture: Mixture, mask: Mask) -> Weights:
    """U(-1, 1) for every operation that exists, 0 for others."""
    # In a compiled function's order, which its caller's need not be.
    kinds = sorted(mixture.weights)
    keys = dict(zip(kinds, jax.random.split(key, len(kinds)), strict=True))

    def drawn(kind: str) -> Array:
        p = mixture.weights[kind]
        uniform = jax.random.uniform(keys[kind], p.shape, p.dtype, -1, 1)
        return jnp.where(jnp.asarray(mask[kind]), uniform, 0)

    return {kind: drawn(kind) for kind in kinds}


def adversarial(
    key: PRNGKeyArray,
    loss: MixtureLoss,
    mixture: Mixture,
    mask: Mask,
    radius: float | Float[Array, ""],
    steps: int = PUBLISHED_STEPS,
) -> Mixture:
    """SDARTS-ADV: the largest loss near p, by steps of ascent from a random start.

    In an edge every step is the steepest by the ball's norm: the mixture of highest
    linearised loss of all that differ by at most ``2 * radius / steps``, are in the
    ball, not negative, and have the sum of p. Without the last two it would be the sign
    of the gradient, clipped; the sign alone loses to the sum all that it gains.
    """
    size = 2 * radius / steps
    low, high = {}, {}
    noise, weights = _noise(key, mixture, mask), mixture.weights
    for kind in noise:
        p, exists = weights[kind], jnp.asarray(mask[kind])
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

    def begun(kind: str) -> Array:
        moved = weights[kind] + radius * noise[kind]
        return _nearest(moved, low[kind], high[kind], weights[kind].sum(-1))

    start = {kind: begun(kind) for kind in noise}
    return mixture.replace(weights=jax.lax.fori_loop(0, steps, ascend, start))


PERTURBATIONS: dict[str, Perturbation] = {
    "none": no_perturbation,
    "random": random,
    "adversarial": adversarial,
}


def _fill(
    slope: Float[Array, "edge op"],
    low: Float[Array, "edge op"],
    high: Float[Array, "edge op"],
    total: Float[Array, "edge 1"],
) -> Float[Array, "edge op"]:
    """Highest ``slope . p`` within the bounds and of that sum.

    All at their lower bound, and what is left to the steepest first.
    """
    order = jnp.argsort(slope, -1, descending=True)
    room = jnp.take_along_axis(high - low, order, -1)
    before = jnp.cumsum(room, -1) - room
    left = total - low.sum(-1, keepdims=True)
    given = jnp.clip(left - before, 0, room)
    back = jnp.argsort(order, -1)
    return low + jnp.take_along_axis(given, back, -1)


def _nearest(
    moved: Float[Array, "edge op"],
    low: Float[Array, "edge op"],
    high: Float[Array, "edge op"],
    total: Float[Array, " edge"],
) -> Float[Array, "edge op"]:
    """Nearest to ``moved`` within the bounds and of that sum.

    It is ``clip(moved - shift, low, high)``, whose sum is linear in the shift between
    those where an entry meets a bound.
    """
    shifts = jnp.sort(jnp.concatenate([moved - low, moved - high], -1), descending=True)
    candidates = moved[:, None] - shifts[..., None]
    sums = jnp.clip(candidates, low[:, None], high[:, None]).sum(-1)
    shift = jax.vmap(jnp.interp)(total, sums, shifts)
    return jnp.clip(moved - shift[:, None], low, high)
