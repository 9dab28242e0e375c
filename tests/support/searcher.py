"""Program that searches over some devices and processes, for `test_devices`.

    python searcher.py OUT DEVICES PRECISION HYPERGRADIENT DIVIDED \
        [COORDINATOR COUNT INDEX]

DIVIDED is "parts", if devices compute parts of a batch each, or "compiler".

Writes the architecture parameters after 20 steps. In float64 the images are made here,
as the data pipeline's are float32.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from tests.support import tiny
from tests.support.tiny import tiny_space

STEPS, BATCH = 20, 64


def main(out, devices, precision, hypergradient, divided, *cluster):
    from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
    from darts_jax.bilevel.relaxation import RELAXATIONS
    from darts_jax.bilevel.step import Search
    from darts_jax.engine import program
    from darts_jax.engine.devices import make_layout, to_host
    from darts_jax.models.functional import initialize_supernet, supernet_apply
    from darts_jax.models.supernet import Supernet
    from darts_jax.training.processes import is_writer, join_processes
    from darts_jax.types import Examples

    if cluster:
        join_processes(cluster[0], int(cluster[1]), int(cluster[2]))
    jax.config.update("jax_enable_x64", precision == "float64")
    space = tiny_space()
    net = Supernet(space, 10, 2, 4)
    rule = HYPERGRADIENTS[hypergradient]
    masks = {kind: cell.mask for kind, cell in space.cells.items()}
    layout = make_layout(int(devices), BATCH, "the batch")
    apply = supernet_apply(net)
    apply = layout.over_batch(apply, place=3, divisible=divided == "parts")
    search = Search(apply, RELAXATIONS["softmax"], rule, masks)

    def init(seed):
        key = jax.random.key(seed)
        params, stats = initialize_supernet(net, key, (8, 8, 3))
        alpha = {kind: jnp.zeros(cell.shape) for kind, cell in space.cells.items()}
        numbers = jax.tree.map(
            lambda leaf: leaf.astype(precision), (params, stats, alpha)
        )
        return search.init(jax.random.key_data(key), *numbers)

    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 128, 8, 8, 3)).astype(precision)
    labels = rng.integers(0, 10, size=(2, 128)).astype(np.int32)
    data = layout.put(Examples(images, labels))

    def step(state, data, order, i, scalars):
        rows = order[(jnp.arange(BATCH) + i * BATCH) % 128]
        train, valid = (
            layout.spread(Examples(data.images[half, rows], data.labels[half, rows]))
            for half in (0, 1)
        )
        return search.step(state, train, valid, scalars)

    def order(key, epoch):
        return jax.random.permutation(jax.random.key(1), 128)

    scalars = tiny.scalars(
        {"learning_rate": 0.025, "momentum": 0.9, "decay": 3e-4, "clip": 5.0},
        {"learning_rate": 3e-4, "beta1": 0.5, "beta2": 0.999, "decay": 1e-3},
    )
    scalars = jax.tree.map(lambda value: np.asarray(value, precision), scalars)
    state = layout.init(init, np.int32(0))
    names = (*program.METRICS, "gradient_norm")
    totals = layout.init(lambda t: t, program.empty_totals(None, names))
    run = layout.jit(program.epoch_program(order, step), state, totals)
    bounds = np.int32(0), np.int32(0), np.int32(STEPS)
    state, totals = run(state, totals, data, scalars, *bounds)
    alpha = to_host(state.alpha)
    assert np.isfinite(to_host(totals)["loss"])
    if is_writer():
        print(len(jax.devices()), "devices in", jax.process_count(), "processes")
        np.savez(out, **alpha)


if __name__ == "__main__":
    main(*sys.argv[1:])
