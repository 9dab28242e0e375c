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
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.models.execution import WALKS, Execution, Work
from darts_jax.models.mixed_operation import MixedOperation, Variables, stack_name
from darts_jax.operations.corruption import Corruption
from darts_jax.operations.image import Operation, get_operation
from darts_jax.operations.layers import Image
from darts_jax.spaces.graph import Cell


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
    """

    cell: Cell
    channels: int
    partial: int
    variants: tuple[tuple[str, str], ...]
    execution: Execution
    recompute: bool
    sampled: bool
    corruptions: tuple[tuple[str, Corruption], ...]

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
          mixture: weight of every operation on every edge.
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
        )
        plan = _Plan(self.cell, operation, self.execution, self.recompute)
        part = inputs[0][..., : operation.width]
        variables = {
            stack_name(op, stride): stack.declare(
                self, stack_name(op, stride), operation.module(op, stride), size, part
            )
            for (op, stride), size in self._stack_sizes().items()
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

    def _stack_sizes(self) -> dict[tuple[str, int], int]:
        count: dict[tuple[str, int], int] = {}
        for edge in self.cell.edges:
            for op in edge.operations:
                count[op, edge.stride] = count.get((op, edge.stride), 0) + 1
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
    work = Work(plan.cell, plan.operation, plan.recompute, *numbers)
    nodes, parts = WALKS[plan.execution](work, inputs)
    stats = {
        name: jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *values)
        for name, values in parts.items()
    }
    return nodes, stats
