"""Walks over the edges of a cell, in order of (source, target).

The stacked parameters of edges that are alike are walked in one of three ways with
equal results:

- ``scan``: state after state, and edge after edge of those that leave it, by one traced
  mixed operation;
- ``batch``: all edges that leave a state in one batched operation;
- ``joined``: so, and like parts of their operations in one as well.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from darts_jax.kernels import join
from darts_jax.models.batch_axis import keep_joined
from darts_jax.models.mixed_operation import (
    EdgeSettings,
    MixedOperation,
    Variables,
    stack_name,
)
from darts_jax.models.operations.layers import Image
from darts_jax.spaces.graph import Cell

Execution = Literal["scan", "batch", "joined"]


@dataclasses.dataclass(frozen=True)
class EdgeGroup:
    """Edges, neighbours in order of execution, that one traced body can compute.

    Attributes:
      edges: their rows of the mixture.
      stacks: operation that each of them may be, and the stack of its variables.
      starts: for every operation, the place of the first edge in its stack.
      stride: of every edge.
      from_inputs: whether they leave inputs of another shape than the nodes.
    """

    edges: tuple[int, ...]
    stacks: tuple[tuple[str, str], ...]
    starts: tuple[int, ...]
    stride: int
    from_inputs: bool


def group_edges(
    cell: Cell, *, by_source: bool, widens: bool = False
) -> tuple[EdgeGroup, ...]:
    """Cuts the edges, ordered by (source, target), into groups of like edges.

    Args:
      cell: the graph.
      by_source: whether to cut also where the source changes.
      widens: whether the inputs have another width than the nodes.
    """
    order = sorted(range(len(cell.edges)), key=lambda e: (cell.edges[e].source, e))

    def is_from_inputs(e: int) -> bool:
        return (cell.stride > 1 or widens) and cell.edges[e].source < cell.inputs

    def likeness(e: int) -> tuple[Any, ...]:
        edge = cell.edges[e]
        place = edge.source if by_source else is_from_inputs(e)
        return edge.operations, edge.stride, place

    done: dict[str, int] = {}
    groups = []
    for _, neighbours in itertools.groupby(order, likeness):
        edges = tuple(neighbours)
        stacks = edge_stacks(cell, edges[0], widens)
        group = EdgeGroup(
            edges=edges,
            stacks=tuple(stacks.items()),
            starts=tuple(done.get(name, 0) for name in stacks.values()),
            stride=cell.edges[edges[0]].stride,
            from_inputs=is_from_inputs(edges[0]),
        )
        done |= {name: done.get(name, 0) + len(edges) for name in stacks.values()}
        groups.append(group)
    return tuple(groups)


def edge_stacks(cell: Cell, e: int, widens: bool) -> dict[str, str]:
    """Returns the stacks that hold the parameters of an edge, by operation.

    Args:
      cell: the graph.
      e: index of the edge.
      widens: whether the inputs have another width than the nodes.
    """
    edge = cell.edges[e]
    wider = widens and edge.source < cell.inputs
    return {op: stack_name(op, edge.stride, wider) for op in edge.operations}


@dataclasses.dataclass(frozen=True)
class SourceTable:
    """Edges of a group by source: a table whose short rows end in idle slots.

    Attributes:
      sources: source of every row.
      slots: index of an edge in the group; an idle slot repeats one of its row.
      taken: False where the slot is idle.
      rows: row of every edge of the group.
    """

    sources: Int[np.ndarray, " source"]
    slots: Int[np.ndarray, "source slot"]
    taken: Bool[np.ndarray, "source slot"]
    rows: Int[np.ndarray, " edge"]

    @classmethod
    def of(cls, cell: Cell, group: EdgeGroup) -> "SourceTable":
        """Makes the table of a group of edges of a cell."""
        sources = np.array([cell.edges[e].source for e in group.edges])
        unique, firsts, rows, sizes = np.unique(
            sources, return_index=True, return_inverse=True, return_counts=True
        )
        slot = np.arange(sizes.max())
        taken = slot < sizes[:, None]
        last = (firsts + sizes - 1)[:, None]
        return cls(unique, np.minimum(firsts[:, None] + slot, last), taken, rows)


class EdgeInputs(NamedTuple):
    """Numbers of edges for a mixed operation; all leaves begin with the edges' axes.

    Attributes:
      variables: by stack.
      weights: rows of the mixture.
      keys: one per edge.
    """

    variables: Variables
    weights: Float[Array, "... op"]
    keys: PRNGKeyArray


@dataclasses.dataclass(frozen=True)
class MixedCell:
    """The mixed edges of a cell with all numbers that they need.

    Attributes:
      cell: the graph.
      settings: of the mixed operations.
      recompute: whether the backward pass computes edges again, for want of memory.
      variables: stack -> leaves [edge of the stack, ...].
      mixture: weight of every operation on every edge.
      keys: one per edge.
      strength: of the corruption of outputs.
      kept: share of every channel of a node that is kept; None: all.
    """

    cell: Cell
    settings: EdgeSettings
    recompute: bool
    variables: Variables
    mixture: Float[Array, "edge op"]
    keys: PRNGKeyArray
    strength: Float[Array, ""]
    kept: Float[Array, " channel"] | None = None

    @property
    def channels(self) -> int:
        """Number of channels of every node."""
        return self.settings.width * self.settings.partial

    def groups(self, inputs: Array, *, by_source: bool) -> tuple[EdgeGroup, ...]:
        """Returns the groups of like edges for inputs [input, ..., channel]."""
        widens = inputs.shape[-1] != self.channels
        return group_edges(self.cell, by_source=by_source, widens=widens)

    def mixed_operation(self, group: EdgeGroup) -> MixedOperation:
        """Returns the mixed operation of a group's edges."""
        return MixedOperation(
            settings=self.settings,
            stacks=dict(group.stacks),
            stride=group.stride,
            strength=self.strength,
            kept=self.kept,
        )

    def edge_inputs(
        self, group: EdgeGroup, slots: Int[np.ndarray, "..."]
    ) -> EdgeInputs:
        """Returns what the mixed operation needs of a group's edges.

        Args:
          group: the edges.
          slots: indices of edges in the group, in a table of any rank.
        """

        def stack_rows(name: str, start: int) -> Any:
            rows = start + slots
            return jax.tree.map(lambda leaf: _rows(leaf, rows), self.variables[name])

        variables = {
            name: stack_rows(name, start)
            for (_, name), start in zip(group.stacks, group.starts, strict=True)
        }
        edges = np.array(group.edges)[slots]
        return EdgeInputs(
            variables, _rows(self.mixture, edges), _rows(self.keys, edges)
        )

    def checkpoint(
        self,
        function: Callable[..., Any],
        *,
        looped: bool,
        kept: Callable[..., bool] | None = None,
    ) -> Any:
        """Returns a function that the backward pass computes again if that is wanted.

        On CPU this costs no time, as memory is what a step waits for there, and it
        saves five sixths of the temporaries.

        Args:
          function: of arrays.
          looped: whether a loop's body calls it, which no optimization looks across.
          kept: policy that says what else than messages of devices is remembered and
            not computed again; None: nothing.
        """
        if not self.recompute:
            return function
        policy = keep_joined
        if kept is not None:
            policy = jax.checkpoint_policies.save_from_both_policies(policy, kept)
        return jax.checkpoint(function, prevent_cse=not looped, policy=policy)

    def zero_node(self, inputs: Float[Array, "input ..."]) -> Image:
        """Returns a node of zeros for these inputs."""
        batch, height, width, _ = inputs.shape[1:]
        stride = self.cell.stride
        shape = (batch, -(-height // stride), -(-width // stride), self.channels)
        return jnp.zeros(shape, inputs.dtype)


Walk = Callable[[MixedCell, Array], tuple[tuple[Image, ...], dict[str, list[Any]]]]
"""(cell, inputs) -> (nodes, stack -> statistics of its edges, part by part)."""


def _scan(
    mixed: MixedCell, inputs: Float[Array, "input ..."]
) -> tuple[tuple[Image, ...], dict[str, list[Any]]]:
    cell = mixed.cell
    zero = mixed.zero_node(inputs)
    states = jnp.broadcast_to(zero, (cell.nodes, *zero.shape))
    # Inputs of the nodes' shape join them, so that one body serves all edges.
    apart = cell.stride > 1 or inputs.shape[-1] != mixed.channels
    first = cell.inputs if apart else 0
    if not first:
        states = jnp.concatenate([inputs, states])
    parts: dict[str, list[Any]] = {}
    for group in mixed.groups(inputs, by_source=False):
        states, stats = _scan_group(mixed, group, first, inputs, states)
        for name, leaves in stats.items():
            parts.setdefault(name, []).append(leaves)
    return tuple(states[cell.inputs - first :]), parts


def _scan_group(
    mixed: MixedCell, group: EdgeGroup, first: int, inputs: Array, states: Array
) -> tuple[Array, dict[str, Any]]:
    """Adds all edges of a group to the states that they end in.

    Args:
      first: number of the state that ``states`` begins with.
    """
    table = SourceTable.of(mixed.cell, group)
    targets = np.array([mixed.cell.edges[e].target - first for e in group.edges])
    operation = mixed.mixed_operation(group)
    shared_of = mixed.checkpoint(operation.shared, looped=True)
    edge = mixed.checkpoint(operation.edge, looped=True)
    has_idle = not table.taken.all()
    if has_idle:
        edge = _zero_unless_taken(edge)
    # Around the conditional as well, or what it remembers would be kept.
    edge = mixed.checkpoint(edge, looped=True)

    def add_source(states: Array, x: Any) -> tuple[Array, tuple[Any, Any]]:
        source, edges, targets, taken = x
        origin = inputs if group.from_inputs else states
        state = lax.dynamic_index_in_dim(origin, source, keepdims=False)
        one: EdgeInputs = jax.tree.map(lambda leaf: leaf[0], edges)
        shared, shared_stats = shared_of(one.variables, one.keys, state)

        def add_edge(states: Array, x: Any) -> tuple[Array, Any]:
            (variables, weights, key), target, taken = x
            guard = (taken,) if has_idle else ()
            y, stats = edge(*guard, variables, weights, key, state, shared)
            row = states.at[target]
            return row.add(y, mode="promise_in_bounds"), stats

        states, stats = lax.scan(add_edge, states, (edges, targets, taken))
        return states, (stats, shared_stats)

    sources = table.sources - (0 if group.from_inputs else first)
    edges = mixed.edge_inputs(group, table.slots)
    xs = (sources, edges, targets[table.slots], table.taken)
    states, (stats, shared_stats) = lax.scan(add_source, states, xs)
    taken = np.flatnonzero(table.taken)
    own = jax.tree.map(lambda leaf: _rows(lax.collapse(leaf, 0, 2), taken), stats)
    of_states = jax.tree.map(lambda leaf: _rows(leaf, table.rows), shared_stats)
    return states, own | of_states


def _zero_unless_taken(edge: Callable[..., Any]) -> Callable[..., Any]:
    """Returns ``(taken, *arguments) -> (mixed, stats)``, zeros in an idle slot."""

    def guarded(taken: Array, *arguments: Any) -> Any:
        result = jax.eval_shape(edge, *arguments)

        def idle(*_: Any) -> Any:
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), result)

        return lax.cond(taken, edge, idle, *arguments)

    return guarded


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _alike(weights: Array, x: Image) -> Array:
    del x
    return weights


