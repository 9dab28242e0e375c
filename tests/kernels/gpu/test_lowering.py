"""The choice of what computes on a GPU: by platform, by card and by a setting."""

import re

import jax
import jax.numpy as jnp
import pytest

from darts_jax.errors import InputError
from darts_jax.kernels import conv, depthwise_conv, relu_conv, relu_separable
from darts_jax.kernels.gpu import GPU_KERNELS, describe_gpu_kernels, use_gpu_kernels

EDGES = 3
ASKS_FOR_CARD = jax.__version_info__ >= (0, 11)
"""Without a GPU this jax lowers no Pallas kernel for one."""


def second_order(x, taps, matrix, kernel):
    """Derivatives of all convolutions of a batch of edges."""

    def one(x, taps, matrix, kernel):
        guess = jnp.zeros((2, matrix.shape[-1]))
        y, _ = relu_separable(x, taps, matrix, guess, stride=2, dilation=2)
        z, _ = relu_conv(x, kernel, guess, stride=(2, 2))
        y = depthwise_conv(y + z, taps)
        return jnp.sum(jnp.sin(conv(y, kernel)))

    def loss(*arrays):
        return jnp.sum(jax.vmap(one, (None, 0, 0, 0))(*arrays))

    arrays = (x, taps, matrix, kernel)
    return jax.jvp(jax.grad(loss, (0, 1, 2, 3)), arrays, arrays)


SHAPES = [
    jax.ShapeDtypeStruct(shape, jnp.float32)
    for shape in (
        (2, 8, 8, 4),
        (EDGES, 3, 3, 4),
        (EDGES, 1, 1, 4, 4),
        (EDGES, 3, 3, 4, 4),
    )
]


def lowered(choice, platform="cuda"):
    with GPU_KERNELS(choice):
        traced = jax.jit(second_order).trace(*SHAPES)
        return traced.lower(lowering_platforms=(platform,)).as_text()


def groups(text):
    return {int(n) for n in re.findall(r"feature_group_count = (\d+)", text)} | {
        int(n) for n in re.findall(r"batch_group_count = (\d+)", text)
    }


@pytest.mark.parametrize(
    ("choice", "platform"), [("auto", "cuda"), ("xla", "cuda"), ("auto", "rocm")]
)
def test_no_convolution_of_a_gpu_is_grouped(choice, platform):
    text = lowered(choice, platform)
    assert groups(text) <= {1}
    uses_pallas = (choice, platform) == ("auto", "cuda") and not ASKS_FOR_CARD
    assert ("xla.gpu.triton" in text) == uses_pallas


def test_no_exported_program_needs_kernels():
    text = str(jax.export.export(jax.jit(second_order), platforms=["cuda"])(*SHAPES))
    assert "triton" not in text


def test_an_unknown_choice_is_one_line():
    with pytest.raises(InputError, match="gpu_kernels is 'triton'; it may be auto"):
        use_gpu_kernels("triton")


def test_the_choice_is_told():
    with GPU_KERNELS("xla"):
        assert describe_gpu_kernels() == "XLA's kernels: gpu_kernels is xla"
    told = describe_gpu_kernels()
    assert told.startswith("XLA's kernels: jax lowers" if ASKS_FOR_CARD else "Pallas")
