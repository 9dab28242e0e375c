"""`estimate`: memory and arithmetic of a search, before it runs."""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from darts_jax.cost.macs import count_macs
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import describe_compilation, use_compilation_cache
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.kernels import describe_precision
from darts_jax.models.functional import count_parameters, supernet_apply
from darts_jax.settings.config import validate_config, with_overrides
from darts_jax.spaces import get_space
from darts_jax.tasks.image_networks import make_supernet
from darts_jax.tasks.registry import load_data, make_search, require_images
from darts_jax.training.console import format_table, print_status
from darts_jax.training.loop import compile_job
from darts_jax.types import Mixture

_GIVEN = "as given"


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device that a search takes, as the compiler states them.

    Attributes:
      temporaries: of the program.
      arguments: the state and the images of both halves, and a few scalars.
      images: the part of ``arguments`` that is the data set, or a chunk of a stream.
      outputs: the state after some steps, and sums of metrics.
      aliased: the part of ``outputs`` that lies where arguments were.
      beside: images that lie there meanwhile: those that an epoch ends with, and of a
        stream the chunk that comes next.
    """

    temporaries: int
    arguments: int
    images: int
    outputs: int
    aliased: int
    beside: int

    @property
    def peak(self) -> int:
        """Bytes at the most."""
        program = self.temporaries + self.arguments + self.outputs - self.aliased
        return program + self.beside


@dataclasses.dataclass(frozen=True)
class Trial:
    """The search program compiled with some settings changed.

    Attributes:
      changes: setting -> its value.
      memory: None where the compiler refused: too large for the device that is here.
      compile_seconds: time that compilation took.
    """

    changes: Mapping[str, Any]
    memory: Memory | None
    compile_seconds: float

    @property
    def peak(self) -> float:
        """Bytes at the most; infinite where the compiler refused."""
        return math.inf if self.memory is None else self.memory.peak

    @property
    def overrides(self) -> str:
        """Changes as the command line takes them."""
        return " ".join(f"--config.{k}={v}" for k, v in self.changes.items())


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Needs of a search, and settings to change where its device has less.

    Attributes:
      parameters: trainable scalars of the supernet.
      macs: multiply-accumulates of its forward pass on one image; None if a loop's
        length is not known.
      platform: that of the program, whose memory this is: cpu, gpu or tpu.
      device: its kind.
      precision: numbers that it multiplies where an array is float32.
      device_memory: bytes of one device; None if the backend does not tell.
      trials: the search as configured; then, until one fits, with changes.
    """

    parameters: int
    macs: int | None
    platform: str
    device: str
    precision: str
    device_memory: int | None
    trials: tuple[Trial, ...]

    @property
    def fits(self) -> bool:
        """True if the search as configured fits, as far as is known."""
        return self._has_room_for(self.trials[0])

    @property
    def best(self) -> Trial:
        """Trial that fits, or else that of least memory."""
        return min(self.trials, key=lambda trial: trial.peak)

    def __str__(self) -> str:
        first = self.trials[0]
        macs = "unknown" if self.macs is None else f"{self.macs:,}"
        total = self.device_memory
        rows = [
            ("supernet's parameters", f"{self.parameters:,}"),
            ("multiply-accumulates, one image forward", macs),
            *_memory_rows(first.memory),
            (f"memory of the device, {self.device}", _format_size(total)),
            ("products of float32 numbers", self.precision),
            ("platform of the program", self.platform),
            ("seconds to compile", f"{first.compile_seconds:.1f}"),
        ]
        label = max(len(a) for a, _ in rows)
        value = max(len(b) for _, b in rows)
        lines = "".join(f"{a:<{label}}  {b:>{value}}\n" for a, b in rows)
        return lines + self._remark() + self._verdict()

    def _has_room_for(self, trial: Trial) -> bool:
        return self.device_memory is None or trial.peak <= self.device_memory

    def _remark(self) -> str:
        """Returns a line where the memory may be another device's than the program."""
        if self.platform != "cpu" or self.device != _GIVEN:
            return ""
        return (
            "temporaries and seconds are those of the CPU's program; a GPU's or TPU's "
            "differ: estimate there\n"
        )

    def _verdict(self) -> str:
        if self.device_memory is None:
            return "the backend does not tell its memory; give --memory GB to compare\n"
        if self.fits:
            return "it fits\n"
        rows = [
            {
                "settings": trial.overrides or "as configured",
                "peak": _format_size(trial.peak),
                "fits": "yes" if self._has_room_for(trial) else "no",
            }
            for trial in self.trials
        ]
        tried = "\n" + format_table(rows, ("settings", "peak", "fits")) + "\n"
        if self._has_room_for(self.best):
            return f"{tried}it fits with:\n{self.best.overrides}\n"
        if self.best.memory is None:
            return f"{tried}none fits\n"
        lacking = _format_size(self.best.peak - self.device_memory)
        return f"{tried}none fits: the smallest needs {lacking} more than there is\n"


