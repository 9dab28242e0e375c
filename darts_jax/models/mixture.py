"""The mixed edges of a cell: ``state[target] += sum_o mixture[e, o] * op_o(x)``.

Equation 2 of Liu et al. (2019), with the weights given from outside. Parameters are
stacked per operation and stride over the edges that may be it, in order of
(source, target).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.models.execution import WALKS, Execution, Work, stacks_of
from darts_jax.models.mixed_operation import MixedOperation, Variables
from darts_jax.models.operations.corruption import Corruption
from darts_jax.models.operations.image import Operation, get_operation
from darts_jax.models.operations.layers import Image
from darts_jax.spaces.graph import Cell
from darts_jax.spaces.widths import rounded


class MixedEdges(nn.Module):
    """All edges of a cell.

    Attributes:
      cell: the graph.
      channels: of every state.
      partial: only the first 1/partial of the channels enter the operations.
      variants: operation -> the one that the supernet uses in its place.
      execution: how the edge axis is walked.
      recompute: whether the backward pass computes edges again, for want of memory.
      sampled: whether operations of weight 0 do not run.
      corruptions: operation -> what happens to its output in training.
      discrete: whether operations are those of a genotype's network.
    """

    cell: Cell
    channels: int
    partial: int
    variants: tuple[tuple[str, str], ...]
    execution: Execution
    recompute: bool
    sampled: bool
    corruptions: tuple[tuple[str, Corruption], ...]
    discrete: bool = False

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "input ..."],
        mixture: Float[Array, "edge op"],
        strength: Float[Array, ""],
        train: bool,
    ) -> tuple[Image, ...]:
        """Computes every node.

        Args:
          inputs: the input states, stacked.
          mixture: weight of every operation on every edge; where only a part of the
            channels enters them, a last column has the edge's share of its node.
          strength: of the corruption.

        Returns:
          The nodes, in order.
        """
        operation = MixedOperation(
            self.channels // self.partial,
            self.partial,
            self._makers(),
            train,
            self.sampled,
            self.corruptions,
            self.discrete,
        )
        plan = _Plan(self.cell, operation, self.execution, self.recompute)
        entering = inputs[0]
        inner = jnp.zeros((*entering.shape[:-1], self.channels), entering.dtype)
        widens = entering.shape[-1] != self.channels
        variables = {
            name: stack.declare(
                *(self, name, operation.module(op, stride), size),
                operation.part(entering if enters else inner),
            )
            for (name, op, stride, enters), size in self._stacks(widens).items()
        }
        keys = jax.random.split(stack.key_for(self, "noise"), len(self.cell.edges))
        nodes, stats = _compute(plan, variables, mixture, keys, strength, inputs)
        for name, values in stats.items():
            stack.commit(self, name, values)
        return nodes

    def _makers(self) -> tuple[tuple[str, Operation], ...]:
        variants = dict(self.variants)
        names = {op: None for edge in self.cell.edges for op in edge.operations}
        return tuple((op, get_operation(variants.get(op, op))) for op in names)

    def _stacks(self, widens: bool) -> dict[tuple[str, str, int, bool], int]:
        """Every stack's name, operation, stride, and whether it is of inputs of another
        width; and how many edges it has.
        """
        count: dict[tuple[str, str, int, bool], int] = {}
        for e, edge in enumerate(self.cell.edges):
            enters = widens and edge.source < self.cell.inputs
            for op, name in stacks_of(self.cell, e, widens).items():
                stack = name, op, edge.stride, enters
                count[stack] = count.get(stack, 0) + 1
        return count


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What one computation of a cell's edges does, whatever the numbers."""

    cell: Cell
    operation: MixedOperation
    execution: Execution
    recompute: bool


@functools.partial(jax.jit, static_argnums=0)
def _compute(
    plan: _Plan,
    variables: Variables,
    mixture: Float[Array, "edge op"],
    keys: PRNGKeyArray,
    strength: Float[Array, ""],
    inputs: Float[Array, "input ..."],
) -> tuple[tuple[Image, ...], dict[str, Any]]:
    """The nodes of a cell, and its statistics by stack.

    Under `jit` for its cache: cells of one shape are traced once, with their
    derivatives, wherever they stand in the network.
    """
    numbers = variables, mixture, keys, strength
    kept = kept_channels(plan.cell, mixture, plan.operation)
    work = Work(plan.cell, plan.operation, plan.recompute, *numbers, kept)
    nodes, parts = WALKS[plan.execution](work, inputs)
    stats = {
        name: jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *values)
        for name, values in parts.items()
    }
    return nodes, stats


def kept_channels(
    cell: Cell, mixture: Float[Array, "edge op"], operation: MixedOperation
) -> Float[Array, " channel"] | None:
    """How much of every channel is kept: the mixture of the widths to choose from.

    Every width is a mask of the first channels (Wan et al., 2020, FBNetV2, section
    3.1). None where a cell has no such choice.
    """
    if cell.width_edge is None:
        return None
    channels = operation.width * operation.partial
    widths = [rounded(channels * share) for share in cell.width_shares]
    masks = np.arange(channels) < np.array(widths)[:, None]
    weights = mixture[cell.width_edge, : len(widths)]
    return weights @ jnp.asarray(masks, weights.dtype)
