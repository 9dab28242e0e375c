"""Programs of whole search steps for a GPU, lowered where there is none."""

import itertools
import re

import jax
import numpy as np
import pytest

from darts_jax import from_arrays, load_config
from darts_jax.engine.devices import Layout
from darts_jax.kernels.gpu import GPU_KERNELS
from darts_jax.tasks.registry import make_search

# Space, and settings that keep its supernet small.
SPACES = {
    "nasbench201": ["supernet.cells=1"],
    "darts": ["supernet.cells=2"],
    "s2": ["supernet.cells=2"],
    "mobile_small": [],
    "fbnet": [],
}
SEPARABLE = ("darts", "s2")
QUICK = ("nasbench201", "first_order", "auto")
CASES = [
    pytest.param(*case, marks=() if case == QUICK else pytest.mark.slow)
    for case in itertools.product(SPACES, ("first_order", "exact"), ("auto", "xla"))
]


def lowered(space, hypergradient, kernels):
    """The text of a search's program for an NVIDIA card."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(8) % 2
    config = load_config(
        overrides=[
            f"space={space}",
            *SPACES[space],
            "supernet.channels=4",
            "supernet.execution=joined",
            f"search.hypergradient={hypergradient}",
            "search.batch_size=2",
            f"gpu_kernels={kernels}",
        ]
    )
    job = make_search(config, from_arrays(images, labels, images, labels), Layout(None))
    state = jax.eval_shape(job.init, job.start)
    totals = job.empty_totals()
    zero = 0
    shapes = state, totals, job.feed.shapes(job.layout), job.scalars(0), *[zero] * 3
    traced = job.layout.jit(job.run, state, totals).trace(*shapes)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize(("space", "hypergradient", "kernels"), CASES)
def test_no_convolution_of_a_search_is_grouped(space, hypergradient, kernels):
    before = GPU_KERNELS.value
    try:
        text = lowered(space, hypergradient, kernels)
    finally:
        GPU_KERNELS.set_global(before)
    counts = re.findall(r"(?:feature|batch)_group_count = (\d+)", text)
    assert set(counts) <= {"1"}
    assert ("xla.gpu.triton" in text) == (kernels == "auto" and space in SEPARABLE)
