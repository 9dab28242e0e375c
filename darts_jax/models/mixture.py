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
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.operations import primitives
from darts_jax.operations.image import Zero, make_operation
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
    """

    cell: Cell
    channels: int
    partial: int
    variants: tuple[tuple[str, str], ...]
    execution: Execution

    def _operation(self, name: str, stride: int) -> nn.Module:
        variant = dict(self.variants).get(name, name)
        return make_operation(
            variant, self.channels // self.partial, stride, discrete=False
        )

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
        modules, variables = self._declare(inputs[0])
        keys = jax.random.split(stack.key_for(self, "noise"), len(self.cell.edges))
        work = _Work(self.cell, self.partial, modules, variables, mixture, keys, train)
        walk = _scan if self.execution == "scan" else _batch
        nodes, stats = walk(work, inputs)
        for name, parts in stats.items():
            joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
            stack.commit(self, name, joined)
        return nodes

    def _declare(
        self, x: Image
    ) -> tuple[dict[str, nn.Module], dict[str, stack.Variables]]:
        count: dict[tuple[str, int], int] = {}
        for edge in self.cell.edges:
            for op in edge.operations:
                count[op, edge.stride] = count.get((op, edge.stride), 0) + 1
        part = x[..., : self.channels // self.partial]
        modules, variables = {}, {}
        for (op, stride), size in count.items():
            name = stack_name(op, stride)
            modules[name] = self._operation(op, stride)
            variables[name] = stack.declare(self, name, modules[name], size, part)
        return modules, variables


@dataclasses.dataclass(frozen=True)
class _Work:
    """What one call of `MixedEdges` holds while its edges are walked."""

    cell: Cell
    partial: int
    modules: dict[str, nn.Module]
    variables: dict[str, stack.Variables]
    mixture: Float[Array, "edge op"]
    keys: PRNGKeyArray
    train: bool

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

    def edge(
        self, run: Run, variables: Any, weights: Float[Array, " op"], key: Any, x: Image
    ) -> tuple[Image, dict[str, Any]]:
        """One mixed operation on one edge, and its statistics by stack."""
        part = x[..., : x.shape[-1] // self.partial]
        total, stats = None, {}
        for column, op in enumerate(run.operations):
            name = stack_name(op, run.stride)
            if isinstance(self.modules[name], Zero):
                continue
            y, stats[name] = stack.call(
                self.modules[name], variables[name], key, part, train=self.train
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

        # Recomputing an edge in the backward pass costs no time on CPU, where memory is
        # what a step waits for, and saves five sixths of the temporaries.
        edge = jax.checkpoint(functools.partial(work.edge, run), prevent_cse=False)

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
        ys, stats = jax.vmap(
            lambda variables, weights, key, run=run, x=x: work.edge(
                run, variables, weights, key, x
            )
        )(*work.slices(run))
        for y, e in zip(ys, run.edges, strict=True):
            target = cell.edges[e].target
            states[target] = states[target] + y
        for name, leaves in stats.items():
            all_stats.setdefault(name, []).append(leaves)
    return tuple(states[cell.inputs :]), all_stats
