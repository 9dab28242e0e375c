"""The mixed operations of a cell: ``state[target] += sum_o mixture[e, o] * op_o(x)``.

Equation 2 of Liu et al. (2019), with the weights given from outside. Parameters are
stacked per operation and stride over the edges that may be it, in order of
(source, target). The stack is walked in one of two ways with equal results:

- ``scan``: edge after edge, one traced mixed operation for all that are alike;
- ``batch``: all edges that leave a state in one batched operation.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.operations import primitives
from darts_jax.operations.image import Operation, Zero, get_operation
from darts_jax.operations.layers import Image
from darts_jax.spaces.graph import Cell

Execution = Literal["scan", "batch"]


@dataclasses.dataclass(frozen=True)
class Run:
    """Edges, neighbours in order of execution, that a single body can compute.

    Attributes:
      edges: their rows of the mixture.
      operations: what each of them may be.
      starts: per operation, where they begin in its stack.
      from_inputs: whether they leave inputs of another size than the nodes.
    """

    edges: tuple[int, ...]
    operations: tuple[str, ...]
    starts: tuple[int, ...]
    stride: int
    from_inputs: bool


def stack_name(operation: str, stride: int) -> str:
    return operation if stride == 1 else f"{operation}_stride{stride}"


def plan(cell: Cell, *, by_source: bool) -> tuple[Run, ...]:
    """Cuts the edges, ordered by (source, target), into runs of like edges.

    Args:
      by_source: also cut where the source changes.
    """
    order = sorted(range(len(cell.edges)), key=lambda e: (cell.edges[e].source, e))

    def from_inputs(e: int) -> bool:
        return cell.stride > 1 and cell.edges[e].source < cell.inputs

    def likeness(e: int) -> tuple[Any, ...]:
        edge = cell.edges[e]
        return (
            edge.operations,
            edge.stride,
            edge.source if by_source else from_inputs(e),
        )

    done: dict[str, int] = {}
    runs = []
    for _, group in itertools.groupby(order, likeness):
        edges = tuple(group)
        first = cell.edges[edges[0]]
        names = [stack_name(op, first.stride) for op in first.operations]
        starts = tuple(done.get(name, 0) for name in names)
        done |= {name: done.get(name, 0) + len(edges) for name in names}
        runs.append(
            Run(
                edges,
                first.operations,
                starts,
                first.stride,
                from_inputs(edges[0]),
            )
        )
    return tuple(runs)


def shuffle_channels(x: Image, groups: int) -> Image:
    """Interleaves ``groups`` blocks of channels (Xu et al., 2020, code)."""
    *shape, channels = x.shape
    blocks = x.reshape(*shape, groups, channels // groups)
    return blocks.swapaxes(-1, -2).reshape(x.shape)


class MixedEdges(nn.Module):
    """All edges of a cell.

    Attributes:
      cell: the graph.
      channels: of every state.
      partial: only the first 1/partial of the channels enter the operations.
      variants: operation -> the one that the supernet uses in its place.
      execution: how the edge axis is walked.
      recompute: whether the backward pass computes edges again, for want of memory.
    """

    cell: Cell
    channels: int
    partial: int
    variants: tuple[tuple[str, str], ...]
    execution: Execution
    recompute: bool

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "input *image"],
        mixture: Float[Array, "edge op"],
        train: bool,
    ) -> tuple[Image, ...]:
        """Computes every node.

        Args:
          inputs: the input states, stacked.
          mixture: weight of every operation on every edge.

        Returns:
          The nodes, in order.
        """
        plan = _Plan(
            self.cell,
            self.channels // self.partial,
            self.partial,
            self._makers(),
            self.execution,
            self.recompute,
            train,
        )
        part = inputs[0][..., : plan.width]
        variables = {
            stack_name(op, stride): stack.declare(
                self, stack_name(op, stride), plan.module(op, stride), size, part
            )
            for (op, stride), size in self._stack_sizes().items()
        }
        keys = jax.random.split(stack.key_for(self, "noise"), len(self.cell.edges))
        nodes, stats = _compute(plan, variables, mixture, keys, inputs)
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
    """What one computation of a cell's edges does, whatever the numbers.

    Attributes:
      width: channels that enter the operations.
      makers: operation -> what makes its module: a name may be given to another one
        later, which the cache of `_compute` must tell apart.
    """

    cell: Cell
    width: int
    partial: int
    makers: tuple[tuple[str, Operation], ...]
    execution: Execution
    recompute: bool
    train: bool

    def module(self, operation: str, stride: int) -> nn.Module:
        return dict(self.makers)[operation](self.width, stride, False)

    def edge(
        self, run: Run, variables: Any, weights: Float[Array, " op"], key: Any, x: Image
    ) -> tuple[Image, dict[str, Any]]:
        """One mixed operation on one edge, and its statistics by stack."""
        part = x[..., : self.width]
        total, stats = None, {}
        for column, op in enumerate(run.operations):
            module = self.module(op, run.stride)
            if isinstance(module, Zero):
                continue
            name = stack_name(op, run.stride)
            y, stats[name] = stack.call(
                module, variables[name], key, part, train=self.train
            )
            term = weights[column].astype(y.dtype) * y
            total = term if total is None else total + term
        if total is None:
            total = jnp.zeros_like(part[:, :: run.stride, :: run.stride])
        return self._bypass(total, x, run.stride), stats

    def _bypass(self, mixed: Image, x: Image, stride: int) -> Image:
        """Joins the channels that took no operation (Xu et al., 2020, eq. 1)."""
        if self.partial == 1:
            return mixed
        rest = x[..., mixed.shape[-1] :]
        if stride > 1:
            rest = primitives.max_pool_2x2(rest)
        return shuffle_channels(jnp.concatenate([mixed, rest], -1), self.partial)


@functools.partial(jax.jit, static_argnums=0)
def _compute(
    plan: _Plan,
    variables: dict[str, stack.Variables],
    mixture: Float[Array, "edge op"],
    keys: PRNGKeyArray,
    inputs: Float[Array, "input *image"],
) -> tuple[tuple[Image, ...], dict[str, Any]]:
    """The nodes of a cell, and its statistics by stack.

    Under `jit` for its cache: cells of one shape are traced once, with their
    derivatives, wherever they stand in the network.
    """
    work = _Work(plan, variables, mixture, keys)
    walk = _scan if plan.execution == "scan" else _batch
    nodes, parts = walk(work, inputs)
    stats = {
        name: jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *values)
        for name, values in parts.items()
    }
    return nodes, stats


@dataclasses.dataclass(frozen=True)
class _Work:
    """A plan and its numbers."""

    plan: _Plan
    variables: dict[str, stack.Variables]
    mixture: Float[Array, "edge op"]
    keys: PRNGKeyArray

    @property
    def cell(self) -> Cell:
        return self.plan.cell

    def slices(self, run: Run) -> tuple[dict[str, Any], Array, PRNGKeyArray]:
        """The run's variables by stack, its rows of the mixture, and its keys."""
        variables = {}
        for op, start in zip(run.operations, run.starts, strict=True):
            name = stack_name(op, run.stride)
            stop = start + len(run.edges)
            variables[name] = jax.tree.map(
                lambda leaf, start=start, stop=stop: leaf[start:stop],
                self.variables[name],
            )
        rows = jnp.array(run.edges)
        return variables, self.mixture[rows], self.keys[rows]

    def edge(self, run: Run) -> Callable[..., tuple[Image, dict[str, Any]]]:
        """``(variables, weights, key, x) -> (mixed, stats)`` of an edge of the run."""
        edge = functools.partial(self.plan.edge, run)
        if not self.plan.recompute:
            return edge
        # On CPU this costs no time, as memory is what a step waits for there, and it
        # saves five sixths of the temporaries.
        return jax.checkpoint(edge, prevent_cse=self.plan.execution == "batch")


