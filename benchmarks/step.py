"""Compile seconds, step seconds and memory of one search step.

    python benchmarks/step.py --cells 2 8 --hypergradients first_order exact
    python benchmarks/step.py --cells 2 4 8 --channels 8 16 --batch 16 32

A row for every combination. Prints a table and, on the last line, the same as JSON.
Each row is measured in a process of its own, so that peak memory is the row's.
"""

import argparse
import itertools
import json
import statistics
import sys

from measuring import Row, format_table, run_alone, take_turns

CHOICES = ("cells", "channels", "batch", "hypergradient")
COLUMNS = (
    *CHOICES,
    "parameters",
    "trace_s",
    "compile_s",
    "step_s",
    "temporaries_mb",
    "resident_mb",
)


def measure(options: argparse.Namespace, choice: Row) -> Row:
    """Measures one row, in this process."""
    import jax
    import ours

    jax.config.update("jax_compilation_cache_dir", options.cache)
    how = {name: getattr(options, name) for name in ("execution", "remat", "dtype")}
    config = ours.settings(options.space, *choice.values(), **how)
    made = ours.Ours(ours.search_job(config, options.size))
    seconds = take_turns({"step": made.step}, options.steps + 1)["step"]
    resident = ours.peak_megabytes()
    values = (
        *choice.values(),
        made.parameters(),
        round(made.trace_s, 1),
        round(made.compile_s, 1),
        round(statistics.median(seconds[1:]), 3),
        round(made.temporaries / 1e6),
        round(resident),
    )
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="darts")
    parser.add_argument("--cells", type=int, nargs="+", default=[2])
    parser.add_argument("--channels", type=int, nargs="+", default=[16])
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--hypergradients", nargs="+", default=["first_order", "exact"])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--execution", default="auto")
    parser.add_argument("--remat", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--cache", help="folder of compiled programs, for warm starts")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(options, options.row)))
        return
    values = options.cells, options.channels, options.batch, options.hypergradients
    rows = []
    for chosen in itertools.product(*values):
        row = dict(zip(CHOICES, chosen, strict=True))
        print("measuring", row, file=sys.stderr, flush=True)
        rows.append(run_alone("--row", json.dumps(row)))
    print(format_table(rows, COLUMNS))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
