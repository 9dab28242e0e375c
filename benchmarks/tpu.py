"""Compile a search for TPUs that are not there: seconds, memory and work of a step.

    pip install 'jax[tpu]'
    python benchmarks/tpu.py --executions scan batch --hypergradients first_order exact
    python benchmarks/tpu.py --devices 4 8

The whole search program, its loop over steps included, is compiled ahead of time for
devices of one host (`ahead.py`). Prints a table and, on the last line, the same as
JSON.

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
from collections.abc import Sequence
from typing import Any

import ahead
from work import Program

COLUMNS = (
    *ahead.COMPILED,
    "products_gflop",
    "vector_gflop",
    "hbm_gb",
    "all_gb",
    "flops_agreement",
    "bytes_agreement",
    "collectives",
    "collective_mb",
)


def environment(options: argparse.Namespace) -> dict[str, str]:
    """Returns what libtpu asks of a machine without a TPU."""
    del options
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    }


def devices(options: argparse.Namespace, count: int) -> Sequence[Any]:
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(options.topology, platform="tpu")
    return topology.devices[:count]


def work(
    options: argparse.Namespace, row: dict[str, Any], program: Any
) -> dict[str, Any]:
    """Returns the work of one step, and how the count compares with the compiler's."""
    del options, row
    counted = Program(program.as_text())
    theirs = program.cost_analysis()
    step, once = counted.cost(), counted.cost(loops=False)
    ahead.require_one_loop(counted)
    flops = once.products + once.vector
    values = {
        "products_gflop": step.products / 1e9,
        "vector_gflop": step.vector / 1e9,
        "hbm_gb": step.hbm / 1e9,
        "all_gb": step.all / 1e9,
        "flops_agreement": flops / theirs["flops"],
        "bytes_agreement": once.all / theirs["bytes accessed"],
    }
    rounded = {name: round(value, 3) for name, value in values.items()}
    return rounded | ahead.collectives(counted)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topology", default="v5e:2x4")


TPU = ahead.Target("tpu", environment, devices, work, COLUMNS, add_options)

if __name__ == "__main__":
    ahead.run(TPU, __doc__)
