"""Lowering to Pallas kernels, where these may serve, and what is said of it."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import numpy as np

from darts_jax.errors import InputError

Kernels = Literal["auto", "pallas", "xla", "interpret"]

_LEAST_CAPABILITY = 8.0
# Before, programs with Pallas kernels could be lowered for a GPU that was not there.
_ASKS_FOR_CARD = (0, 11)
_DTYPES = ("float32", "bfloat16", "float16")

GPU_KERNELS = jax.make_user_context("auto")
"""The choice in force, one of `Kernels`; programs are made anew where it changes."""


def use_gpu_kernels(choice: str) -> None:
    """Chooses what computes on GPUs from now on.

    Args:
      choice: "auto" for Pallas kernels where a card can run them, "pallas" in any case,
        "xla" for XLA's own operations, or "interpret" for Pallas kernels that JAX's
        interpreter runs, on CPU.

    Raises:
      InputError: there is no such choice.
    """
    if choice not in get_args(Kernels):
        raise InputError(
            f"gpu_kernels is {choice!r}; it may be {', '.join(get_args(Kernels))}"
        )
    GPU_KERNELS.set_global(choice)


def describe_gpu_kernels() -> str:
    """Returns in a few words what computes on this machine's GPU."""
    reason = _reason_against()
    return "Pallas kernels" if reason is None else f"XLA's kernels: {reason}"


def may_serve(context: Any, fits: Callable[..., bool]) -> bool:
    """Returns whether a Pallas kernel may serve in a program for NVIDIA's GPUs.

    Args:
      context: of the lowering.
      fits: whether the kernel can compute with arrays like these.
    """
    module = context.module_context
    # Who loads an exported program may have another card; a kernel is nothing that a
    # batch could be divided over devices for.
    devices = getattr(module.axis_context, "num_devices", 1)
    if module.lowering_parameters.for_export or devices > 1:
        return False
    return _reason_against() is None and _is_fit(context, fits)


def is_interpreted(context: Any, fits: Callable[..., bool]) -> bool:
    """Returns whether JAX's interpreter runs a Pallas kernel; arguments as above."""
    return GPU_KERNELS.value == "interpret" and _is_fit(context, fits)


def _is_fit(context: Any, fits: Callable[..., bool]) -> bool:
    dtypes = {np.dtype(aval.dtype).name for aval in context.avals_in}
    return len(dtypes) == 1 and dtypes <= {*_DTYPES} and fits(*context.avals_in)


def _reason_against() -> str | None:
    choice = GPU_KERNELS.value
    if choice == "xla":
        return "gpu_kernels is xla"
    if choice == "auto" and jax.default_backend() == "gpu":
        card = jax.local_devices()[0]
        if "rocm" in card.client.platform_version.lower():
            return "Pallas kernels are for NVIDIA's cards"
        if float(card.compute_capability) < _LEAST_CAPABILITY:
            return f"compute capability {card.compute_capability} is below 8.0"
    elif choice == "auto" and jax.__version_info__ >= _ASKS_FOR_CARD:
        return "jax lowers Pallas kernels on a machine with a GPU only"
    return None
