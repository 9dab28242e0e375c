"""Example: a loop of one's own around `Search.step`, with optax, a mesh and Orbax.

python examples/own_loop.py searches in seconds; stopped, it goes on with the same bits.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import darts_jax


class Net(nn.Module):
    """A perceptron whose width and activation are searched."""

    @nn.compact
    def __call__(self, x):
        width = darts_jax.ValueChoice("width", (8, 16, 32))
        options = {"relu": nn.relu, "tanh": jnp.tanh, "linear": lambda x: x}
        x = darts_jax.Choice("act", options)(nn.Dense(width.size)(x))
        return nn.Dense(4)(width.mask(x))


def batch_at(number):
    """Returns inputs and labels of a batch: a function of its number alone."""
    rng = np.random.default_rng(number)
    labels = rng.integers(0, 4, 64).astype(np.int32)
    inputs = rng.normal(size=(64, 6)) + np.sin(labels)[:, None]
    return inputs.astype(np.float32), labels


CRITERION = darts_jax.Criterion(
    inputs=lambda batch: batch[0],
    loss=lambda logits, batch, scalars: optax.softmax_cross_entropy_with_integer_labels(
        logits, batch[1]
    ).mean(),
    metrics=lambda loss, logits, batch: {
        "loss": loss * len(batch[1]),
        "count": jnp.float32(len(batch[1])),
    },
    rewards=lambda logits, batch: jnp.argmax(logits, -1) == batch[1],
)


def run(folder, steps):
    """Searches up to a number of steps, on from the last checkpoint in the folder."""
    space = darts_jax.space_of(Net(), batch_at(0)[0][:2], "own_loop")
    search = darts_jax.Search(
        apply=space.apply,
        relaxation=darts_jax.RELAXATIONS["softmax"],
        hypergradient=darts_jax.HYPERGRADIENTS["first_order"],
        mask=space.mask,
        criterion=CRITERION,
        optimizer=lambda scalars: optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(optax.cosine_decay_schedule(1e-2, 200)),
        ),
    )
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    whole, spread = (NamedSharding(mesh, PartitionSpec(*d)) for d in ((), ("batch",)))
    key = jax.random.key(0)
    state = search.init(jax.random.key_data(key), *space.init(key), space.alpha())
    state = jax.device_put(state, whole)
    step = jax.jit(search.step, donate_argnums=0, out_shardings=whole)
    scalars = darts_jax.search_scalars(darts_jax.default_config().search, 0)
    options = ocp.CheckpointManagerOptions(max_to_keep=1)
    with ocp.CheckpointManager(Path(folder).absolute(), options=options) as manager:
        begun = manager.latest_step() or 0
        if begun:
            state = manager.restore(begun, args=ocp.args.StandardRestore(state))
        for i in range(begun, steps):
            halves = jax.device_put((batch_at(2 * i), batch_at(2 * i + 1)), spread)
            state, sums = step(state, *halves, scalars)
            if (i + 1) % 50 == 0:
                print(f"step {i + 1}: loss {float(sums['loss'] / sums['count']):.3f}")
        if begun < steps:
            manager.save(steps, args=ocp.args.StandardSave(state))
    alpha = jax.device_get(state.alpha)
    print(darts_jax.DISCRETIZATIONS["argmax"](space.space, alpha))
    return state


if __name__ == "__main__":
    run("runs/own_loop", 200)
