"""How the edges of a cell are walked, in order of (source, target).

The stacked parameters of edges that are alike are walked in one of two ways with
equal results:

- ``scan``: state after state, and edge after edge of those that leave it, by one traced
  mixed operation;
- ``batch``: all edges that leave a state in one batched operation.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from darts_jax.models.mixed_operation import MixedOperation, Variables, stack_name
from darts_jax.models.operations.layers import Image
from darts_jax.spaces.graph import Cell

Execution = Literal["scan", "batch"]


@dataclasses.dataclass(frozen=True)
class Run:
    """Edges, neighbours in order of execution, that a single body can compute.

    Attributes:
      edges: their rows of the mixture.
      stacks: what each of them may be -> the stack of it.
      starts: per operation, where they begin in its stack.
      from_inputs: whether they leave inputs of another shape than the nodes.
    """

    edges: tuple[int, ...]
    stacks: tuple[tuple[str, str], ...]
    starts: tuple[int, ...]
    stride: int
    from_inputs: bool


def plan(cell: Cell, *, by_source: bool, widens: bool = False) -> tuple[Run, ...]:
    """Cuts the edges, ordered by (source, target), into runs of like edges.

    Args:
      by_source: also cut where the source changes.
      widens: whether the inputs have another width than the nodes.
    """
    order = sorted(range(len(cell.edges)), key=lambda e: (cell.edges[e].source, e))

    def from_inputs(e: int) -> bool:
        return (cell.stride > 1 or widens) and cell.edges[e].source < cell.inputs

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
        stacks = stacks_of(cell, edges[0], widens)
        starts = tuple(done.get(name, 0) for name in stacks.values())
        done |= {name: done.get(name, 0) + len(edges) for name in stacks.values()}
        runs.append(
            Run(
                edges,
                tuple(stacks.items()),
                starts,
                first.stride,
                from_inputs(edges[0]),
            )
        )
    return tuple(runs)


def stacks_of(cell: Cell, e: int, widens: bool) -> dict[str, str]:
    """What an edge may be -> the stack that holds its parameters."""
    edge = cell.edges[e]
    wider = widens and edge.source < cell.inputs
    return {op: stack_name(op, edge.stride, wider) for op in edge.operations}


@dataclasses.dataclass(frozen=True)
class Fans:
    """The edges of a run by source: a table whose short rows end in idle slots.

    Attributes:
      sources: of every row.
      slots: which edge of the run; an idle slot repeats one of its row.
      taken: whether the slot is not idle.
      rows: row of every edge of the run.
    """

    sources: Int[np.ndarray, " source"]
    slots: Int[np.ndarray, "source slot"]
    taken: Bool[np.ndarray, "source slot"]
    rows: Int[np.ndarray, " edge"]

    @classmethod
    def of(cls, cell: Cell, run: Run) -> "Fans":
        sources = np.array([cell.edges[e].source for e in run.edges])
        unique, firsts, rows, sizes = np.unique(
            sources, return_index=True, return_inverse=True, return_counts=True
        )
        slot = np.arange(sizes.max())
        taken = slot < sizes[:, None]
        last = (firsts + sizes - 1)[:, None]
        return cls(unique, np.minimum(firsts[:, None] + slot, last), taken, rows)


@dataclasses.dataclass(frozen=True)
class Work:
    """The edges of a cell: their plan, and its numbers.

    Attributes:
      recompute: whether the backward pass computes edges again, for want of memory.
      variables: stack -> leaves [edge of the stack, ...].
      keys: of every edge.
      strength: of the corruption of outputs.
      kept: what every channel of a node is multiplied by; None: nothing.
    """

    cell: Cell
    operation: MixedOperation
    recompute: bool
    variables: Variables
    mixture: Float[Array, "edge op"]
    keys: PRNGKeyArray
    strength: Float[Array, ""]
    kept: Float[Array, " channel"] | None = None

    @property
    def channels(self) -> int:
        """Of every node."""
        return self.operation.width * self.operation.partial

    def plan(self, inputs: Array, *, by_source: bool) -> tuple[Run, ...]:
        """The runs of the cell with these inputs."""
        widens = inputs.shape[-1] != self.channels
        return plan(self.cell, by_source=by_source, widens=widens)

    def slices(self, run: Run) -> tuple[Variables, Array, PRNGKeyArray]:
        """The run's variables by stack, its rows of the mixture, and its keys."""
        return self.table(run, np.arange(len(run.edges)))

    def table(
        self, run: Run, slots: Int[np.ndarray, "..."]
    ) -> tuple[Variables, Array, PRNGKeyArray]:
        """`slices` of some edges of the run, in a table."""
        variables = {
            name: jax.tree.map(
                functools.partial(_rows, indices=start + slots), self.variables[name]
            )
            for (_, name), start in zip(run.stacks, run.starts, strict=True)
        }
        edges = np.array(run.edges)[slots]
        return variables, _rows(self.mixture, edges), _rows(self.keys, edges)

    def shared(self, run: Run) -> Callable[..., tuple[dict[str, Image], Any]]:
        """``(variables, key, x) -> (outputs, stats)`` of a state that edges leave."""
        return functools.partial(self.operation.shared, dict(run.stacks), run.stride)

    def edge(self, run: Run) -> Callable[..., tuple[Image, dict[str, Any]]]:
        """``(variables, weights, key, x, shared) -> (mixed, stats)`` of an edge."""
        own, whole = self.own(run), self.whole(run)

        def edge(
            variables: Variables, weights: Array, key: Any, x: Image, shared: Any
        ) -> tuple[Image, dict[str, Any]]:
            y, stats = own(variables, weights, key, x)
            return whole(y, weights, key, x, shared), stats

        return edge

    def own(self, run: Run) -> Callable[..., tuple[Image | None, dict[str, Any]]]:
        """``(variables, weights, key, x) -> (own, stats)`` of an edge."""
        own = functools.partial(self.operation.own, dict(run.stacks), run.stride)
        return functools.partial(own, strength=self.strength, kept=self.kept)

    def whole(self, run: Run) -> Callable[..., Image]:
        """``(own, weights, key, x, shared) -> mixed`` of an edge."""
        whole = functools.partial(self.operation.whole, dict(run.stacks), run.stride)
        return functools.partial(whole, strength=self.strength)

    def rematerialized(self, function: Callable[..., Any], *, looped: bool) -> Any:
        """The function, computed again in the backward pass if that is wanted.

        On CPU this costs no time, as memory is what a step waits for there, and it
        saves five sixths of the temporaries.

        Args:
          looped: whether a loop's body calls it, which no optimization looks across.
        """
        if not self.recompute:
            return function
        return jax.checkpoint(function, prevent_cse=not looped)

    def zero_node(self, inputs: Float[Array, "input ..."]) -> Image:
        batch, height, width, _ = inputs.shape[1:]
        stride = self.cell.stride
        shape = (batch, -(-height // stride), -(-width // stride), self.channels)
        return jnp.zeros(shape, inputs.dtype)


Walk = Callable[[Work, Array], tuple[tuple[Image, ...], dict[str, list[Any]]]]
"""(work, inputs) -> (nodes, stack -> statistics of its edges, part by part)."""


def _scan(
    work: Work, inputs: Float[Array, "input ..."]
) -> tuple[tuple[Image, ...], dict[str, list[Any]]]:
    cell = work.cell
    zero = work.zero_node(inputs)
    states = jnp.broadcast_to(zero, (cell.nodes, *zero.shape))
    # Inputs of the nodes' shape join them, so that one body serves all edges.
    apart = cell.stride > 1 or inputs.shape[-1] != work.channels
    first = cell.inputs if apart else 0
    if not first:
        states = jnp.concatenate([inputs, states])
    parts: dict[str, list[Any]] = {}
    for run in work.plan(inputs, by_source=False):
        states, stats = _scan_run(work, run, first, inputs, states)
        for name, leaves in stats.items():
            parts.setdefault(name, []).append(leaves)
    return tuple(states[cell.inputs - first :]), parts


def _scan_run(
    work: Work, run: Run, first: int, inputs: Array, states: Array
) -> tuple[Array, dict[str, Any]]:
    """All edges of a run.

    Args:
      first: the state that ``states`` begins with.
    """
    fans = Fans.of(work.cell, run)
    targets = np.array([work.cell.edges[e].target - first for e in run.edges])
    guarded = _always if fans.taken.all() else _unless_idle
    # Inside of the conditional as well: what would be remembered of it is not declared.
    edge = guarded(work.rematerialized(work.edge(run), looped=True))
    edge = work.rematerialized(edge, looped=True)
    shared_of = work.rematerialized(work.shared(run), looped=True)

    def fan(states: Array, x: Any) -> tuple[Array, tuple[Any, Any]]:
        source, edges, targets, taken = x
        origin = inputs if run.from_inputs else states
        state = lax.dynamic_index_in_dim(origin, source, keepdims=False)
        variables, _, keys = jax.tree.map(lambda leaf: leaf[0], edges)
        shared, shared_stats = shared_of(variables, keys, state)

        def slot(states: Array, x: Any) -> tuple[Array, Any]:
            edge_of_slot, target, taken = x
            y, stats = edge(taken, *edge_of_slot, state, shared)
            row = states.at[target]
            return row.add(y, mode="promise_in_bounds"), stats

        states, stats = lax.scan(slot, states, (edges, targets, taken))
        return states, (stats, shared_stats)

    sources = fans.sources - (0 if run.from_inputs else first)
    table = work.table(run, fans.slots)
    xs = (sources, table, targets[fans.slots], fans.taken)
    states, (stats, shared_stats) = lax.scan(fan, states, xs)
    taken = np.flatnonzero(fans.taken)
    own = jax.tree.map(lambda leaf: _rows(lax.collapse(leaf, 0, 2), taken), stats)
    of_states = jax.tree.map(lambda leaf: _rows(leaf, fans.rows), shared_stats)
    return states, own | of_states


def _rows(leaf: Array, indices: Int[np.ndarray, "..."]) -> Array:
    """``leaf[indices]``, in few equations: a search has hundreds of leaves."""
    flat, first = indices.ravel(), int(indices.flat[0])
    if (flat == first + np.arange(flat.size)).all():
        rows = lax.slice_in_dim(leaf, first, first + flat.size)
        return rows.reshape(*indices.shape, *leaf.shape[1:])
    return leaf.at[indices].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _unstacked(leaf: Array | None, size: int) -> list[Array | None]:
    """Its rows. The way back joins them, where slices' would pad each with zeros."""
    if leaf is None:
        return [None] * size
    return [jnp.squeeze(row, 0) for row in lax.split(leaf, [1] * size)]


def _always(edge: Callable[..., Any]) -> Callable[..., Any]:
    """`_unless_idle` where no slot is idle."""
    return lambda taken, *arguments: edge(*arguments)


def _unless_idle(edge: Callable[..., Any]) -> Callable[..., Any]:
    """``(taken, *arguments) -> (mixed, stats)``, zeros where the slot is idle."""

    def guarded(taken: Array, *arguments: Any) -> Any:
        result = jax.eval_shape(edge, *arguments)

        def idle(*_: Any) -> Any:
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), result)

        return lax.cond(taken, edge, idle, *arguments)

    return guarded


