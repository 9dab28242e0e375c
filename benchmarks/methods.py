"""Every published method on NAS-Bench-201's space, reduced, with CIFAR-10.

    DARTS_JAX_DATA_DIR=DIR python benchmarks/methods.py --runs DIR --table TABLE.npz

TABLE is the benchmark's, as `darts_jax.load_table` reads it. Each method runs with
its choices and everything else alike, at a size that two cores can do: what it shows is
how the choices behave there, not what the papers measured. Prints a row for each method
and seed, then means as a table, and on the last line all rows as JSON. Finished runs
are read, not repeated.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import darts_jax
from darts_jax.nasbench import NASBench201
from darts_jax.settings.methods import has_curvature
from darts_jax.training.console import format_table

COLUMNS = (
    "method",
    "skips",
    "none",
    "supernet %",
    "gap %",
    "eigenvalue",
    "benchmark %",
    "worst %",
)


def settings(options: argparse.Namespace, method: str, seed: int) -> Any:
    """Returns settings that all methods share, then the choices of one."""
    config = darts_jax.default_config()
    config.space, config.seed = "nasbench201", seed
    config.data.update(name="cifar10", images=options.images, pad=4, flip=True)
    config.supernet.update(cells=1, channels=options.channels)
    config.search.update(epochs=options.epochs, batch_size=options.batch)
    config.search.architecture.learning_rate = options.rate
    every = options.epochs if has_curvature(method) else 0
    config.search.diagnostics.eigenvalue_every = every
    return darts_jax.apply_method(config, method)


def measure(
    options: argparse.Namespace, method: str, seed: int, known: NASBench201
) -> dict[str, Any]:
    config = settings(options, method, seed)
    found = darts_jax.search(config, options.runs / f"{method}_{seed}")
    last = found.records[-1]
    codes = known.codes[known.row(found.genotype)]
    chosen = [known.operations[code] for code in codes]
    eigenvalues = [r["eigenvalue"] for r in found.records if "eigenvalue" in r]
    return {
        "method": method,
        "seed": seed,
        "genotype": ",".join(chosen),
        "skips": chosen.count("skip_connect"),
        "none": chosen.count("none"),
        "supernet %": 100 * last["held_out_accuracy"],
        "gap %": 100 * last["discretization_gap"],
        "eigenvalue": eigenvalues[-1] if eigenvalues else None,
        "benchmark %": known.accuracy(found.genotype),
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, a line for each method."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        line: dict[str, Any] = {"method": method}
        for column in COLUMNS[1:-1]:
            values = [row[column] for row in own if row[column] is not None]
            line[column] = float(np.mean(values)) if values else None
        lines.append(line | {"worst %": min(row["benchmark %"] for row in own)})
    return format_table(lines, COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(darts_jax.METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--rate", type=float, default=3e-3)
    options = parser.parse_args()
    known = darts_jax.load_table(options.table)
    rows = []
    for method in options.methods:
        for seed in options.seeds:
            rows.append(measure(options, method, seed, known))
            print(json.dumps(rows[-1]), flush=True)
    print(summary(rows))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
