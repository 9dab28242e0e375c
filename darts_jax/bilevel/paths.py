"""Paths on which the weights of a supernet train in one step.

A path is a one-hot mixture. Several of them see the same batch, their gradients are
summed, and the weights take one step by the sum. To add a rule: ``PATH_RULES["mine"] =
PathRule(mine, count)``.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from darts_jax.bilevel.losses import Criterion
from darts_jax.documentation import implements
from darts_jax.errors import InputError
from darts_jax.types import (
    Batch,
    Inputs,
    Mask,
    Mixture,
    Outputs,
    Params,
    RelaxationFunction,
    Scalars,
    SearchState,
    Stats,
)

if TYPE_CHECKING:
    from darts_jax.bilevel.step import Search

Sizes = Mapping[str, Float[np.ndarray, "edge op"]]
"""Kind -> size of every operation; NaN for one that gives nothing, such as none."""

Slope = tuple[tuple[Float[Array, ""], tuple[Stats, Outputs]], Params]
"""((loss, (statistics, outputs)), gradient by the weights)."""

PathLoss = Callable[
    [Params, Stats, Outputs, Int[Array, ""]],
    tuple[Float[Array, ""], tuple[Stats, Outputs]],
]
"""(weights, statistics, outputs of path 0, number) -> (loss, (statistics, outputs))."""


class DrawPath(Protocol):
    """Draws one of the paths of a step, for one kind of cell.

    Args:
      key: the same for all paths of the step.
      sizes: of the operations; NaN for one that gives nothing.
      mask: False where an edge has no such operation.
      number: of the path, from 0.

    Returns:
      One-hot weights.
    """

    def __call__(
        self,
        key: PRNGKeyArray,
        sizes: Float[Array, "edge op"],
        mask: Bool[Array, "edge op"],
        number: Int[Array, ""],
    ) -> Float[Array, "edge op"]: ...


@implements(DrawPath)
def fair(
    key: PRNGKeyArray,
    sizes: Float[Array, "edge op"],
    mask: Bool[Array, "edge op"],
    number: Int[Array, ""],
) -> Float[Array, "edge op"]:
    """Takes the operations of every edge in a random order, one for each path.

    Strict fairness, FairNAS (Chu et al., 2019, algorithm 1): an edge of m operations
    uses each exactly once in m paths. An edge of fewer begins its order again.
    """
    noise = jnp.where(mask, jax.random.uniform(key, mask.shape), jnp.inf)
    order = jnp.argsort(noise, axis=-1)
    places = number % jnp.maximum(mask.sum(-1), 1)
    chosen = jnp.take_along_axis(order, places[:, None], axis=-1)[:, 0]
    return jax.nn.one_hot(chosen, mask.shape[-1], dtype=sizes.dtype)


@implements(DrawPath)
def sandwich(
    key: PRNGKeyArray,
    sizes: Float[Array, "edge op"],
    mask: Bool[Array, "edge op"],
    number: Int[Array, ""],
) -> Float[Array, "edge op"]:
    """Takes the largest operations, then the smallest, then any, all equally likely.

    The sandwich rule (Yu and Huang, 2019; BigNAS, Yu et al., 2020, section 3.1). One
    that gives nothing is the smallest only where an edge has no other.
    """
    has_size = ~jnp.isnan(sizes)
    rising = jnp.where(has_size, sizes, jnp.finfo(sizes.dtype).max)
    falling = jnp.where(has_size, sizes, -1)
    smallest = jnp.argmin(jnp.where(mask, rising, jnp.inf), -1)
    largest = jnp.argmax(jnp.where(mask, falling, -jnp.inf), -1)
    flat = jnp.where(mask, 0.0, -jnp.inf)
    drawn = jax.random.categorical(jax.random.fold_in(key, number), flat)
    chosen = jnp.where(number == 0, largest, jnp.where(number == 1, smallest, drawn))
    return jax.nn.one_hot(chosen, mask.shape[-1], dtype=sizes.dtype)


def _count_operations(mask: Mask, drawn: int) -> int:
    del drawn
    return max(int(np.sum(own, axis=-1).max()) for own in mask.values())


@dataclasses.dataclass(frozen=True)
class PathRule:
    """A rule of `PATH_RULES`.

    Attributes:
      draw: draws each of the paths.
      count: (mask of the search, paths that are drawn at random) -> number of paths.
      distils: True if path 0 alone learns from labels, and its outputs are the soft
        targets of the others.
    """

    draw: DrawPath
    count: Callable[[Mask, int], int]
    distils: bool = False


PATH_RULES: dict[str, PathRule] = {
    "fair": PathRule(fair, _count_operations),
    "sandwich": PathRule(sandwich, lambda mask, drawn: 2 + drawn, distils=True),
}
"""`search.paths.rule` -> paths on which the weights of one step train."""


@dataclasses.dataclass(frozen=True)
class Paths:
    """The paths of a step.

    Attributes:
      rule: draws them.
      count: their number.
      sizes: of the operations.
    """

    rule: PathRule
    count: int
    sizes: Sizes

    def relaxation(self, number: Int[Array, ""]) -> RelaxationFunction:
        """Returns the function that `relax` draws a path by, from sizes for logits.

        Args:
          number: of the path.
        """

        def draw(key: Any, logits: Any, mask: Any, temperature: Any) -> Any:
            del temperature
            return self.rule.draw(key, logits, mask, number)

        return draw

    def criterion(self, own: Criterion, number: Int[Array, ""]) -> Criterion:
        """Returns the criterion of a path, of batches with the outputs of path 0.

        Args:
          own: criterion of the search.
          number: of the path.

        Raises:
          InputError: path 0 teaches the others, and the outputs are no soft targets.
        """
        teach = own.distillation
        if self.rule.distils and teach is None:
            raise InputError(
                "distillation needs outputs that are logits, which this criterion "
                "has not; want another search.paths.rule than sandwich"
            )

        def inputs(pair: Batch) -> Inputs:
            return own.inputs(pair[0])

        def loss(outputs: Outputs, pair: Batch, scalars: Scalars) -> Float[Array, ""]:
            hard = own.loss(outputs, pair[0], scalars)
            if not self.rule.distils or teach is None:
                return hard
            return jnp.where(number == 0, hard, teach(outputs, pair[1]))

        return dataclasses.replace(own, inputs=inputs, loss=loss)


def slope_over_paths(
    search: "Search", paths: Paths, state: SearchState
) -> Callable[[Params, Mixture, Stats, Batch, PRNGKeyArray, Scalars], Slope]:
    """Returns the function that takes the place of the slope of one mixture's loss.

    Args:
      search: whose supernet and criterion they are; its relaxation is not asked.
      paths: of the step.
      state: with the architecture, for weights of edges, and the mask.

    Returns:
      (weights, mixture, statistics, batch, key, scalars) -> the sum of the paths'
      gradients on the batch, with loss and outputs of path 0. The mixture gives the
      outputs' shape alone; the key is consumed.
    """

    def slope(
        params: Params,
        mixture: Mixture,
        stats: Stats,
        batch: Batch,
        key: PRNGKeyArray,
        scalars: Scalars,
    ) -> Slope:
        def loss(params: Params, stats: Stats, first: Outputs, number: Array) -> Any:
            sizes = {kind: jnp.asarray(own) for kind, own in paths.sizes.items()}
            relaxation = paths.relaxation(number)
            path = search.mixture(
                key, state.alpha | sizes, state.mask, scalars, relaxation
            )
            criterion = paths.criterion(search.criterion, number)
            on_path = dataclasses.replace(search, criterion=criterion)
            own = jax.random.fold_in(key, number)
            return on_path.loss(params, path, stats, (batch, first), own, scalars)

        _, (_, outputs) = jax.eval_shape(
            search.loss, params, mixture, stats, batch, key, scalars
        )
        return sum_over_paths(loss, params, stats, outputs, paths.count)

    return slope


def sum_over_paths(
    loss: PathLoss, params: Params, stats: Stats, outputs: Outputs, count: int
) -> Slope:
    """Returns the sum of the paths' gradients, with loss and outputs of path 0.

    The running statistics pass from path to path.

    Args:
      loss: of one path.
      params: weights.
      stats: running statistics.
      outputs: of the shapes of a path's outputs.
      count: number of paths.
    """
    slope = jax.value_and_grad(loss, has_aux=True)

    def add(carry: Any, number: Int[Array, ""]) -> tuple[Any, Float[Array, ""]]:
        stats, first, total = carry
        (value, (stats, outputs)), gradient = slope(params, stats, first, number)
        keep = functools.partial(jnp.where, number == 0)
        first = jax.tree.map(keep, outputs, first)
        return (stats, first, optax.tree.add(total, gradient)), value

    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), outputs)
    start = stats, blank, optax.tree.zeros_like(params)
    (stats, first, total), values = lax.scan(add, start, jnp.arange(count))
    return (values[0], (stats, first)), total
