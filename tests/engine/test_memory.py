"""Freed memory is given back, and a frugal library keeps none."""

import multiprocessing
import platform
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from darts_jax.engine import memory


def resident():
    """Kilobytes that this process holds."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only it is asked")
def test_freed_memory_is_given_back():
    chunks = [bytes(1000) for _ in range(200_000)]
    kept, held = chunks[::2000], resident()
    del chunks
    memory.give_back()
    assert resident() < held - 100_000
    assert len(kept) == 100


def given_back():
    """Kilobytes less once 200 MB of blocks are freed, the last one of them held."""
    blocks = [bytearray(b"x") * 2**20 for _ in range(200)]
    last, held = blocks[-1], resident()
    del blocks
    return held - resident(), last


def frugal_and_usual():
    with memory.frugal():
        frugal, _ = given_back()
    usual, _ = given_back()
    return frugal, usual


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only it is asked")
def test_a_frugal_library_keeps_nothing_of_some_size():
    """Runs in its own process: memory freed by other tests would serve the blocks."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        frugal, usual = pool.submit(frugal_and_usual).result()
    assert frugal > 150_000
    assert usual < 50_000
