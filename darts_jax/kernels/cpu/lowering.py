"""Lowering of primitives to native kernels on CPU, where these may serve."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import mlir

from darts_jax.kernels.cpu import library


def register(
    primitive: Primitive,
    native: Callable[..., Any],
    otherwise: Callable[..., Any],
) -> None:
    """Lowers a primitive for CPU by its native form, or by XLA's operations.

    Args:
      primitive: to be lowered.
      native: made of `library.call_kernel`; (arrays, parameters) -> result.
      otherwise: the same by XLA's operations.
    """
    several = primitive.multiple_results
    forms = {
        True: mlir.lower_fun(native, multiple_results=several),
        False: mlir.lower_fun(otherwise, multiple_results=several),
    }

    def lower(context: Any, *operands: Any, **parameters: Any) -> Any:
        return forms[_may_serve(context)](context, *operands, **parameters)

    mlir.register_lowering(primitive, lower, platform="cpu")


def _may_serve(context: Any) -> bool:
    module = context.module_context
    # Who loads an exported program may not have the kernels; a call is nothing that
    # a batch could be divided over devices for.
    if module.lowering_parameters.for_export or _devices(module.axis_context) > 1:
        return False
    dtypes = {np.dtype(aval.dtype) for aval in context.avals_in}
    return len(dtypes) == 1 and library.has_kernels(dtypes.pop())


def _devices(axis_context: Any) -> int:
    """Returns the number of devices that XLA divides the arrays among.

    It is 1 inside a `shard_map`.
    """
    return getattr(axis_context, "num_devices", 1)
