"""Program that compares batch norm by device to the parts of a batch, one by one.

    python parts.py DEVICES

In float64. The gradients of the mean loss by weights and by the architecture's mixture,
a Hessian-vector product and running statistics, of a supernet on so many devices, are
those of its parts one by one on one device, averaged by NumPy. Corrupted outputs, whose
random numbers each part draws with its own key, are among them.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from darts_jax.bilevel.losses import cross_entropy
from darts_jax.engine.devices import make_layout
from darts_jax.models.functional import initialize_supernet, supernet_apply
from darts_jax.models.operations.corruption import dropout
from darts_jax.models.supernet import Supernet
from darts_jax.types import Mixture
from tests.support.tiny import tiny_space

IMAGES = 4  # of a part


def main(devices):
    count = int(devices)
    jax.config.update("jax_enable_x64", True)
    space = tiny_space()
    net = Supernet(
        space, 10, 2, 4, execution="batch", corruptions=(("skip_connect", dropout),)
    )
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count * IMAGES, 8, 8, 3))
    labels = rng.integers(0, 10, len(images)).astype(np.int32)
    key = jax.random.key(3)
    wide = jax.jit(
        lambda key: jax.tree.map(
            lambda leaf: leaf.astype(jnp.float64),
            initialize_supernet(net, key, images.shape[1:]),
        )
    )
    params, stats = wide(key)
    mixture = Mixture(
        {kind: rng.uniform(size=cell.shape) for kind, cell in space.cells.items()},
        strength=jnp.asarray(0.3),
    )
    along = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)

    def measures(apply):
        """(images, labels, key) -> gradients, a Hessian-vector product, statistics."""

        def measure(images, labels, key):
            def loss(params, mixture):
                logits, new = apply(params, stats, mixture, images, key, train=True)
                return cross_entropy(logits, labels), new

            gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
            (found, new), (product, _) = jax.jvp(
                lambda params: gradient(params, mixture), (params,), (along,)
            )
            return found, product, new

        return jax.jit(measure)

    apply = supernet_apply(net)
    layout = make_layout(count, len(images), "images", batch_norm="device")
    together = measures(layout.over_batch(apply, place=3, divisible=False))(
        layout.spread(images), layout.spread(labels), key
    )
    alone = measures(apply)
    parts = [
        alone(images[rows], labels[rows], part_key)
        for rows, part_key in zip(
            np.arange(len(images)).reshape(count, -1),
            jax.random.split(key, count),
            strict=True,
        )
    ]
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *parts)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11),
        together,
        mean,
    )
    # The parts are not alike: their mean is not what any of them gives.
    first = jax.tree.leaves(parts[0])
    apart = [
        np.abs(a - b).max() for a, b in zip(first, jax.tree.leaves(mean), strict=True)
    ]
    assert max(apart) > 1e-3
    print("equal")


if __name__ == "__main__":
    main(*sys.argv[1:])
