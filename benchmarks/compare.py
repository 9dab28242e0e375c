"""Compares a search step of ours with plain PyTorch and plain Flax, in one process.

    pip install -e '.[benchmark]'
    python benchmarks/compare.py --cells 8 --channels 16 --batch 16

The contenders take turns, so that whatever slows the machine slows all; a turn is one
step, or ``--steps`` of them, which ours takes in one call, as a search does. Peak
memory is measured in a process for each contender. Prints a table, and the same as
JSON.

``of_peak`` is the share of the machine's arithmetic that a step puts to use: its FLOPs
by its seconds, over what a large float32 matrix product by JAX reaches in the same
rounds. The FLOPs are counted alike for all, from `darts_jax.cost.macs`: a gradient
is a forward and a backward pass, 3 times the forward multiply-accumulates of a batch,
of 2 FLOPs each. A first-order step has two of them, for the architecture and for the
weights; second order, by `exact` or by differences, has three more: the inner step and
either two ends of a difference or a gradient with its tangent. What is recomputed to
save memory does not count.
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
import jax.numpy as jnp
import ours

from darts_jax.engine.devices import Layout
from darts_jax.tasks.registry import make_search
from darts_jax.workflows.estimate import forward_macs

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

COLUMNS = (
    "trace_s",
    "compile_s",
    "temporaries_mb",
    "step_s",
    "gflop",
    "of_peak",
    "resident_mb",
)
# Rule -> gradients in a step.
GRADIENTS = {"first_order": 2, "exact": 5, "finite_difference": 5}
PRODUCT = 4096  # rows and columns


def contender(name: str, options: argparse.Namespace) -> tuple[Callable[[], Any], Any]:
    """A function that takes its turn's steps, and what is known before the first."""
    kind, rule = name.split()
    shape = options.space, options.cells, options.channels, options.batch
    if kind == "ours":
        config = ours.settings(*shape, rule)
        made = ours.Ours(ours.search_job(config, options.size, options.steps))
        known = {
            "trace_s": made.trace_s,
            "compile_s": made.compile_s,
            "temporaries_mb": made.temporaries / 1e6,
        }
        return lambda: made.step(options.steps), known
    if kind == "flax":
        import flax_supernet

        plain = flax_supernet.FlaxSearch(*shape, size=options.size)
        trace_s, compile_s, temporaries = plain.compile(rule)
        known = {
            "trace_s": trace_s,
            "compile_s": compile_s,
            "temporaries_mb": temporaries / 1e6,
        }
        return repeated(plain.step, options.steps), known
    import torch_supernet

    last = kind == "torch_channels_last"
    eager = torch_supernet.TorchSearch(*shape, options.size, channels_last=last)
    return repeated(lambda: eager.step(rule), options.steps), {}


def repeated(step: Callable[[], Any], times: int) -> Callable[[], Any]:
    def run() -> Any:
        return [step() for _ in range(times)][-1]

    return run


def matrix_product() -> Callable[[], Any]:
    """A function that takes PRODUCT^3 multiply-accumulates in float32."""
    square = jnp.ones((PRODUCT, PRODUCT), jnp.float32)
    program = jax.jit(jnp.matmul).lower(square, square).compile()
    return lambda: program(square, square)


def flops_of_a_gradient(options: argparse.Namespace) -> float:
    """Counts those of a batch, whoever takes it."""
    shape = options.space, options.cells, options.channels, options.batch
    config = ours.settings(*shape, "first_order")
    images = ours.random_images(2 * options.batch, options.size)
    job = make_search(config, images, Layout())
    state = jax.eval_shape(job.init, job.start)
    macs = forward_macs(config, images, state)
    return 2.0 * 3 * macs * options.batch


def take_turns(options: argparse.Namespace) -> dict[str, Any]:
    """Step seconds of every contender, the median over rounds, and what they mean."""
    rows: dict[str, Any] = {}
    steps = {}
    for name in options.contenders:
        print(f"preparing {name}", file=sys.stderr, flush=True)
        steps[name], rows[name] = contender(name, options)
        jax.block_until_ready(steps[name]())
    turns = steps | {"product": matrix_product()}
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(options.rounds):
        for name, step in turns.items():
            began = time.perf_counter()
            jax.block_until_ready(step())
            took = time.perf_counter() - began
            seconds[name].append(took / (1 if name == "product" else options.steps))
    gradient = flops_of_a_gradient(options)
    peak = 2.0 * PRODUCT**3 / min(seconds["product"])
    for name in steps:
        row = rows[name]
        row["step_s"] = statistics.median(seconds[name])
        row["gflop"] = GRADIENTS[name.split()[1]] * gradient / 1e9
        row["of_peak"] = 1e9 * row["gflop"] / row["step_s"] / peak
    print(f"peak: {peak / 1e9:.0f} GFLOP/s", file=sys.stderr)
    return rows


def resident(name: str, options: argparse.Namespace) -> float:
    """Peak megabytes of a process that takes two steps."""
    command = [sys.executable, __file__, *sys.argv[1:], "--resident", name]
    output = subprocess.check_output(command, text=True)
    return float(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="darts")
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="of a turn")
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
    print(" " * 38, *(column.rjust(14) for column in COLUMNS))
    for name, row in rows.items():
        cells = (f"{row[c]:.3f}" if c in row else "" for c in COLUMNS)
        print(name.ljust(38), *(cell.rjust(14) for cell in cells))
    print(json.dumps({"settings": vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
