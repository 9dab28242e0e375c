"""The parts of `accelerator.py`: what each compiles, and what it then measures."""

import dataclasses
import functools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import Row

Prepared = tuple[Row, Callable[[float], list[Row]]]
"""Facts known once a part is compiled, and a function that measures it in so many
seconds."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the script, which runs in a process of its own.

    Attributes:
      name: of the row.
      table: the table that its rows belong to.
      share: of the time limit that measuring may take.
      prepare: compiles what it measures.
    """

    name: str
    table: str
    share: float
    prepare: Callable[[], Prepared]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of everything: as published, or as a test can afford.

    Attributes:
      darts, nasbench201: space, cells, channels, batch and side of the images.
      kernels: edges, batch, side and channels of the kernels' cases.
      cases: beginnings of the names of those that are taken.
      gpu_kernels: what computes the kernels' cases, as the setting of this name.
      images: of the data that one epoch of a search reads; half are for the weights.
      steps: of a call.
      rounds: calls that are timed, of which the median counts.
      members: of the population.
    """

    darts: tuple[str, int, int, int, int] = ("darts", 8, 16, 64, 32)
    nasbench201: tuple[str, int, int, int, int] = ("nasbench201", 5, 16, 64, 32)
    kernels: tuple[int, int, int, int] = (4, 64, 32, 16)
    cases: tuple[str, ...] = ("",)
    gpu_kernels: str = "auto"
    images: int = 50_000
    steps: int = 10
    rounds: int = 5
    members: int = 4


SMALL = Sizes(
    darts=("darts", 1, 2, 4, 8),
    nasbench201=("nasbench201", 1, 2, 4, 8),
    kernels=(2, 2, 6, 3),
    cases=("separable 3x3, 3 channels", "batch norm"),
    gpu_kernels="interpret",
    images=32,
    steps=2,
    rounds=2,
    members=2,
)

# The order of worth: the first are those that a short visit to a device must not lack.
STEPS = (
    "darts ours first_order tf32",
    "darts torch_channels_last first_order tf32",
    "darts torch_nchw first_order tf32",
    "darts ours first_order bfloat16",
    "darts torch_channels_last first_order bfloat16",
    "nasbench201 ours first_order tf32",
    "nasbench201 torch_channels_last first_order tf32",
    "nasbench201 torch_nchw first_order tf32",
    "darts ours exact tf32",
    "darts torch_channels_last finite_difference tf32",
    "darts ours first_order float32",
    "darts torch_channels_last first_order float32",
    "darts ours first_order tf32 scan",
    "nasbench201 ours exact tf32",
    "nasbench201 torch_channels_last finite_difference tf32",
    "nasbench201 ours first_order bfloat16",
    "nasbench201 torch_channels_last first_order bfloat16",
    "nasbench201 ours first_order float32",
    "darts ours exact bfloat16",
    "nasbench201 torch_channels_last first_order tf32 compiled",
    "darts ours exact tf32 scan",
    "darts ours exact float32",
    "darts torch_channels_last first_order tf32 compiled",
)
_SHARE = 0.04
_USED = 0.7  # of the time to measure, after which nothing new begins


def all_parts(sizes: Sizes) -> list[Part]:
    """All parts, those of most worth first."""
    steps = [
        Part(name, "steps", _SHARE, functools.partial(prepare_step, name, sizes))
        for name in STEPS
    ]
    checks = [
        Part(
            f"kernels {numbers}",
            "kernels",
            0.08,
            functools.partial(prepare_kernels, numbers, sizes),
        )
        for numbers in ("float32", "bfloat16", "tf32")
    ]
    epoch = functools.partial(prepare_epoch, sizes)
    population = functools.partial(prepare_population, sizes)
    return [
        checks[0],
        *steps[:8],
        checks[1],
        Part("epoch of a search", "epoch", 0.15, epoch),
        *steps[8:10],
        Part("population", "population", 0.08, population),
        *steps[10:],
        checks[2],
    ]


def prepare_step(name: str, sizes: Sizes) -> Prepared:
    """Prepares a search step of a contender."""
    from contenders import Contender, Shape
    from measuring import seconds_of

    space, words = name.split(maxsplit=1)
    contender = Contender.parse(words)
    # What steps from Python may stop after any; a compiled program takes some a call.
    steps = sizes.steps if contender.framework == "ours" else 1
    turn, known = contender.prepare(Shape(*getattr(sizes, space)), steps)

    def measure(limit: float) -> list[Row]:
        deadline = time.perf_counter() + _USED * limit
        turn()
        seconds = [seconds_of(turn)]
        while len(seconds) < sizes.rounds and time.perf_counter() < deadline:
            seconds.append(seconds_of(turn))
        row = {"step_s": statistics.median(seconds) / steps, "calls": len(seconds)}
        return [row | peak_memory()]

    return known, measure


def prepare_kernels(numbers: str, sizes: Sizes) -> Prepared:
    """Prepares every kernel against the plain form."""
    import kernel_cases

    from darts_jax.kernels import use_gpu_kernels

    use_gpu_kernels(sizes.gpu_kernels)
    size = kernel_cases.Size(*sizes.kernels)
    chosen = [
        case
        for case in kernel_cases.cases(size.channels)
        if case.name.startswith(sizes.cases)
    ]
    workers = max(1, (os.cpu_count() or 1) // 4)
    checks = kernel_cases.prepare(numbers, size, chosen, workers)

    def measure(limit: float) -> list[Row]:
        deadline = time.perf_counter() + _USED * limit
        rows = []
        for check in checks:
            late = time.perf_counter() > deadline
            untimely = check.row | {"failure": "no time left for it"}
            rows.append(untimely if late else check.measure(2 * sizes.steps))
        return rows

    return {}, measure


def prepare_epoch(sizes: Sizes) -> Prepared:
    """Prepares an epoch of a search with all that a run has: tests, checkpoints.

    Images are noise around a mean for each class, so that chance is a tenth and a
    search that works is far above. What the estimate compiled, the search loads.
    """
    import ours

    import darts_jax

    space, cells, channels, batch, size = sizes.nasbench201
    config = ours.settings(space, cells, channels, batch, "first_order")
    config.search.epochs = 1
    data = ours.distinct_images(sizes.images, size)
    folder = Path(tempfile.mkdtemp(prefix="darts_jax_epoch_"))
    config.compilation_cache = str(folder / "programs")
    estimate = darts_jax.estimate(config, data)
    trial = estimate.trials[0]
    known = {"compile_s": trial.compile_seconds, "estimate_mb": trial.peak / 1e6}

    def measure(limit: float) -> list[Row]:
        del limit
        began = time.perf_counter()
        found = darts_jax.search(config, folder / "run", data)
        row = {"run_s": time.perf_counter() - began}
        (record,) = found.records
        names = "images_per_second", "held_out_accuracy"
        shutil.rmtree(folder)
        return [row | {name: record[name] for name in names} | peak_memory()]

    return known, measure


def prepare_population(sizes: Sizes) -> Prepared:
    """Prepares a population by `vmap`, beside lone runs."""
    import ours
    from programs import Population

    space, cells, channels, batch, size = sizes.nasbench201
    config = ours.settings(space, cells, channels, batch, "first_order")
    config.population.execution = "vmap"
    both = Population.prepare(config, sizes.members, sizes.steps, size)
    known = {"members": sizes.members} | both.together.compilation()

    def measure(limit: float) -> list[Row]:
        del limit
        return [both.measure(sizes.rounds) | peak_memory()]

    return known, measure


def peak_memory() -> Row:
    """Megabytes that a device held at the most, as each framework counts its arrays.

    JAX's has what was tried while algorithms were chosen. On CPU it is the process's.
    """
    return {"peak_mb": max(_peaks()) / 1e6}


def _peaks() -> Iterator[float]:
    import jax
    import ours

    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        yield float(torch.cuda.max_memory_allocated())
        return
    stats = jax.local_devices()[0].memory_stats() or {}
    yield float(stats.get("peak_bytes_in_use", 1e6 * ours.peak_megabytes()))