def estimate(
    config: ConfigDict, dataset: AnyDataset | None = None, memory: float | None = None
) -> Estimate:
    """Compiles a search without running it, and says what it needs.

    If that is more than there is, less memory for more arithmetic is tried: whole
    cells recomputed, then bfloat16, then microbatches. Of these the ones that save
    memory are kept.

    Args:
      config: see `config.default_config`.
      dataset: in place of the one that the config names.
      memory: of a device in GB (1e9 bytes), in place of what is here.

    Returns:
      The needs, and what was tried until the search fits.

    Raises:
      InputError: a mistake in the settings or the data; one line says which.
    """
    validate_config(config)
    require_images(config, "an estimate")
    if memory is not None and not 0 < memory < math.inf:
        raise InputError(f"a memory of {memory} GB; want a number above 0")
    precision = describe_precision(config.precision, jax.local_devices()[0])
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or load_data(config)
    job = make_search(config, dataset)
    state = jax.eval_shape(job.init, job.start)
    devices = 1 if job.layout.mesh is None else job.layout.mesh.size
    available = _device_memory(devices) if memory is None else int(memory * 1e9)
    return Estimate(
        parameters=count_parameters(state.params),
        macs=forward_macs(config, dataset, state),
        platform=jax.default_backend(),
        device=_GIVEN if memory else jax.local_devices()[0].device_kind,
        precision=precision,
        device_memory=available,
        trials=tuple(_run_trials(config, dataset, available)),
    )


def _run_trials(
    config: ConfigDict, dataset: AnyDataset, available: int | None
) -> Iterator[Trial]:
    """Tries the search as configured, then with changes until one fits."""
    best = _compile_trial(config, dataset, {})
    yield best
    if available is None:
        return
    for key, value in _switches(config):
        if best.peak <= available:
            return
        trial = _compile_trial(config, dataset, {**best.changes, key: value})
        yield trial
        best = min(best, trial, key=lambda t: t.peak)


