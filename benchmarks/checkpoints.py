"""Cost of a checkpoint to the loop that takes it, which waits for it or goes on.

Work of a fixed amount stands for the steps of an epoch: matrix products on all cores.
It is timed alone, after a checkpoint that it waits for, and while one is being written.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ours
from jax import lax
from measuring import Row, format_table

from darts_jax.tasks.registry import make_search
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.loop import initial_tree

SIZE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="of work a round")
    parser.add_argument("--directory", help="default: a temporary one")
    options = parser.parse_args()
    config = ours.settings("darts", options.cells, options.channels, 64, "first_order")
    tree = initial_tree(make_search(config, ours.distinct_images(256, 32)))
    state_mb = sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) / 1e6
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints", keep=3)
        rows = measure(checkpoints, tree, options.rounds, options.seconds)
    for row in rows:
        row["state_mb"] = state_mb
    columns = ("how", "state_mb", "waits_s", "work_s", "more_s", "cpu_s")
    print(format_table(rows, columns))
    print(json.dumps(rows))


def measure(
    checkpoints: Checkpoints, tree: Any, rounds: int, seconds: float
) -> list[Row]:
    """Medians over rounds, in which the three ways take turns."""
    multiply = jax.jit(
        lambda x, count: lax.fori_loop(
            0, count, lambda _, y: y @ y / jnp.linalg.norm(y), x
        )
    )
    matrix = jnp.eye(SIZE) + 1e-3
    multiply(matrix, 1).block_until_ready()
    began = time.perf_counter()
    multiply(matrix, 20).block_until_ready()
    count = max(1, round(20 * seconds / (time.perf_counter() - began)))
    checkpoints.save(0, tree)

    def go(how: str, step: int) -> Row:
        began, cpu = time.perf_counter(), time.process_time()
        if how == "waited for":
            checkpoints.save(step, tree)
        elif how == "meanwhile":
            checkpoints.start_saving(step, tree)
        waited = time.perf_counter() - began
        multiply(matrix, count).block_until_ready()
        whole = time.perf_counter() - began
        checkpoints.finish_saving()
        return {
            "waits_s": waited,
            "work_s": whole,
            "cpu_s": time.process_time() - cpu,
        }

    ways = ("none", "waited for", "meanwhile")
    taken: dict[str, list[Row]] = {how: [] for how in ways}
    for round_ in range(rounds):
        for place, how in enumerate(ways):
            taken[how].append(go(how, 1 + 3 * round_ + place))
    rows = []
    for how, each in taken.items():
        medians = {k: statistics.median(row[k] for row in each) for k in each[0]}
        more = statistics.median(
            row["work_s"] - alone["work_s"]
            for row, alone in zip(each, taken["none"], strict=True)
        )
        cpu = statistics.median(
            row["cpu_s"] - alone["cpu_s"]
            for row, alone in zip(each, taken["none"], strict=True)
        )
        rows.append({"how": how} | medians | {"more_s": more, "cpu_s": cpu})
    return rows


if __name__ == "__main__":
    main()
