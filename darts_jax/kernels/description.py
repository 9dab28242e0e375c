"""A description of what computes on this machine, in a few words."""

import jax

from darts_jax.kernels import cpu, gpu


def describe_kernels() -> str | None:
    """Returns what computes here; None where XLA alone can."""
    descriptions = {
        "cpu": cpu.describe_kernels,
        "gpu": gpu.describe_gpu_kernels,
    }
    describe = descriptions.get(jax.default_backend())
    return describe() if describe else None
