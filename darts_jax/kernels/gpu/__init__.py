"""Kernels in Pallas for programs that run on NVIDIA's GPUs, by Triton.

They join what XLA would run as separate operations: ReLU, depthwise and pointwise
convolution and the sums for batch norm of all edges that leave a state, and the ways
back. Where Pallas is not to be had, where a batch is divided among devices, and in
programs that are exported, XLA's own operations serve.
"""

from darts_jax.kernels.gpu.lowering import (
    GPU_KERNELS,
    describe_gpu_kernels,
    use_gpu_kernels,
)

__all__ = ["GPU_KERNELS", "describe_gpu_kernels", "use_gpu_kernels"]