Stats = dict[str, list[Any]]


def _zero_node(work: _Work, inputs: Array) -> Image:
    batch, height, width, channels = inputs.shape[1:]
    stride = work.cell.stride
    shape = (batch, -(-height // stride), -(-width // stride), channels)
    return jnp.zeros(shape, inputs.dtype)


def _scan(work: _Work, inputs: Array) -> tuple[tuple[Image, ...], Stats]:
    cell = work.cell
    zero = _zero_node(work, inputs)
    states = jnp.broadcast_to(zero, (cell.nodes, *zero.shape))
    # Inputs of the nodes' size join them, so that one body serves all edges.
    first = cell.inputs if cell.stride > 1 else 0
    if not first:
        states = jnp.concatenate([inputs, states])
    all_stats: Stats = {}
    for run in plan(cell, by_source=False):
        sources = jnp.array([cell.edges[e].source for e in run.edges])
        targets = jnp.array([cell.edges[e].target - first for e in run.edges])
        edge = work.edge(run)

        def step(
            states: Array, x: Any, run: Run = run, edge: Any = edge
        ) -> tuple[Array, dict[str, Any]]:
            (variables, weights, key), source, target = x
            origin = inputs if run.from_inputs else states
            state = lax.dynamic_index_in_dim(origin, source, keepdims=False)
            y, stats = edge(variables, weights, key, state)
            return states.at[target].add(y), stats

        if not run.from_inputs:
            sources = sources - first
        states, stats = lax.scan(step, states, (work.slices(run), sources, targets))
        for name, leaves in stats.items():
            all_stats.setdefault(name, []).append(leaves)
    return tuple(states[cell.inputs - first :]), all_stats


def _batch(work: _Work, inputs: Array) -> tuple[tuple[Image, ...], Stats]:
    cell = work.cell
    zero = _zero_node(work, inputs)
    states = [*inputs, *[zero] * cell.nodes]
    all_stats: Stats = {}
    for run in plan(cell, by_source=True):
        x = states[cell.edges[run.edges[0]].source]
        over_edges = jax.vmap(work.edge(run), in_axes=(0, 0, 0, None))
        ys, stats = over_edges(*work.slices(run), x)
        for y, e in zip(ys, run.edges, strict=True):
            target = cell.edges[e].target
            states[target] = states[target] + y
        for name, leaves in stats.items():
            all_stats.setdefault(name, []).append(leaves)
    return tuple(states[cell.inputs :]), all_stats
