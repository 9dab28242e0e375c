"""Decisions about single edges while a search goes on: SGAS (Li et al., 2020).

An edge that is decided has one operation left in the mask, and its parameters rest. An
edge that its node has no more use for has ``none`` left, which gives nothing.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.scipy.special import entr
from jaxtyping import Array, Bool, Float

from darts_jax.types import Alpha, AnyArray, Mask


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Rule that decides edges one after another, the most certain first.

    Attributes:
      full: kind -> [edge, op], True where there is an operation.
      nothing: kind -> [edge, op], True for ``none``; every edge has it.
      contests: kind -> number of the contest that each edge is in.
      places: kind -> edges of its contest that a genotype keeps, for each edge.
    """

    full: Mask
    nothing: Mask
    contests: Mapping[str, tuple[int, ...]]
    places: Mapping[str, tuple[int, ...]]

    def decide(self, alpha: Alpha, mask: Mask, count: Float[AnyArray, ""]) -> Mask:
        """Returns the mask after one decision for each kind that has made fewer.

        Args:
          alpha: architecture parameters.
          mask: kind -> [edge, op], True for operations that are left.
          count: decisions of each kind that are due.
        """
        return {
            kind: jnp.where(
                jnp.sum(self._is_decided(kind, jnp.asarray(own)), dtype=float) < count,
                self._decide_edge(kind, alpha[kind], jnp.asarray(own)),
                jnp.asarray(own),
            )
            for kind, own in mask.items()
        }

    def rest(self, before: Alpha, after: Alpha, mask: Mask) -> Alpha:
        """Returns the parameters after a step, and before it where nothing is open.

        Args:
          before: parameters.
          after: those that the step gives.
          mask: kind -> [edge, op], True for operations that are left.
        """
        rested = dict(after)
        for kind, own in mask.items():
            is_open = jnp.sum(jnp.asarray(own), -1, keepdims=True) > 1
            rested[kind] = jnp.where(is_open, after[kind], before[kind])
        return rested

    def _is_decided(
        self, kind: str, mask: Bool[Array, "edge op"]
    ) -> Bool[Array, " edge"]:
        """Returns which edges have one operation left of several, other than none."""
        had_several = jnp.sum(jnp.asarray(self.full[kind]), -1) > 1
        gives = jnp.any(mask & ~jnp.asarray(self.nothing[kind]), -1)
        return (jnp.sum(mask, -1) == 1) & had_several & gives

    def _decide_edge(
        self, kind: str, logits: Float[Array, "edge op"], mask: Bool[Array, "edge op"]
    ) -> Bool[Array, "edge op"]:
        """Returns the mask after a decision; as it was where no edge is open."""
        full = jnp.asarray(self.full[kind])
        nothing = jnp.asarray(self.nothing[kind])
        is_open = jnp.sum(mask, -1) > 1
        weights = jnp.where(full & ~nothing, _softmax(logits, full), 0)
        score = certainty(logits, full, nothing)
        edge = jnp.argmax(jnp.where(is_open, score, -1))
        operation = jnp.argmax(jnp.where(mask[edge], weights[edge], -1))
        is_edge = jnp.arange(mask.shape[0]) == edge
        decided = is_edge[:, None] & (jnp.arange(mask.shape[1]) == operation)
        new = jnp.where(is_edge[:, None], decided, mask)
        contests = jnp.asarray(self.contests[kind])
        is_rival = contests == contests[edge]
        taken = jnp.sum(self._is_decided(kind, new) & is_rival)
        is_full = taken >= jnp.asarray(self.places[kind])[edge]
        is_closed = is_rival & is_full & (jnp.sum(new, -1) > 1)
        new = jnp.where(is_closed[:, None], nothing, new)
        return jnp.where(jnp.any(is_open), new, mask)


def certainty(
    logits: Float[Array, "edge op"],
    mask: Bool[Array, "edge op"],
    nothing: Bool[Array, "edge op"],
) -> Float[Array, " edge"]:
    """Computes SGAS's first criterion (Li et al., 2020, eq. 2 to 4 and 6).

    The product of an edge's importance, ``s = sum_{o != none} softmax(a)_o``, and of
    ``1 - H(softmax(a)_o / s) / log n`` for its n operations other than none, each
    brought to [0, 1] over the edges.

    Args:
      logits: architecture parameters a.
      mask: True where there is an operation.
      nothing: True for ``none``.
    """
    gives = mask & ~nothing
    weights = jnp.where(gives, _softmax(logits, mask), 0)
    importance = jnp.sum(weights, -1)
    shares = weights / importance[:, None]
    most = jnp.log(jnp.maximum(jnp.sum(gives, -1), 2))
    entropy = jnp.sum(entr(shares), -1) / most
    return _spread(importance) * _spread(1 - entropy)


def _softmax(
    logits: Float[Array, "edge op"], mask: Bool[Array, "edge op"]
) -> Float[Array, "edge op"]:
    return jax.nn.softmax(jnp.where(mask, logits, -jnp.inf))


def _spread(values: Float[Array, " edge"]) -> Float[Array, " edge"]:
    """Returns values brought to [0, 1]; 0 where all are alike."""
    least = jnp.min(values)
    width = jnp.max(values) - least
    return (values - least) / jnp.where(width > 0, width, 1)
