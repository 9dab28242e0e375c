"""Compares a search step of ours with plain PyTorch and plain Flax, in one process.

    pip install -e '.[benchmark]'
    python benchmarks/compare.py --cells 8 --channels 16 --batch 16

The contenders take turns, so that whatever slows the machine slows all; a turn is one
step, or ``--steps`` of them, which ours takes in one call, as a search does. Peak
memory is measured in a process for each contender. Prints a table, and the same as
JSON. A contender may be told what it multiplies, as "torch_nchw first_order bfloat16"
(automatic mixed precision), and "compiled" is `torch.compile`.

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
import dataclasses
import json
import statistics
import sys
from typing import Any

import jax
import jax.numpy as jnp
import ours
from contenders import Contender, Shape, step_flops
from measuring import Row, Turn, format_table, run_alone, take_turns

CONTENDERS = (
    "ours first_order",
    "ours exact",
    "ours finite_difference",
    "torch_nchw first_order",
    "torch_channels_last first_order",
    "torch_nchw finite_difference",
    "torch_channels_last finite_difference",
)
COLUMNS = (
    "contender",
    "trace_s",
    "compile_s",
    "temporaries_mb",
    "step_s",
    "gflop",
    "of_peak",
    "resident_mb",
)
PRODUCT = 4096  # rows and columns


def matrix_product() -> Turn:
    """A function that takes PRODUCT^3 multiply-accumulates in float32."""
    square = jnp.ones((PRODUCT, PRODUCT), jnp.float32)
    program = jax.jit(jnp.matmul).lower(square, square).compile()
    return lambda: program(square, square)


def measure(options: argparse.Namespace) -> list[Row]:
    """Step seconds of every contender, the median over rounds, and what they mean."""
    shape = shape_of(options)
    rows: dict[str, Row] = {}
    turns: dict[str, Turn] = {}
    for contender in options.contenders:
        name = str(contender)
        print(f"preparing {name}", file=sys.stderr, flush=True)
        turns[name], known = contender.prepare(shape, options.steps)
        rows[name] = {"contender": name, **known}
        jax.block_until_ready(turns[name]())
    turns["product"] = matrix_product()
    seconds = take_turns(turns, options.rounds)
    flops = step_flops(shape)
    peak = 2.0 * PRODUCT**3 / min(seconds["product"])
    for contender in options.contenders:
        row = rows[str(contender)]
        row["step_s"] = statistics.median(seconds[str(contender)]) / options.steps
        row["gflop"] = flops(contender.rule) / 1e9
        row["of_peak"] = 1e9 * row["gflop"] / row["step_s"] / peak
    print(f"peak: {peak / 1e9:.0f} GFLOP/s", file=sys.stderr)
    return list(rows.values())


def shape_of(options: argparse.Namespace) -> Shape:
    names = (field.name for field in dataclasses.fields(Shape))
    return Shape(**{name: getattr(options, name) for name in names})


def resident_megabytes(contender: Contender, options: argparse.Namespace) -> float:
    """The most that this process has held after two turns."""
    turn, _ = contender.prepare(shape_of(options), options.steps)
    jax.block_until_ready([turn(), turn()])
    return ours.peak_megabytes()


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
        "--contenders",
        nargs="+",
        type=Contender.parse,
        default=[Contender.parse(name) for name in CONTENDERS],
    )
    parser.add_argument("--memory", action="store_true", help="measure it too")
    parser.add_argument("--resident", type=Contender.parse, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resident:
        print(resident_megabytes(options.resident, options))
        return
    rows = measure(options)
    if options.memory:
        for row in rows:
            row["resident_mb"] = run_alone("--resident", row["contender"])
    print(format_table(rows, COLUMNS))
    settings: dict[str, Any] = vars(options) | {
        "contenders": [str(contender) for contender in options.contenders]
    }
    print(json.dumps({"settings": settings, "rows": rows}))


if __name__ == "__main__":
    main()
