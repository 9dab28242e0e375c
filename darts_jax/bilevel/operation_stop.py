"""Operation-level early stopping: an operation that overfits learns no more (OLES).

Jiang et al. (2023, NeurIPS). With g the gradient of the training loss by the weights of
one operation on one edge of one cell, and h that of the validation loss,

    GM(g, h)  =  1/M sum_{m=1..M} cos(g_m, h_m)

over M steps. Where it is below a threshold, the weights of the operation rest from then
on; the architecture goes on learning.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from darts_jax.bilevel.optimizers import Scalar
from darts_jax.errors import InputError
from darts_jax.types import Matching, Params

Numbers = dict[str, Float[Array, "cell edge"]]


@dataclasses.dataclass(frozen=True)
class OperationStop:
    """Rule by which the weights of single operations come to rest.

    Attributes:
      label: weights -> tree of their form with the name of each leaf's operation, whose
        first two axes are [cell, edge]; "" for weights of no operation.
      window: M, the number of cosines between two looks at their mean.
    """

    label: Callable[[Params], Any]
    window: int

    def init(self, params: Params) -> Matching:
        """Returns the record before the first step, in which no operation rests.

        Args:
          params: weights.

        Raises:
          InputError: no operation has weights.
        """
        zeros = {name: jnp.zeros_like(s) for name, s in self._dot(params, params)}
        if not zeros:
            raise InputError(
                "search.operation_stop.window looks at operations with weights of "
                "their own, and this network has none: want 0"
            )
        return Matching(
            cosines=zeros,
            counts={name: zero.astype(jnp.int32) for name, zero in zeros.items()},
            stopped={name: zero.astype(bool) for name, zero in zeros.items()},
        )

    def observe(
        self, matching: Matching, train: Params, valid: Params, least: Scalar
    ) -> Matching:
        """Returns the record with one more cosine of every operation.

        An operation without a gradient, as one that was not drawn, has no cosine.

        Args:
          matching: the record.
          train: gradient of the training loss.
          valid: gradient of the validation loss, at the same weights.
          least: threshold of the mean cosine.
        """
        lengths = {name: jnp.sqrt(square) for name, square in self._dot(train, train)}
        others = {name: jnp.sqrt(square) for name, square in self._dot(valid, valid)}
        cosines, counts, stopped = {}, {}, {}
        for name, product in self._dot(train, valid):
            size = lengths[name] * others[name]
            is_given = size > 0
            cosine = jnp.where(is_given, product / jnp.where(is_given, size, 1), 0)
            total = matching.cosines[name] + cosine
            count = matching.counts[name] + is_given.astype(jnp.int32)
            is_full = count == self.window
            overfits = is_full & (total < least * self.window)
            stopped[name] = matching.stopped[name] | overfits
            cosines[name] = jnp.where(is_full, 0, total)
            counts[name] = jnp.where(is_full, 0, count)
        return Matching(cosines, counts, stopped)

    def silence(self, matching: Matching, gradient: Params) -> Params:
        """Returns a gradient that is 0 where weights rest: it counts in no norm.

        Args:
          matching: the record.
          gradient: of the training loss.
        """
        return self.keep(matching, jax.tree.map(jnp.zeros_like, gradient), gradient)

    def keep(self, matching: Matching, old: Params, new: Params) -> Params:
        """Returns the new weights, and the old ones where they rest.

        Args:
          matching: the record.
          old: weights before a step.
          new: weights behind it.
        """

        def choose(name: str, before: Array, after: Array) -> Array:
            if not name:
                return after
            rests = matching.stopped[name]
            return jnp.where(_spread(rests, after.ndim), before, after)

        return jax.tree.map(choose, self.label(new), old, new)

    def _dot(self, left: Params, right: Params) -> list[tuple[str, Array]]:
        """Returns the inner products of two trees by operation, each [cell, edge]."""
        sums: Numbers = {}
        for name, product in zip(
            jax.tree.leaves(self.label(left)),
            jax.tree.leaves(jax.tree.map(jnp.multiply, left, right)),
            strict=True,
        ):
            if name:
                own = jnp.sum(product, range(2, product.ndim))
                sums[name] = sums[name] + own if name in sums else own
        return list(sums.items())


def stopped_share(matching: Matching) -> Float[Array, ""]:
    """Returns the share of operations whose weights rest, 0 to 1.

    Args:
      matching: of a search with operation-level early stopping.
    """
    places = [rests.ravel() for rests in matching.stopped.values()]
    return jnp.mean(jnp.concatenate(places), dtype=jnp.float32)


def _spread(rests: Bool[Array, "cell edge"], axes: int) -> Bool[Array, "cell edge ..."]:
    return jnp.expand_dims(rests, range(2, axes))
