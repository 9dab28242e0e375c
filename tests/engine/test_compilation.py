"""Programs for accelerators have the same key wherever the package is installed."""

import hashlib
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from darts_jax.engine.compilation import use_compilation_cache
from tests.support.paths import ROOT

SOURCE_PATHS = "jax_hlo_source_file_canonicalization_regex"
KERNEL = """
import jax
from jax.experimental import pallas as pl

def double(ref, out):
    out[...] = ref[...] * 2

def call(x):
    return pl.pallas_call(double, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x)
"""
SEARCH = """
import hashlib
import sys
import jax
import numpy as np
from jax import export
from darts_jax import default_config, from_arrays
from darts_jax.engine.devices import Layout
from darts_jax.tasks.registry import make_search

images = np.zeros((8, 8, 8, 3), np.uint8)
config = default_config()
config.supernet.update(cells=2, channels=4)
config.search.update(batch_size=4)
data = from_arrays(images, np.arange(8), images, np.arange(8))
job = make_search(config, data, Layout())
state = jax.eval_shape(job.init, job.start)
zero = np.int32(0)
program = job.layout.jit(job.run, state, job.empty_totals())
feed = job.feed.shapes(job.layout)
arguments = state, job.empty_totals(), feed, job.scalars(0), zero, zero, zero
for platform in ("cuda", "tpu"):
    lowered = program.trace(*arguments).lower(lowering_platforms=(platform,))
    print(platform, hashlib.sha256(lowered.as_text().encode()).hexdigest())
"""


@pytest.fixture
def source_paths():
    """JAX's option about paths of sources, unset and put back."""
    before = getattr(jax.config, SOURCE_PATHS)
    jax.config.update(SOURCE_PATHS, None)
    yield
    jax.config.update(SOURCE_PATHS, before)


def lowered_kernel(folder, platform):
    """The text of a program with a Pallas kernel that lies in a folder."""
    path = folder / "darts_jax" / "kernel.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(KERNEL)
    spec = importlib.util.spec_from_file_location("kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shape = jax.ShapeDtypeStruct((64, 128), jnp.float32)
    traced = jax.jit(module.call).trace(shape)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "platform",
    [
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                jax.__version_info__ >= (0, 11) and jax.default_backend() != "gpu",
                reason="this jax lowers Pallas kernels for GPUs on a GPU only",
            ),
        ),
        "tpu",
    ],
)
def test_place_of_a_kernel_is_not_in_its_program(source_paths, tmp_path, platform):
    here = tmp_path / "here"
    there = tmp_path / "a" / "longer" / "way"
    assert lowered_kernel(here, platform) != lowered_kernel(there, platform)
    use_compilation_cache(str(tmp_path / "cache"))
    assert lowered_kernel(here, platform) == lowered_kernel(there, platform)


def test_choice_of_paths_that_a_user_made_stays(source_paths, tmp_path):
    jax.config.update(SOURCE_PATHS, "^/home/")
    use_compilation_cache(str(tmp_path))
    assert getattr(jax.config, SOURCE_PATHS) == "^/home/"


@pytest.mark.slow
def test_two_processes_lower_one_program_for_accelerators():
    def printed(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SEARCH]
        return subprocess.check_output(command, env=environment, text=True)

    first = printed("1")
    assert len(first.splitlines()) == 2
    assert first == printed("2")