def _by_image(weights: Array, x: Image) -> Array:
    """Returns weights [edge, op] once for every image, [edge, op, batch, 1, 1, 1].

    Their slopes are then sums over pixels, image by image, that add up in one kernel
    for all edges and operations.
    """
    shape = (*weights.shape, len(x), 1, 1, 1)
    return jnp.broadcast_to(jnp.expand_dims(weights, (2, 3, 4, 5)), shape)


_SMALL = 2**16


def _is_small(_: Any, *operands: Any, **parameters: Any) -> bool:
    """Returns whether what an operation reads is no image but parameters or moments.

    Remembered, it takes no memory worth the name; computed again, it is many kernels.
    """
    del parameters
    return sum(operand.size for operand in operands) <= _SMALL


def _batch(
    mixed: MixedCell,
    inputs: Float[Array, "input ..."],
    *,
    join: Callable[[Callable[..., Any]], Callable[..., Any]] = _as_it_is,
    kept: Callable[..., bool] | None = None,
    weigh: Callable[[Array, Image], Array] = _alike,
) -> tuple[tuple[Image, ...], dict[str, list[Any]]]:
    cell = mixed.cell
    zero = mixed.zero_node(inputs)
    states = [*inputs, *[zero] * cell.nodes]
    parts: dict[str, list[Any]] = {}
    for group in mixed.groups(inputs, by_source=True):
        count = len(group.edges)
        x = states[cell.edges[group.edges[0]].source]
        operation = mixed.mixed_operation(group)
        variables, weights, keys = mixed.edge_inputs(group, np.arange(count))
        one, key = jax.tree.map(lambda leaf: leaf[0], (variables, keys))
        shared, shared_stats = mixed.checkpoint(
            join(operation.shared), looped=False, kept=kept
        )(one, key, x)
        own = mixed.checkpoint(join(operation.own), looped=False, kept=kept)
        whole = mixed.checkpoint(operation.whole, looped=False)
        ys, stats = jax.vmap(own, in_axes=(0, 0, 0, None))(variables, weights, keys, x)
        # What edges share is added outside: CPU compilers are slow to sum over the edge
        # axis, which is what the way back of a broadcast is.
        for y, weight, key, e in zip(
            _unstack(ys, count), weigh(weights, x), keys, group.edges, strict=True
        ):
            target = cell.edges[e].target
            states[target] = states[target] + whole(y, weight, key, x, shared)
        stats |= jax.tree.map(
            lambda leaf, count=count: jnp.stack([leaf] * count), shared_stats
        )
        for name, leaves in stats.items():
            parts.setdefault(name, []).append(leaves)
    return tuple(states[cell.inputs :]), parts


WALKS: dict[Execution, Walk] = {
    "scan": _scan,
    "batch": _batch,
    "joined": functools.partial(_batch, join=join, kept=_is_small, weigh=_by_image),
}


def _rows(leaf: Array, indices: Int[np.ndarray, "..."]) -> Array:
    """Returns ``leaf[indices]`` in few equations: a search has hundreds of leaves."""
    flat = indices.ravel()
    first = int(flat[0])
    if (flat == first + np.arange(flat.size)).all():
        rows = lax.slice_in_dim(leaf, first, first + flat.size)
        return rows.reshape(*indices.shape, *leaf.shape[1:])
    return leaf.at[indices].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _unstack(leaf: Array | None, size: int) -> list[Array | None]:
    """Returns the rows. The backward pass joins them; slices' would pad with zeros."""
    if leaf is None:
        return [None] * size
    return [jnp.squeeze(row, 0) for row in lax.split(leaf, [1] * size)]
