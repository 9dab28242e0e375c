"""Compile a search for a TPU that is not there: seconds, memory and work of a step.

    pip install 'jax[tpu]'
    python benchmarks/tpu.py --executions scan batch --hypergradients first_order exact

The whole search program, its loop over steps included, is compiled ahead of time for
one device of a topology, from shapes alone. Prints a table and, on the last line, the
same as JSON. Each row is compiled in a process of its own; a row whose program does
not fit the device, or whose compilation does not end in ``--limit`` seconds, says so.

Memory is the compiler's: ``peak`` is temporaries, arguments and outputs less what
outputs share with arguments. The data are two batches; a real set adds its bytes. On
TPU all of it is padded to tiles.

Work is of one step, out of the optimized program's text (`work.py`): the compiler's own
figures count a loop's body once, so they are of little use for `scan`; here a body
counts as often as it runs. Products and vector operations are the compiler's "flops",
bytes its "bytes accessed", and ``hbm`` those in main memory. ``*_agreement`` is our
count with every body once, as the compiler's, divided by the compiler's: near 1, or the
row is not to be trusted. (Of bytes it counts renaming of memory too; we do not.)
Nothing here is a time: no device has run it.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

from work import Program

CHOICES = ("execution", "hypergradient", "remat", "dtype")
COLUMNS = (
    *CHOICES,
    "compile_s",
    "cpu_s",
    "arguments_mb",
    "outputs_mb",
    "aliased_mb",
    "temporaries_mb",
    "peak_mb",
    "code_mb",
    "products_gflop",
    "vector_gflop",
    "hbm_gb",
    "all_gb",
    "flops_agreement",
    "bytes_agreement",
)
# What libtpu asks of a machine without a TPU.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}


def lower(options: argparse.Namespace, choice: dict[str, str]) -> Any:
    """The search program of a row, lowered for one device of the topology."""
    os.environ.update(ENVIRONMENT)
    import jax
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from darts_jax import default_config, from_arrays
    from darts_jax.engine.devices import Layout
    from darts_jax.tasks.registry import make_search

    images = np.zeros((2 * options.batch, options.size, options.size, 3), np.uint8)
    labels = np.arange(len(images)) % 10
    config = default_config()
    config.space = options.space
    config.supernet.update(
        cells=options.cells,
        channels=options.channels,
        execution=choice["execution"],
        remat=choice["remat"],
        dtype=choice["dtype"],
    )
    config.search.update(
        batch_size=options.batch, hypergradient=choice["hypergradient"]
    )
    dataset = from_arrays(images, labels, images, labels)
    job = make_search(config, dataset, Layout())
    totals, zero = job.empty_totals(), np.int32(0)
    state = jax.eval_shape(job.init, job.start)
    topology = topologies.get_topology_desc(options.topology, platform="tpu")
    there = SingleDeviceSharding(topology.devices[0])
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there),
        (state, totals, job.feed.shapes(job.layout), job.scalars(0), zero, zero, zero),
    )
    traced = job.layout.jit(job.run, state, totals).trace(*arguments)
    return traced.lower(lowering_platforms=("tpu",))


def measure(options: argparse.Namespace, choice: dict[str, str]) -> dict[str, Any]:
    """One row, in this process."""
    lowered = lower(options, choice)
    began, cpu_began = time.perf_counter(), _cpu_seconds()
    try:
        program = lowered.compile()
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return choice | {"failure": str(error).strip().splitlines()[0]}
    seconds = time.perf_counter() - began, _cpu_seconds() - cpu_began
    row = choice | {"compile_s": round(seconds[0], 1), "cpu_s": round(seconds[1], 1)}
    return row | memory(program) | work(program)


def memory(program: Any) -> dict[str, float]:
    """On the device, in megabytes, as the compiler has planned it."""
    stats = program.memory_analysis()
    sizes = {
        "arguments": stats.argument_size_in_bytes,
        "outputs": stats.output_size_in_bytes,
        "aliased": stats.alias_size_in_bytes,
        "temporaries": stats.temp_size_in_bytes,
    }
    peak = sum(sizes.values()) - 2 * sizes["aliased"]
    sizes |= {"peak": peak, "code": stats.generated_code_size_in_bytes}
    return {f"{name}_mb": round(size / 1e6, 1) for name, size in sizes.items()}


def work(program: Any) -> dict[str, float]:
    """Of one step, and how the count compares with the compiler's."""
    counted, theirs = Program(program.as_text()), program.cost_analysis()
    step, once = counted.cost(), counted.cost(loops=False)
    if len(counted.unbounded) != 1:
        raise ValueError(f"want one loop over steps; there are {counted.unbounded}")
    flops = once.products + once.vector
    values = {
        "products_gflop": step.products / 1e9,
        "vector_gflop": step.vector / 1e9,
        "hbm_gb": step.hbm / 1e9,
        "all_gb": step.all / 1e9,
        "flops_agreement": flops / theirs["flops"],
        "bytes_agreement": once.all / theirs["bytes accessed"],
    }
    return {name: round(value, 3) for name, value in values.items()}


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_row(options: argparse.Namespace, choice: dict[str, str]) -> dict[str, Any]:
    """One row, in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--row", json.dumps(choice)]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=options.limit,
        )
    except subprocess.TimeoutExpired:
        return choice | {"failure": f"not compiled in {options.limit} s"}
    return json.loads(done.stdout.splitlines()[-1])


def line(row: dict[str, Any]) -> str:
    failure = [row["failure"]] if "failure" in row else []
    cells = [str(row[c]).rjust(len(c)) for c in COLUMNS if c in row]
    return "  ".join(cells + failure)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="darts")
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--executions", nargs="+", default=["scan", "batch"])
    parser.add_argument("--hypergradients", nargs="+", default=["first_order"])
    parser.add_argument("--remats", nargs="+", default=["edge"])
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--limit", type=int, default=3600)
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    if options.row:
        print(json.dumps(measure(options, options.row)))
        return
    values = (
        options.executions,
        options.hypergradients,
        options.remats,
        options.dtypes,
    )
    print("  ".join(COLUMNS))
    rows = []
    for chosen in itertools.product(*values):
        rows.append(run_row(options, dict(zip(CHOICES, chosen, strict=True))))
        print(line(rows[-1]), flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
