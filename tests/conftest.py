"""Strict arithmetic for every test, and where real data may lie."""

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile the same programs again and again; workers and what they start share
# this, and the user's own cache is left alone.
_CACHE = "JAX_COMPILATION_CACHE_DIR"
_OWN_CACHE = _CACHE not in os.environ
if _OWN_CACHE:
    os.environ[_CACHE] = tempfile.mkdtemp(prefix="darts_jax_tests_")

import jax  # noqa: E402
import pytest  # noqa: E402

import darts_jax  # noqa: E402
from darts_jax.kernels.cpu import library  # noqa: E402
from tests.support.paths import SHARED  # noqa: E402
from tests.support.small_runs import competing  # noqa: E402

# Files go to workers whole: the long ones first, or one worker ends alone.
LONG = (
    "test_combinations",
    "test_devices",
    "test_supernet",
    "test_main",
    "test_streams",
)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")


def pytest_configure(config):
    """Kernels are built before there are workers, each of whom would build them."""
    if getattr(config.option, "tx", None) and not hasattr(config, "workerinput"):
        with ThreadPoolExecutor() as pool:
            list(pool.map(library.has_kernels, library.NUMBERS))


def pytest_collection_modifyitems(config, items):
    def rank(item):
        name = str(item.path.with_suffix(""))
        return next((i for i, end in enumerate(LONG) if name.endswith(end)), len(LONG))

    items.sort(key=rank)
    # ``DARTS_JAX_PART=2/3`` is the last third of the slow tests. Neighbours are of
    # different parts, as the cases of one test take alike long.
    part, parts = map(int, os.environ.get("DARTS_JAX_PART", "0/1").split("/"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    left_out = set(slow) - set(slow[part::parts])
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_unconfigure(config):
    if _OWN_CACHE and not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[_CACHE], ignore_errors=True)


@pytest.fixture
def shared() -> Path:
    """Facts and real data beside the checkout; tests that need them skip without."""
    if not SHARED.is_dir():
        pytest.skip("no shared data beside this checkout")
    return SHARED


@pytest.fixture(scope="module")
def tiny():
    """Registers the smallest space of `tests.support.small_runs` as ``tiny``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(darts_jax.SPACES, "tiny", competing())
        yield