def _batch(
    work: Work, inputs: Float[Array, "input ..."]
) -> tuple[tuple[Image, ...], dict[str, list[Any]]]:
    cell = work.cell
    zero = work.zero_node(inputs)
    states = [*inputs, *[zero] * cell.nodes]
    parts: dict[str, list[Any]] = {}
    for run in work.plan(inputs, by_source=True):
        x = states[cell.edges[run.edges[0]].source]
        variables, weights, keys = work.slices(run)
        one, key = jax.tree.map(lambda leaf: leaf[0], (variables, keys))
        shared_of = work.rematerialized(work.shared(run), looped=False)
        shared, shared_stats = shared_of(one, key, x)
        own, whole = (
            work.rematerialized(part, looped=False)
            for part in (work.own(run), work.whole(run))
        )
        of_edges = jax.vmap(own, in_axes=(0, 0, 0, None))
        ys, stats = of_edges(variables, weights, keys, x)
        # What edges share is added outside: CPU compilers are slow to sum over the edge
        # axis, which is what the way back of a broadcast is.
        for y, weight, key, e in zip(
            _unstacked(ys, len(run.edges)), weights, keys, run.edges, strict=True
        ):
            target = cell.edges[e].target
            states[target] = states[target] + whole(y, weight, key, x, shared)
        stats |= jax.tree.map(
            lambda leaf, run=run: jnp.stack([leaf] * len(run.edges)), shared_stats
        )
        for name, leaves in stats.items():
            parts.setdefault(name, []).append(leaves)
    return tuple(states[cell.inputs :]), parts


WALKS: dict[Execution, Walk] = {"scan": _scan, "batch": _batch}
