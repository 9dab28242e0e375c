"""The search program under measurement, as `training/loop.py` would run it."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from darts_jax import default_config, from_arrays
from darts_jax.engine import memory
from darts_jax.engine.devices import Layout
from darts_jax.engine.job import Job
from darts_jax.engine.program import compile_lowered
from darts_jax.models.functional import count_parameters
from darts_jax.tasks.registry import make_search


def peak_megabytes() -> float:
    """The most memory that this process has held.

    From the kernel's record, as `getrusage` carries over the parent's peak.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    return float("nan")


def settings(
    space: str, cells: int, channels: int, batch: int, rule: str, **supernet: Any
) -> Any:
    """The configuration of one measurement."""
    config = default_config()
    config.space = space
    config.supernet.update(cells=cells, channels=channels, **supernet)
    config.search.update(batch_size=batch, hypergradient=rule)
    return config


def random_images(count: int, size: int) -> Any:
    """Images of bytes, as CIFAR's are."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % 10
    return from_arrays(images, labels, images, labels)


def distinct_images(count: int, size: int) -> Any:
    """Images that a search can learn: noise around a colour of each class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 10
    colours = rng.integers(0, 128, (10, 1, 1, 3), dtype=np.uint8)
    images = rng.integers(0, 128, (count, size, size, 3), dtype=np.uint8)
    images += colours[labels]
    return from_arrays(images, labels, images[:1000], labels[:1000])


def search_job(config: Any, size: int = 32, steps: int = 1) -> Job:
    """A search on as many random images as ``steps`` steps read, as a verb runs it."""
    memory.share_arenas()
    images = random_images(2 * config.search.batch_size * steps, size)
    return make_search(config, images, Layout())


class Ours:
    """Job, a search or a population: compiled once, then run by steps.

    Attributes:
      trace_s: seconds to trace and lower.
      compile_s: seconds to compile.
      compile_cpu_s: of all processors while it compiled.
      temporaries: bytes, as the compiler states them.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        layout = job.layout
        self.state = layout.init(job.init, job.start)
        self.totals = layout.init(lambda t: t, job.empty_totals())
        _, self.data = next(job.feed.open(layout)(0, 0))
        self.scalars = job.scalars(0)
        began = time.perf_counter()
        program = layout.jit(job.run, self.state, self.totals)
        lowered = program.lower(*self._arguments(0, 0))
        lowered_at, computed = time.perf_counter(), time.process_time()
        self.program = compile_lowered(lowered)
        self.trace_s = lowered_at - began
        self.compile_s = time.perf_counter() - lowered_at
        self.compile_cpu_s = time.process_time() - computed
        self.temporaries = self.program.memory_analysis().temp_size_in_bytes

    def compilation(self) -> dict[str, float]:
        """Columns of a table that are known before the first step."""
        return {
            "trace_s": self.trace_s,
            "compile_s": self.compile_s,
            "compile_cpu_s": self.compile_cpu_s,
            "temporaries_mb": self.temporaries / 1e6,
        }

    def parameters(self) -> int:
        return count_parameters(self.state.params)

    def step(self, steps: int = 1) -> float:
        """Runs so many steps in one call; returns the mean loss, over members too."""
        arguments = self._arguments(0, steps)
        self.state, self.totals = self.program(*arguments)
        sums = jax.device_get(self.totals)
        return float(np.mean(sums["loss"] / sums["count"]))

    def _arguments(self, start: int, stop: int) -> tuple[Any, ...]:
        bounds = np.int32(0), np.int32(start), np.int32(stop)
        return (self.state, self.totals, self.data, self.scalars, *bounds)
