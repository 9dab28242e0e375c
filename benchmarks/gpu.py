"""Compile a search for GPUs that are not there: kernels, bytes and a bound of a step.

    pip install 'jax[cuda13]'
    python benchmarks/gpu.py --gpu H100 --hypergradients first_order exact
    python benchmarks/gpu.py --devices 4 8

The whole search program, its loop over steps included, is compiled ahead of time for
devices of one host (`ahead.py`), without the search for algorithms, which needs a
device. Prints a table, the dearest kernels, and on the last line the same as JSON.

- Kernels are what a step launches, by kind: ``fusions`` of XLA, ``triton`` for those
  that Triton compiles, XLA's and Pallas's, ``cudnn``, ``cublas``, ``copies``,
  ``collectives`` and ``others``. ``grouped`` are cuDNN's grouped convolutions, which
  are slow. A loop's body counts as often as it runs.
- Bytes are what kernels read and write, every array once a kernel; products those of
  convolutions and matrix products (`work.py`), with Pallas's where they are told.
- ``bound_ms`` is the larger of bytes by bandwidth and products by the peak of the
  matrix units, and ``--launch-us`` for every kernel. Nothing here is a time: no device
  has run it.
"""

import argparse
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import ahead
from launches import dearest, kernels_by_kind
from work import Program

COLUMNS = (
    *ahead.COMPILED,
    "kernels",
    "grouped",
    "gb",
    "products_gflop",
    "bound_ms",
    "by_kind",
    "collectives",
    "collective_mb",
)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A product's data sheet.

    Attributes:
      capability: major and minor number of its compute capability.
      cores: number of multiprocessors.
      lanes: float32 units of each.
      shared: bytes of a multiprocessor's shared memory.
      cache: bytes of the second cache.
      clock: gigahertz.
      memory: bytes.
      bandwidth: bytes a second.
      peaks: dtype -> products and sums a second of the matrix units; of float32 as
        TF32, which is JAX's default.
    """

    capability: tuple[int, int]
    cores: int
    lanes: int
    shared: int
    cache: int
    clock: float
    memory: int
    bandwidth: float
    peaks: dict[str, float]

    def text(self) -> str:
        """The device as the compiler reads it, a ``GpuTargetConfigProto``."""
        major, minor = self.capability
        return f"""
            gpu_device_info {{
              threads_per_block_limit: 1024 threads_per_warp: 32
              shared_memory_per_block: 49152 shared_memory_per_core: {self.shared}
              shared_memory_per_block_optin: {self.shared - 1024}
              threads_per_core_limit: 2048 core_count: {self.cores}
              fpus_per_core: {self.lanes} block_dim_limit_x: 2147483647
              block_dim_limit_y: 65535 block_dim_limit_z: 65535
              memory_bandwidth: {int(self.bandwidth)} l2_cache_size: {self.cache}
              clock_rate_ghz: {self.clock} device_memory_size: {self.memory}
              cuda_compute_capability {{ major: {major} minor: {minor} }}
              registers_per_core_limit: 65536 registers_per_block_limit: 65536
            }}
            platform_name: "CUDA"
            dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
        """


H100 = Gpu(
    capability=(9, 0),
    cores=132,
    lanes=128,
    shared=233472,
    cache=52428800,
    clock=1.98,
    memory=84942979072,
    bandwidth=3.352e12,
    peaks={"float32": 495e12, "bfloat16": 989e12},
)
GPUS = {
    "A100": Gpu(
        capability=(8, 0),
        cores=108,
        lanes=64,
        shared=167936,
        cache=41943040,
        clock=1.41,
        memory=85050327040,
        bandwidth=2.039e12,
        peaks={"float32": 156e12, "bfloat16": 312e12},
    ),
    "H100": H100,
    "H200": dataclasses.replace(H100, memory=150754820096, bandwidth=4.8e12),
}


def environment(options: argparse.Namespace) -> dict[str, str]:
    del options
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_gpu_autotune_level=0 {flags}",
    }


def devices(options: argparse.Namespace, count: int) -> Sequence[Any]:
    from jax.experimental import topologies

    return topologies.get_topology_desc(
        platform="cuda",
        topology_name="",
        target_config=GPUS[options.gpu].text(),
        topology=f"1x1x{count}",
    ).devices


def work(
    options: argparse.Namespace, row: dict[str, Any], program: Any
) -> dict[str, Any]:
    """Returns the work of one step of one device."""
    gpu = GPUS[options.gpu]
    counted = Program(program.as_text())
    step = counted.cost()
    ahead.require_one_loop(counted)
    by_kind = kernels_by_kind(counted)
    grouped = by_kind.pop("grouped")
    kernels = sum(by_kind.values())
    busy = max(step.all / gpu.bandwidth, step.products / gpu.peaks[row["dtype"]])
    return {
        "kernels": kernels,
        "grouped": grouped,
        "by_kind": by_kind,
        "gb": round(step.all / 1e9, 2),
        "products_gflop": round(step.products / 1e9, 1),
        "vector_gflop": round(step.vector / 1e9, 1),
        "bound_ms": round(1e3 * busy + 1e-3 * options.launch_us * kernels, 2),
        "launch_us": options.launch_us,
        **ahead.collectives(counted),
        "dearest": dearest(counted, options.dearest),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(executions=["joined"])  # as a search chooses on a GPU
    parser.add_argument("--gpu", choices=sorted(GPUS), default="H100")
    parser.add_argument(
        "--launch-us", type=float, default=2.0, help="assumed for every kernel"
    )
    parser.add_argument("--dearest", type=int, default=10, help="kernels to list")


GPU = ahead.Target("cuda", environment, devices, work, COLUMNS, add_options)

if __name__ == "__main__":
    ahead.run(GPU, __doc__)
