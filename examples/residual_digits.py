"""Example: a residual network of one's own on scikit-learn's digits, in Linen.

python examples/residual_digits.py searches and retrains beside random choices; under
three minutes on two cores.
"""

import numpy as np
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import darts_jax
from darts_jax import Choice, ValueChoice

SETTINGS = (
    *("search.epochs=8", "search.batch_size=50", "retrain.epochs=12"),
    *("search.architecture.learning_rate=0.02", "retrain.batch_size=50"),
    "baseline.random_genotypes=1",
)


class Block(nn.Module):
    """A residual block: its operation, kernel and inner width are searched."""

    channels: int
    key: str

    @nn.compact
    def __call__(self, x, train):
        width = ValueChoice(f"{self.key}.width", (8, 16, 24))
        kernel = ValueChoice(f"{self.key}.kernel", (1, 3, 5))
        h = kernel.conv(width.size, use_bias=False)(x)
        h = nn.BatchNorm(use_running_average=not train)(h)
        act = Choice(f"{self.key}.act", {"relu": nn.relu, "swish": nn.swish})
        h = width.mask(act(h))
        return x + nn.Conv(self.channels, (1, 1))(h)


class ResidualNet(nn.Module):
    """Stem, blocks of which depth is searched, pooling, classifier."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Conv(16, (3, 3))(x)
        x = Block(16, "first")(x, train)
        x = nn.max_pool(x, (2, 2), (2, 2))
        depth = ValueChoice("depth", (1, 2))
        blocks = [
            lambda x, i=i: Block(16, f"late_{i}", name=f"late_{i}")(x, train)
            for i in range(2)
        ]
        x = depth.layers(blocks, x)
        return nn.Dense(10)(nn.relu(x).mean((1, 2)))


def cross_entropy(logits, labels):
    """Computes the mean cross entropy of a batch."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean()


def make_problem() -> darts_jax.Problem:
    """Returns network, data, loss and metric."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    return darts_jax.make_problem(
        ResidualNet(),
        data=(images[:1400], labels[:1400]),
        test=(images[1400:], labels[1400:]),
        loss=cross_entropy,
        metric="accuracy",
        optimizer=optax.adam(3e-3),
    )


def main(run: str = "runs/residual_digits") -> None:
    """Searches and retrains."""
    problem = make_problem()
    config = problem.config(*SETTINGS)
    found = darts_jax.search(config, run, problem)
    print(found.genotype)
    print(darts_jax.retrain(config, run, dataset=problem))


if __name__ == "__main__":
    main()
