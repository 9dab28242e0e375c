"""One search step of ours beside plain PyTorch and plain Flax, in one process.

    pip install -e '.[benchmark]'
    python benchmarks/compare.py --cells 8 --channels 16 --batch 16

The contenders take turns, so that whatever slows the machine slows all. Peak memory is
measured in a process for each contender. Prints a table, and the same as JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import ours

CONTENDERS = (
    "ours first_order",
    "ours exact",
    "ours finite_difference",
    "torch_nchw first_order",
    "torch_channels_last first_order",
    "torch_nchw finite_difference",
    "torch_channels_last finite_difference",
    "flax first_order",
    "flax exact",
    "flax finite_difference",
)


def contender(name: str, options: argparse.Namespace) -> tuple[Callable[[], Any], Any]:
    """A function that takes one step, and what is known before the first."""
    kind, rule = name.split()
    shape = options.space, options.cells, options.channels, options.batch
    if kind == "ours":
        made = ours.Ours(ours.settings(*shape, rule), options.size)
        known = {
            "trace_s": made.trace_s,
            "compile_s": made.compile_s,
            "temporaries_mb": made.temporaries / 1e6,
        }
        return made.step, known
    if kind == "flax":
        import flax_supernet

        plain = flax_supernet.FlaxSearch(*shape, size=options.size)
        trace_s, compile_s, temporaries = plain.compile(rule)
        known = {
            "trace_s": trace_s,
            "compile_s": compile_s,
            "temporaries_mb": temporaries / 1e6,
        }
        return plain.step, known
    import torch_supernet

    last = kind == "torch_channels_last"
    eager = torch_supernet.TorchSearch(*shape, options.size, channels_last=last)
    return lambda: eager.step(rule), {}


def take_turns(options: argparse.Namespace) -> dict[str, Any]:
    """Step seconds of every contender: the median over rounds."""
    rows: dict[str, Any] = {}
    steps = {}
    for name in options.contenders:
        print(f"preparing {name}", file=sys.stderr, flush=True)
        steps[name], rows[name] = contender(name, options)
        jax.block_until_ready(steps[name]())
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            jax.block_until_ready(step())
            seconds[name].append(time.perf_counter() - began)
    for name, values in seconds.items():
        rows[name]["step_s"] = statistics.median(values)
    return rows


def resident(name: str, options: argparse.Namespace) -> float:
    """Peak megabytes of a process that takes two steps."""
    command = [sys.executable, __file__, *sys.argv[1:], "--resident", name]
    output = subprocess.check_output(command, text=True)
    return float(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="darts")
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--contenders", nargs="+", default=list(CONTENDERS[:7]), choices=CONTENDERS
    )
    parser.add_argument("--memory", action="store_true", help="measure it too")
    parser.add_argument("--resident", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resident:
        step, _ = contender(options.resident, options)
        jax.block_until_ready([step(), step()])
        print(ours.peak_megabytes())
        return
    rows = take_turns(options)
    if options.memory:
        for name in rows:
            rows[name]["resident_mb"] = resident(name, options)
    columns = ["trace_s", "compile_s", "temporaries_mb", "step_s", "resident_mb"]
    print(" " * 38, *(column.rjust(14) for column in columns))
    for name, row in rows.items():
        cells = (f"{row[c]:.3f}" if c in row else "" for c in columns)
        print(name.ljust(38), *(cell.rjust(14) for cell in cells))
    print(json.dumps({"settings": vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
