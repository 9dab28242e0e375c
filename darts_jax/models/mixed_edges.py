"""The mixed edges of a cell: ``state[target] += sum_o mixture[e, o] * op_o(x)``.

Equation 2 of Liu et al. (2019), with the weights given from outside. Parameters are
stacked per operation and stride over the edges that may be it, in order of
(source, target).
"""

import dataclasses
import functools
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.models.execution import WALKS, Execution, MixedCell, edge_stacks
from darts_jax.models.mixed_operation import EdgeSettings, Variables
from darts_jax.models.operations.corruption import Corruption
from darts_jax.models.operations.image import get_operation
from darts_jax.models.operations.layers import Image
from darts_jax.models.operations.operation import Operation
from darts_jax.spaces.graph import Cell
from darts_jax.spaces.widths import rounded


class MixedEdges(nn.Module):
    """All edges of a cell.

    Attributes:
      cell: the graph.
      channels: number of channels of every state.
      partial: only the first 1/partial of the channels enter the operations.
      variants: operation -> the one that the supernet uses in its place.
      execution: name of the walk over the edges.
      recompute: whether the backward pass computes edges again, for want of memory.
      sampled: whether operations of weight 0 do not run.
      corruptions: operation -> the corruption of its output in training.
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
          train: whether the network is trained.

        Returns:
          The nodes, in order.
        """
        settings = EdgeSettings(
            width=self.channels // self.partial,
            partial=self.partial,
            makers=self._makers(),
            train=train,
            sampled=self.sampled,
            corruptions=self.corruptions,
            discrete=self.discrete,
        )
        entering = inputs[0]
        inner = jnp.zeros((*entering.shape[:-1], self.channels), entering.dtype)
        widens = entering.shape[-1] != self.channels
        variables = {
            each.name: stack.declare(
                self,
                each.name,
                settings.module(each.operation, each.stride),
                size,
                settings.part(entering if each.enters else inner),
            )
            for each, size in self._count_stacks(widens).items()
        }
        keys = jax.random.split(stack.key_for(self, "noise"), len(self.cell.edges))
        plan = _Plan(self.cell, settings, self.execution, self.recompute)
        nodes, stats = _compute(plan, variables, mixture, keys, strength, inputs)
        for name, values in stats.items():
            stack.commit(self, name, values)
        return nodes

    def _makers(self) -> tuple[tuple[str, Operation], ...]:
        variants = dict(self.variants)
        names = {op: None for edge in self.cell.edges for op in edge.operations}
        return tuple((op, get_operation(variants.get(op, op))) for op in names)

    def _count_stacks(self, widens: bool) -> "Counter[_Stack]":
        """Returns every stack, in order of its first edge, with its number of edges."""
        return Counter(
            _Stack(name, op, edge.stride, widens and edge.source < self.cell.inputs)
            for e, edge in enumerate(self.cell.edges)
            for op, name in edge_stacks(self.cell, e, widens).items()
        )


class _Stack(NamedTuple):
    """Parameters of an operation on like edges.

    Attributes:
      enters: whether the edges leave inputs of another width than the nodes.
    """

    name: str
    operation: str
    stride: int
    enters: bool


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The static part of a cell's computation: all but the numbers."""

    cell: Cell
    settings: EdgeSettings
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
    """Computes the nodes of a cell, and its statistics by stack.

    Under `jit` for its cache: cells of one shape are traced once, with their
    derivatives, wherever they stand in the network.
    """
    mixed = MixedCell(
        cell=plan.cell,
        settings=plan.settings,
        recompute=plan.recompute,
        variables=variables,
        mixture=mixture,
        keys=keys,
        strength=strength,
        kept=kept_channels(
            plan.cell, mixture, plan.settings.width * plan.settings.partial
        ),
    )
    nodes, parts = WALKS[plan.execution](mixed, inputs)
    stats = {
        name: jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *values)
        for name, values in parts.items()
    }
    return nodes, stats


def kept_channels(
    cell: Cell, mixture: Float[Array, "edge op"], channels: int
) -> Float[Array, " channel"] | None:
    """Returns the share of every channel that is kept, by the mixture of the widths.

    Every width is a mask of the first channels (Wan et al., 2020, FBNetV2, section
    3.1).

    Args:
      cell: the graph, of which one edge may choose the width.
      mixture: weight of every operation on every edge.
      channels: their number.

    Returns:
      Values in [0, 1] where the widths' weights add up to 1; None where a cell has no
      such choice.
    """
    if cell.width_edge is None:
        return None
    widths = [rounded(channels * share) for share in cell.width_shares]
    masks = np.arange(channels) < np.array(widths)[:, None]
    weights = mixture[cell.width_edge, : len(widths)]
    return weights @ jnp.asarray(masks, weights.dtype)
