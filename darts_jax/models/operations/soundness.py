"""Checks of users' own operations by their shapes, before anything is compiled.

The operations of this package are tested, and are not looked at again.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import errors
from flax import linen as nn

from darts_jax.errors import InputError
from darts_jax.models.operations.image import OPERATIONS, keep_width
from darts_jax.models.operations.layers import STREAMS
from darts_jax.models.operations.operation import Operation, traits
from darts_jax.models.operations.sequence import SEQUENCE_OPERATIONS

_OURS = frozenset(
    map(id, (keep_width, *OPERATIONS.values(), *SEQUENCE_OPERATIONS.values()))
)
_COLLECTIONS = ("params", "batch_stats")
_BATCH = 2

Shape = tuple[int, ...]


@functools.cache
def require_operation_sound(
    name: str,
    make: Operation,
    image: tuple[int, int, int],
    channels: int,
    stride: int,
    *,
    discrete: bool,
) -> None:
    """Checks an operation's output where it stands.

    Args:
      name: of the operation, for the error.
      make: the function that makes its module.
      image: height, width and channels of the image that enters it.
      channels: number of channels that must leave it.
      stride: down and across.
      discrete: whether it is in the network of a genotype.

    Raises:
      InputError: it cannot be made or called, or gives another shape; one line.
    """
    if id(make) in _OURS:
        return
    call = "channels, stride, discrete"
    module = _make(name, make, (channels, stride, discrete), call)
    height, width = (-(-side // stride) for side in image[:2])
    given = (_BATCH, *image)
    wanted = (_BATCH, height, width, channels)
    of = f"for {_format_shape(given)}, {channels} channels and stride {stride}"
    weighs = not discrete and traits(module).takes_weight
    weight = (jax.ShapeDtypeStruct((channels,), jnp.float32),) if weighs else ()
    _require_shape(name, module, given, wanted, of, weight)


@functools.cache
def require_sequence_sound(
    name: str, make: Callable[[], nn.Module], units: int
) -> None:
    """Checks that an operation keeps the shape of its input.

    Args:
      name: of the operation, for the error.
      make: the function that makes its module.
      units: number of units of the states that enter it.

    Raises:
      InputError: it cannot be made or called, or gives another shape; one line.
    """
    if id(make) in _OURS:
        return
    shape = (_BATCH, 8, units)  # of a text of 8 tokens
    module = _make(name, make, (), "")
    _require_shape(name, module, shape, shape, f"for {_format_shape(shape)}")


def _make(
    name: str, make: Callable[..., Any], arguments: tuple[Any, ...], call: str
) -> nn.Module:
    what = f"operation {name!r}"
    wanted = f"want a function of ({call}) that returns a Flax module"
    try:
        inspect.signature(make).bind(*arguments)
    except TypeError as error:
        raise InputError(f"{what} cannot be made: {error}; {wanted}") from None
    try:
        module = make(*arguments)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what} cannot be made: {_line(error)}") from error
    if not isinstance(module, nn.Module):
        kind = module if isinstance(module, type) else type(module)
        raise InputError(f"{what} is made as {kind.__name__}; {wanted}")
    try:
        inspect.signature(module.__call__).bind(None, False)
    except TypeError as error:
        raise InputError(
            f"{what} cannot be called as (x, train): {error}; want "
            "def __call__(self, x, train)"
        ) from None
    return module


def _require_shape(
    name: str,
    module: nn.Module,
    given: Shape,
    wanted: Shape,
    of: str,
    weight: tuple[Any, ...] = (),
) -> None:
    """Checks the variables, and the outputs in training and in a test."""
    what = f"operation {name!r}"
    x = jax.ShapeDtypeStruct(given, jnp.float32)
    variables = _trace(what, of, functools.partial(_initialize, module), x)
    others = [kind for kind in variables if kind not in _COLLECTIONS]
    if others:
        raise InputError(
            f"{what} keeps variables in {', '.join(others)}; want "
            f"{' and '.join(_COLLECTIONS)} alone"
        )
    if traits(module).edge_independent and "params" in variables:
        raise InputError(
            f"{what} says edge_independent and has parameters, of which every edge has "
            "its own; want it without one of these"
        )
    for train in (True, False):
        run = functools.partial(_run, module, train)
        y = _trace(what, of, run, variables, x, *weight)
        if not hasattr(y, "shape") or y.shape != wanted:
            has_shape = hasattr(y, "shape")
            got = _format_shape(y.shape) if has_shape else f"a {type(y).__name__}"
            raise InputError(f"{what} gives {got} {of}; want {_format_shape(wanted)}")
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise InputError(
                f"{what} gives {y.dtype} for {x.dtype}; want the dtype of its input"
            )


def _trace(what: str, of: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns the shapes of a function's results; raises InputError, in one line."""
    try:
        return jax.eval_shape(function, *arguments)
    except InputError:
        raise
    except errors.InvalidRngError:
        raise InputError(
            f"{what} draws from a stream of random numbers that is not there; want one "
            f"of {', '.join(STREAMS)}"
        ) from None
    except Exception as error:
        raise InputError(f"{what} fails {of}: {_line(error)}") from error


def _initialize(module: nn.Module, x: Any) -> Any:
    key = jax.random.key(0)
    return dict(module.init(dict.fromkeys(("params", *STREAMS), key), x, False))


def _run(module: nn.Module, train: bool, variables: Any, x: Any, *weight: Any) -> Any:
    streams = dict.fromkeys(STREAMS, jax.random.key(0))
    y, _ = module.apply(
        variables, x, train, *weight, rngs=streams, mutable=["batch_stats"]
    )
    return y


def _format_shape(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _line(error: Exception) -> str:
    said = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said.strip()}"