def _switches(config: ConfigDict) -> Iterator[tuple[str, Any]]:
    """Yields settings that trade arithmetic for memory, the least harmful first."""
    if config.supernet.remat != "cell":
        yield "supernet.remat", "cell"
    if config.supernet.dtype != "bfloat16":
        yield "supernet.dtype", "bfloat16"
    size = config.search.batch_size
    parts = config.search.microbatches
    # Batch norm needs two images of a part.
    for n in range(2 * parts, size // 2 + 1):
        if size % n == 0 and (n >= 2 * parts or 2 * n == size):
            parts = n
            yield "search.microbatches", n


def _compile_trial(
    config: ConfigDict, dataset: AnyDataset, changes: Mapping[str, Any]
) -> Trial:
    overrides = [f"{key}={value}" for key, value in changes.items()]
    print_status(f"estimate: compiling {' '.join(overrides) or 'as configured'} ...")
    job = make_search(with_overrides(config, overrides), dataset)
    try:
        executable, seconds = _compile(job)
    # A TPU's compiler refuses what does not fit.
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print_status("estimate: the compiler finds it too large")
        return Trial(changes, None, 0.0)
    print_status(f"estimate: {describe_compilation(seconds)}")
    stated = executable.memory_analysis()
    memory = Memory(
        temporaries=stated.temp_size_in_bytes,
        arguments=stated.argument_size_in_bytes,
        images=_bytes(job.feed.shapes(job.layout)),
        outputs=stated.output_size_in_bytes,
        aliased=stated.alias_size_in_bytes,
        beside=_data_bytes(job),
    )
    return Trial(changes, memory, seconds)


def _compile(job: Job) -> tuple[Any, float]:
    """Compiles the program of `loop.run_epochs` from shapes."""
    totals = job.empty_totals()
    state = jax.eval_shape(job.init, job.start)
    state, totals = job.layout.state_shapes((state, totals))
    return compile_job(job, state, totals)


def forward_macs(config: ConfigDict, dataset: AnyDataset, state: Any) -> int | None:
    """Counts multiply-accumulates of a supernet's forward pass on one image.

    Args:
      config: of the search.
      dataset: of the search.
      state: of the search, or its shapes.

    Returns:
      The number; None if a loop's length is not known.
    """
    # The scan's conditionals, idle in some slots, would count as if they never were.
    walked = with_overrides(config, ["supernet.execution=batch"])
    apply = supernet_apply(make_supernet(walked, dataset))
    kinds = get_space(config.space).cells

    def forward(state: Any, images: Any) -> Any:
        key = jax.random.key(0)
        mixture = Mixture({kind: state.alpha[kind] for kind in kinds})
        return apply(state.params, state.stats, mixture, images, key, train=True)

    image = jax.ShapeDtypeStruct((1, *dataset.image_shape), np.float32)
    jaxpr = jax.make_jaxpr(forward)(state, image)
    try:
        return count_macs(jaxpr)
    # An operation of the user's may loop as long as it likes.
    except ValueError as error:
        print_status(f"estimate: {error}")
        return None


def _device_memory(devices: int) -> int | None:
    device = jax.local_devices()[0]
    stated = (device.memory_stats() or {}).get("bytes_limit")
    if stated is None and device.platform == "cpu":
        # Its devices share what the machine has.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // devices
    return stated


def _memory_rows(memory: Memory | None) -> list[tuple[str, str]]:
    if memory is None:
        return [("peak memory of a device", _format_size(math.inf))]
    return [
        ("peak memory of a device", _format_size(memory.peak)),
        ("  temporaries", _format_size(memory.temporaries)),
        ("  arguments", _format_size(memory.arguments)),
        ("    of these, images", _format_size(memory.images)),
        ("  outputs", _format_size(memory.outputs)),
        ("  outputs in the arguments' place", _format_size(-memory.aliased)),
        ("  images beside the program", _format_size(memory.beside)),
    ]


def _format_size(count: float | None) -> str:
    if count is None:
        return "unknown"
    return "too large" if count == math.inf else f"{count / 1e6:,.2f} MB"


def _data_bytes(job: Job) -> int:
    feed = job.feed
    held_out = job.held_out
    coming = feed.ahead * _bytes(feed.shapes(job.layout))
    return coming + (1 + held_out.ahead) * _bytes(held_out.shapes(job.layout))


def _bytes(shapes: Any) -> int:
    """Returns the bytes on one device."""

    def leaf_bytes(leaf: jax.ShapeDtypeStruct) -> int:
        sharding = leaf.sharding
        own = sharding.shard_shape(leaf.shape) if sharding else leaf.shape
        return math.prod(own) * leaf.dtype.itemsize

    return sum(map(leaf_bytes, jax.tree.leaves(shapes)))
