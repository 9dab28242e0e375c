"""The search program, compiled ahead of time for devices that are not there.

`tpu.py` and `gpu.py` are a `Target` each. The whole program, its loop over steps
included, is compiled from shapes alone; each row in a process of its own. A row whose
program does not fit, or whose compilation does not end in ``--limit`` seconds, says so.
"""

import argparse
import dataclasses
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from work import Program

CHOICES = (
    *("devices", "batch_norm", "execution", "hypergradient"),
    *("remat", "dtype", "precision"),
)
COMPILED = (
    *CHOICES,
    "compile_s",
    "cpu_s",
    "arguments_mb",
    "outputs_mb",
    "aliased_mb",
    "temporaries_mb",
    "peak_mb",
    "code_mb",
)


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of device that programs are compiled for.

    Attributes:
      platform: its name in JAX.
      environment: options -> variables that must be set before JAX is imported.
      devices: (options, number of devices) -> devices of one host.
      work: (options, row so far, executable) -> further columns.
      columns: of the table, from the row.
      add_options: adds the target's own options to a parser.
    """

    platform: str
    environment: Callable[[argparse.Namespace], dict[str, str]]
    devices: Callable[[argparse.Namespace, int], Sequence[Any]]
    work: Callable[[argparse.Namespace, dict[str, Any], Any], dict[str, Any]]
    columns: tuple[str, ...]
    add_options: Callable[[argparse.ArgumentParser], None]


def run(target: Target, description: str) -> None:
    """Prints a table of all combinations of the options and, last, the same as JSON."""
    options = parse_options(target, description)
    if options.row:
        print(json.dumps(measure(target, options, options.row)))
        return
    chosen = (
        options.devices,
        options.batch_norms,
        options.executions,
        options.hypergradients,
        options.remats,
        options.dtypes,
        options.precisions,
    )
    print("  ".join(target.columns))
    rows = []
    for values in itertools.product(*chosen):
        rows.append(run_row(options, dict(zip(CHOICES, values, strict=True))))
        print(line(target, rows[-1]), flush=True)
        for kernel in rows[-1].get("dearest", ()):
            print("   ", "  ".join(map(str, kernel.values())), flush=True)
    print(json.dumps(rows))


def parse_options(target: Target, description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="darts")
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64, help="of all devices together")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--devices", type=int, nargs="+", default=[1])
    parser.add_argument("--batch-norms", nargs="+", default=["global"])
    parser.add_argument("--executions", nargs="+", default=["batch"])
    parser.add_argument("--hypergradients", nargs="+", default=["first_order"])
    parser.add_argument("--remats", nargs="+", default=["edge"])
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--precisions", nargs="+", default=["default"])
    parser.add_argument("--limit", type=int, default=3600)
    parser.add_argument("--text", type=Path, help="where to write the last program")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    target.add_options(parser)
    return parser.parse_args()


def run_row(options: argparse.Namespace, choice: dict[str, Any]) -> dict[str, Any]:
    """Measures one row, in a process of its own."""
    command = [sys.executable, *sys.argv, "--row", json.dumps(choice)]
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
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measure(
    target: Target, options: argparse.Namespace, choice: dict[str, Any]
) -> dict[str, Any]:
    """Measures one row, in this process."""
    os.environ.update(target.environment(options))
    lowered = lower(target, options, choice)
    began, cpu_began = time.perf_counter(), _cpu_seconds()
    try:
        program = lowered.compile()
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return choice | {"failure": str(error).strip().splitlines()[0]}
    seconds = time.perf_counter() - began, _cpu_seconds() - cpu_began
    if options.text:
        options.text.write_text(program.as_text())
    row = choice | {"compile_s": round(seconds[0], 1), "cpu_s": round(seconds[1], 1)}
    row |= memory(program)
    return row | target.work(options, row, program)


def lower(target: Target, options: argparse.Namespace, choice: dict[str, Any]) -> Any:
    """The search program of a row, lowered for the target's devices."""
    import jax
    import numpy as np
    import ours
    from jax.sharding import Mesh, SingleDeviceSharding

    from darts_jax.engine.devices import Layout
    from darts_jax.models.batch_axis import BATCH_NORMS
    from darts_jax.tasks.registry import make_search

    config = ours.settings(
        options.space,
        options.cells,
        options.channels,
        options.batch,
        choice["hypergradient"],
        execution=choice["execution"],
        remat=choice["remat"],
        dtype=choice["dtype"],
    )
    config.precision = choice["precision"]
    count = choice["devices"]
    devices = target.devices(options, count)
    axis = BATCH_NORMS[choice["batch_norm"]]
    layout = Layout(Mesh(np.array(devices), (axis,)) if count > 1 else None)
    images = ours.random_images(2 * options.batch, options.size)
    job = make_search(config, images, layout)
    state = layout.state_shapes(jax.eval_shape(job.init, job.start))
    totals, zero = job.empty_totals(), np.int32(0)
    others = layout.whole_shapes((totals, job.scalars(0), zero))
    shapes = state, others[0], job.feed.shapes(layout), others[1], *[others[2]] * 3
    if count == 1:
        there = SingleDeviceSharding(devices[0])
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there), shapes
        )
    traced = layout.jit(job.run, state, totals).trace(*shapes)
    return traced.lower(lowering_platforms=(target.platform,))


def memory(program: Any) -> dict[str, float]:
    """Returns megabytes on a device, as the compiler has planned them."""
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


def collectives(program: Program) -> dict[str, Any]:
    """Columns of a step's collectives: kind -> how many, and bytes of all."""
    found = program.collectives()
    return {
        "collectives": {kind: count for kind, (count, _) in found.items()},
        "collective_mb": round(sum(size for _, size in found.values()) / 1e6, 3),
    }


def require_one_loop(program: Program) -> None:
    """Raises ValueError unless the loop over steps alone has unknown turns.

    Args:
      program: whose cost has been counted.
    """
    if len(program.unbounded) != 1:
        raise ValueError(f"want one loop over steps; there are {program.unbounded}")


def line(target: Target, row: dict[str, Any]) -> str:
    failure = [row["failure"]] if "failure" in row else []
    cells = [_short(row[c]).rjust(len(c)) for c in target.columns if c in row]
    return "  ".join(cells + failure)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "+".join(f"{count} {name}" for name, count in value.items()) or "0"
    return str(value)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
