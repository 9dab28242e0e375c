"""NAS-Bench-201's cell of a user's own module, beside the built-in space.

    PYTHONPATH=. python benchmarks/own_network.py

One search step of first order of each, float32. They take turns in one process.
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from measuring import Row, Turn, format_table, take_turns

import darts_jax
from darts_jax.bilevel.step import Search
from darts_jax.models.functional import initialize_supernet, supernet_apply
from darts_jax.models.supernet import Supernet
from darts_jax.types import SearchState
from tests.support.choice_cells import ChoiceNetwork

CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1, help="of each stage")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=32, help="height and width")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    rng = np.random.default_rng(0)
    shape = (options.batch, options.size, options.size, 3)
    batch = darts_jax.Examples(
        rng.normal(size=shape).astype(np.float32),
        rng.integers(0, CLASSES, options.batch).astype(np.int32),
    )
    searches = {
        "built-in": built_in(options.cells, options.channels, shape[1:]),
        "user's own": users_own(options.cells, options.channels, batch),
    }
    rows: list[Row] = []
    turns: dict[str, Turn] = {}
    for name, (search, state) in searches.items():
        row, turns[name] = compile_step(search, state, batch)
        rows.append({"network": name, **row})
    for turn in turns.values():
        jax.block_until_ready(turn())
    seconds = take_turns(turns, options.rounds)
    for row in rows:
        own = seconds[row["network"]]
        row["step_s"] = statistics.median(own)
        row["least_step_s"] = min(own)
    first = rows[0]
    timed = [name for name in first if name.endswith("_s")]
    ratios = {name: rows[1][name] / first[name] for name in timed}
    rows.append({"network": "ratio", **ratios})
    print(format_table(rows, ("network", *timed)))
    print(json.dumps(rows))


def make_search(apply, mask) -> Search:
    return Search(
        apply=apply,
        relaxation=darts_jax.RELAXATIONS["softmax"],
        hypergradient=darts_jax.HYPERGRADIENTS["first_order"],
        mask=mask,
    )


def built_in(cells: int, channels: int, shape: tuple[int, ...]):
    """Returns search and first state of the built-in space."""
    space = darts_jax.get_space("nasbench201")
    net = Supernet(space, CLASSES, cells, channels)
    mask = {kind: cell.mask for kind, cell in space.cells.items()}
    alpha = {kind: jnp.zeros(cell.shape) for kind, cell in space.cells.items()}
    key = jax.random.key(0)
    search = make_search(supernet_apply(net), mask)
    made = initialize_supernet(net, key, shape)
    return search, search.init(jax.random.key_data(key), *made, alpha)


def users_own(cells: int, channels: int, batch: darts_jax.Examples):
    """Returns search and first state of the same network with `Choice`."""
    module = ChoiceNetwork(CLASSES, cells, channels)
    own = darts_jax.space_of(module, batch.images, "own_nasbench201")
    key = jax.random.key(0)
    search = make_search(own.apply, own.mask)
    return search, search.init(jax.random.key_data(key), *own.init(key), own.alpha())


def compile_step(
    search: Search, state: SearchState, batch: darts_jax.Examples
) -> tuple[Row, Turn]:
    """Returns seconds of tracing and compilation, and a turn of one step."""
    scalars = darts_jax.search_scalars(darts_jax.default_config().search, 0)
    began = time.perf_counter()
    lowered = jax.jit(search.step).lower(state, batch, batch, scalars)
    traced = time.perf_counter()
    step = lowered.compile()
    ended = time.perf_counter()
    row = {"trace_s": traced - began, "compile_s": ended - traced}
    return row, lambda: step(state, batch, batch, scalars)


if __name__ == "__main__":
    main()
