"""Window operations, convolutions and normalisation with derivatives of their own.

Each is a function of images [batch, height, width, channel] that `jit`, `vmap` and
derivatives of any order take. On CPU they are lowered to kernels in C++ where these can
be built, on NVIDIA's GPUs to kernels in Pallas, else to forms that XLA's backend runs
well; elsewhere to XLA's own operations. Nothing outside this folder needs more than
what is named here.
"""

from darts_jax.kernels.channelwise import (
    avg_pool,
    depthwise_conv,
    max_pool,
    max_pool_2x2,
)
from darts_jax.kernels.convolution import conv
from darts_jax.kernels.cpu import has_kernels
from darts_jax.kernels.description import describe_kernels
from darts_jax.kernels.edges import PLAIN_FORMS
from darts_jax.kernels.gpu import use_gpu_kernels
from darts_jax.kernels.joined import join
from darts_jax.kernels.precision import (
    PRECISIONS,
    describe_precision,
    use_precision,
)
from darts_jax.kernels.rectified import relu_conv, relu_separable
from darts_jax.kernels.sums import BN_EPSILON, Moments, moments, standardize

__all__ = [
    "BN_EPSILON",
    "PLAIN_FORMS",
    "PRECISIONS",
    "Moments",
    "avg_pool",
    "conv",
    "depthwise_conv",
    "describe_kernels",
    "describe_precision",
    "has_kernels",
    "join",
    "max_pool",
    "max_pool_2x2",
    "moments",
    "relu_conv",
    "relu_separable",
    "standardize",
    "use_gpu_kernels",
    "use_precision",
]
