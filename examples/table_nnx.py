"""Example: a perceptron on a table of scikit-learn's, in Flax NNX.

python examples/table_nnx.py searches and retrains beside random choices; under three
minutes on two cores.
"""

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_wine

import darts_jax
from darts_jax import Choice, InputChoice

SETTINGS = (
    *("search.epochs=20", "search.batch_size=32", "retrain.epochs=20"),
    *("search.architecture.learning_rate=0.02", "retrain.batch_size=32"),
    "baseline.random_genotypes=2",
)


class Perceptron(nnx.Module):
    """Two layers, one of which may be left out; the inputs of the last are searched."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(13, 32, rngs=rngs)
        self.wide = nnx.Linear(32, 32, rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.last = nnx.Linear(32, 3, rngs=rngs)

    def __call__(self, x):
        first = nnx.relu(self.first(x))
        options = {
            "layer": lambda h: jnp.tanh(self.wide(h)),
            "norm": self.norm,
            "skip_connect": lambda h: h,
        }
        second = Choice("second", options)(first)
        kept = Choice("drop", {"yes": self.drop, "no": lambda h: h})(second)
        read = InputChoice("read", choose=1)
        return self.last(read({"first": first, "second": kept}))


def cross_entropy(logits, labels):
    """Computes the mean cross entropy of a batch."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean()


def make_problem() -> darts_jax.Problem:
    """Returns network, data, loss and metric."""
    table, labels = load_wine(return_X_y=True)
    table = ((table - table.mean(0)) / table.std(0)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(labels))
    return darts_jax.make_problem(
        Perceptron,
        data=(table[order], labels[order]),
        loss=cross_entropy,
        metric="accuracy",
        optimizer=optax.adam(1e-2),
    )


def main(run: str = "runs/table_nnx") -> None:
    """Searches and retrains."""
    problem = make_problem()
    config = problem.config(*SETTINGS)
    found = darts_jax.search(config, run, problem)
    print(found.genotype)
    print(darts_jax.retrain(config, run, dataset=problem))


if __name__ == "__main__":
    main()
