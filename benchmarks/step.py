"""Compile seconds, step seconds and memory of one search step.

    python benchmarks/step.py --cells 2 8 --hypergradients first_order exact

Prints a table and, on the last line, the same as JSON. Each row is measured in a
process of its own, so that peak memory is the row's.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

COLUMNS = (
    "cells",
    "hypergradient",
    "parameters",
    "trace_s",
    "compile_s",
    "step_s",
    "temporaries_mb",
    "resident_mb",
)


def measure(options: argparse.Namespace, cells: int, hypergradient: str) -> Any:
    """One row, in this process."""
    import jax
    import numpy as np

    from darts_jax import build, default_config, from_arrays
    from darts_jax.models.functional import count_parameters
    from darts_jax.program import empty_totals

    rng = np.random.default_rng(0)
    shape = (2 * options.batch, options.size, options.size, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = np.arange(len(images)) % 10
    config = default_config()
    config.space = options.space
    config.supernet.update(
        cells=cells, channels=options.channels, execution=options.execution
    )
    config.search.update(batch_size=options.batch, hypergradient=hypergradient)
    job = build.make_search(config, from_arrays(images, labels, images, labels))
    state, totals, scalars = job.init(), empty_totals(), job.scalars(0)
    zero = jax.numpy.zeros((), jax.numpy.int32)
    began = time.perf_counter()
    traced = job.run.trace(state, totals, job.data, scalars, zero, zero, zero)
    traced_at = time.perf_counter()
    program = traced.lower().compile()
    compiled_at = time.perf_counter()
    parameters = count_parameters(state.params)
    seconds = []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        state, totals = program(state, totals, job.data, scalars, zero, zero, zero + 1)
        jax.block_until_ready(totals)
        seconds.append(time.perf_counter() - start)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    values = (
        cells,
        hypergradient,
        parameters,
        round(traced_at - began, 1),
        round(compiled_at - traced_at, 1),
        round(statistics.median(seconds[1:]), 3),
        round(program.memory_analysis().temp_size_in_bytes / 1e6),
        round(resident),
    )
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="darts")
    parser.add_argument("--cells", type=int, nargs="+", default=[2])
    parser.add_argument("--hypergradients", nargs="+", default=["first_order", "exact"])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--execution", default="auto")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = []
    for cells, rule in itertools.product(options.cells, options.hypergradients):
        if options.row:
            print(json.dumps(measure(options, cells, rule)))
            return
        command = [sys.executable, __file__, "--row", *sys.argv[1:]]
        command += ["--cells", str(cells), "--hypergradients", rule]
        output = subprocess.check_output(command, text=True)
        rows.append(json.loads(output.splitlines()[-1]))
        if len(rows) == 1:
            print("  ".join(COLUMNS))
        print("  ".join(str(rows[-1][c]).rjust(len(c)) for c in COLUMNS), flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
