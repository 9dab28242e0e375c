"""Kernels in C++ for XLA's CPU programs, built for the machine that runs them.

XLA's CPU backend turns an operation into loops that it compiles anew in every program,
and has no form at all for some that a supernet lives from. The kernels of ``src`` are
compiled once for all programs, by the C++ compiler of the machine, and kept in the
user's cache. Where there is none, where a batch is divided among devices, and in
programs that are exported, XLA's own operations serve.
"""

from darts_jax.kernels.cpu.library import call_kernel, describe_kernels, has_kernels
from darts_jax.kernels.cpu.lowering import may_serve

__all__ = ["call_kernel", "describe_kernels", "has_kernels", "may_serve"]
