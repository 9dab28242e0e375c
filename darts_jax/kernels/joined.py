"""Like calls of this folder's primitives in a function, joined into one over edges.

The operations of an edge are small, and a GPU waits for the start of each. Calls that
do not wait for each other and are alike but for their numbers become one, whose arrays
have them as their edge axis; separable convolutions may also differ in the size and the
dilation of their windows. Derivatives are those of the joined calls, so these are
joined as well.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import JaxprEqn, Literal, Primitive
from jaxtyping import Array

from darts_jax import jaxprs
from darts_jax.kernels.edges import IMAGE_RANK
from darts_jax.kernels.rectified import DENSE, SEPARABLE, SEPARABLES
from darts_jax.kernels.sums import moments_p, weighted_p
from darts_jax.kernels.windows import Windows

_JOINED: frozenset[Primitive] = frozenset(
    (SEPARABLE.map_p, DENSE.map_p, moments_p, weighted_p)
)


def join(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that computes the same with fewer calls.

    Args:
      function: of trees of arrays, images among them without an edge axis.
    """

    @functools.wraps(function)
    def joined(*arguments: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _run(program, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return joined


class _Together:
    """Results of a joined call, which are taken apart at most once."""

    def __init__(self, array: Array) -> None:
        self.array = array

    @functools.cached_property
    def rows(self) -> list[Array]:
        """The result of every call."""
        # The way back of a split joins, where that of slices pads with zeros.
        parts = lax.split(self.array, [1] * len(self.array))
        return [jnp.squeeze(part, 0) for part in parts]


@dataclasses.dataclass(frozen=True)
class _Row:
    """The result of one of the calls that were joined."""

    of: _Together
    index: int


def _run(program: Any, operands: Sequence[Any]) -> list[Any]:
    """Runs a program, its like equations together as soon as all of them can."""
    body = jaxprs.open_program(program)
    known = dict(zip(body.constvars, program.consts, strict=True))
    known |= dict(zip(body.invars, operands, strict=True))
    done: dict[Hashable, list[Any]] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    def is_ready(equation: JaxprEqn) -> bool:
        return all(isinstance(a, Literal) or a in known for a in equation.invars)

    waiting = list(body.eqns)
    while waiting:
        held: list[JaxprEqn] = []
        for equation in waiting:
            if not is_ready(equation) or _likeness(equation) is not None:
                held.append(equation)
                continue
            given = [_alone(read(atom)) for atom in equation.invars]
            known |= zip(equation.outvars, _once(equation, given, done), strict=True)
        ready = [equation for equation in held if is_ready(equation)]
        waiting = [equation for equation in held if not is_ready(equation)]
        for group in _groups(ready, read):
            given = [[read(atom) for atom in one.invars] for one in group]
            for one, results in zip(group, _call(group, given), strict=True):
                known |= zip(one.outvars, results, strict=True)
    return [_alone(read(atom)) for atom in body.outvars]


def _once(
    equation: JaxprEqn, given: Sequence[Any], done: dict[Hashable, list[Any]]
) -> list[Any]:
    """Returns an equation's results, the former ones if it was run before."""
    key = jaxprs.likeness(equation), tuple(map(id, given))
    if key[0] is None:
        return jaxprs.bind(equation, *given)
    if key not in done:
        # Beside the operands, whose identities are taken as long as they live.
        done[key] = [given, jaxprs.bind(equation, *given)]
    return done[key][1]


def _likeness(equation: JaxprEqn) -> Hashable:
    """Returns what calls that can be joined have in common; None: no call can."""
    if equation.primitive not in _JOINED:
        return None
    shapes = tuple(jaxprs.shapes(equation))
    if len(shapes[0]) != IMAGE_RANK:
        return None
    dtype = jaxprs.dtype_of(equation.invars[0])
    if equation.primitive is not SEPARABLE.map_p:
        return jaxprs.likeness(equation), shapes, dtype
    window = jaxprs.window_of(equation)
    shape = window.stride, shapes[0], shapes[2:], dtype
    return equation.primitive, window.precision, shape


def _groups(
    equations: Sequence[JaxprEqn], read: Callable[[Any], Any]
) -> list[list[JaxprEqn]]:
    """Returns groups of calls that can be joined.

    Those that read one image are a group without the others: the image then needs no
    copies.
    """
    by_likeness: dict[Hashable, dict[Hashable, list[JaxprEqn]]] = {}
    for equation in equations:
        images = by_likeness.setdefault(_likeness(equation), {})
        images.setdefault(_identity(read(equation.invars[0])), []).append(equation)
    groups = []
    for images in by_likeness.values():
        sharing = [group for group in images.values() if len(group) > 1]
        others = [one for group in images.values() if len(group) == 1 for one in group]
        groups += [*sharing, *([others] if others else [])]
    return groups


def _call(group: Sequence[JaxprEqn], given: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Returns the results of every equation of a group."""
    first, *others = group
    if not others:
        results = jaxprs.bind(first, *map(_alone, given[0]))
        return [[checkpoint_name(array, "joined") for array in results]]
    columns = list(zip(*given, strict=True))
    shared = len({_identity(image) for image in columns[0]}) == 1
    image = _alone(columns[0][0]) if shared else _stack(columns[0])
    if first.primitive is SEPARABLE.map_p:
        results = _separables(group, image, columns, shared)
    else:
        axes = (None if shared else 0, *[0] * (len(columns) - 1))
        call = functools.partial(jaxprs.bind, first)
        results = jax.vmap(call, in_axes=axes)(image, *map(_stack, columns[1:]))
    # Named, so that a checkpoint may remember moments that it does not compute again.
    together = [_Together(checkpoint_name(array, "joined")) for array in results]
    return [[_Row(each, i) for each in together] for i in range(len(group))]


def _separables(
    group: Sequence[JaxprEqn],
    image: Array,
    columns: Sequence[Sequence[Any]],
    shared: bool,
) -> list[Array]:
    windows = Windows(tuple(jaxprs.window_of(one) for one in group))
    _, depthwise, pointwise, guess = columns
    kernels = [windows.widen(_alone(kernel)) for kernel in depthwise]
    results: list[Array] = SEPARABLES.map_p.bind(
        image[None] if shared else image,
        jnp.stack(kernels),
        _stack(pointwise),
        _stack(guess),
        window=windows,
    )
    return results


def _identity(value: Any) -> Hashable:
    """Returns what tells one array from another."""
    return (id(value.of), value.index) if isinstance(value, _Row) else id(value)


def _alone(value: Any) -> Any:
    return value.of.rows[value.index] if isinstance(value, _Row) else value


def _stack(values: Sequence[Any]) -> Array:
    """Returns arrays with a new first axis; what was together stays as it is."""
    first = values[0]
    if isinstance(first, _Row) and len(first.of.array) == len(values):
        whole = [_Row(first.of, i) for i in range(len(values))]
        if list(values) == whole:
            return first.of.array
    return jnp.stack([_alone(value) for value in values])
