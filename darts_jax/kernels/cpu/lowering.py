"""Lowering of primitives to native kernels on CPU, where these may serve."""

from typing import Any

import numpy as np

from darts_jax.kernels.cpu import library


def may_serve(context: Any) -> bool:
    """Returns whether native kernels may serve in a program for CPU.

    Args:
      context: of the lowering.
    """
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
