"""The whole search program lowers for accelerators that this machine does not have."""

import jax
import numpy as np
import pytest
from jax import export

from darts_jax import default_config, from_arrays
from darts_jax.engine.devices import Layout
from darts_jax.tasks.registry import make_search


@pytest.mark.parametrize(
    "execution", ["scan", pytest.param("batch", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "hypergradient", ["first_order", pytest.param("exact", marks=pytest.mark.slow)]
)
def test_search_program_lowers_for_tpu_and_cuda(execution, dtype, hypergradient):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(16) % 10
    config = default_config()
    config.supernet.update(cells=3, channels=4, execution=execution, dtype=dtype)
    config.search.update(batch_size=8, hypergradient=hypergradient)
    dataset = from_arrays(images, labels, images, labels)
    job = make_search(config, dataset, Layout())
    state = jax.eval_shape(job.init, job.start)
    zero = np.int32(0)
    program = job.layout.jit(job.run, state, job.empty_totals())
    exported = export.export(program, platforms=["tpu", "cuda"])(
        state,
        job.empty_totals(),
        job.feed.shapes(job.layout),
        job.scalars(0),
        zero,
        zero,
        zero,
    )
    assert exported.platforms == ("tpu", "cuda")
    text = exported.mlir_module()
    assert "stablehlo.convolution" in text  # their own, not the CPU's slices
    assert ("bf16" in text) == (dtype == "bfloat16")
