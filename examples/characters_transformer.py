"""Example: a small transformer on characters, in Linen, by plain pairs of arrays.

python examples/characters_transformer.py searches and retrains beside random choices;
under three minutes on two cores.
"""

import numpy as np
import optax
from flax import linen as nn

import darts_jax
from darts_jax import Choice, InputChoice, ValueChoice

TEXT = " ".join(
    f"{a} and {b} make {a + b}; {b} and {a} make {a + b}."
    for a in range(30)
    for b in range(30)
)
LENGTH = 32

SETTINGS = (
    *("search.epochs=12", "search.batch_size=32", "retrain.epochs=12"),
    *("search.architecture.learning_rate=0.02", "retrain.batch_size=32"),
    "baseline.random_genotypes=2",
)


class Layer(nn.Module):
    """A layer: how characters are mixed, and the width between."""

    units: int
    key: str

    @nn.compact
    def __call__(self, x):
        causal = nn.make_causal_mask(x[..., 0])
        attention = nn.MultiHeadDotProductAttention(num_heads=4, name="attention")
        mixers = {
            "attention": lambda h: attention(h, mask=causal),
            "convolution": nn.Conv(self.units, (5,), padding="CAUSAL"),
            "none": lambda h: 0 * h,
        }
        x = x + Choice(f"{self.key}.mixer", mixers)(nn.LayerNorm()(x))
        width = ValueChoice(f"{self.key}.width", (32, 64, 128))
        h = width.mask(nn.gelu(nn.Dense(width.size)(nn.LayerNorm()(x))))
        return x + nn.Dense(self.units)(h)


class Transformer(nn.Module):
    """Embedding, layers, and what of them the classifier reads."""

    letters: int
    units: int = 32

    @nn.compact
    def __call__(self, tokens):
        place = self.param("place", nn.initializers.normal(0.02), (LENGTH, self.units))
        x = nn.Embed(self.letters, self.units)(tokens) + place
        first = Layer(self.units, "first")(x)
        second = Layer(self.units, "second")(first)
        read = InputChoice("read", choose=2)
        x = read({"embedding": x, "first": first, "second": second})
        return nn.Dense(self.letters)(nn.LayerNorm()(x))


def cross_entropy(logits, targets):
    """Computes the mean cross entropy of a batch's characters."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return losses.mean()


def make_problem() -> darts_jax.Problem:
    """Returns network, data, loss and metric."""
    letters = sorted(set(TEXT))
    tokens = np.array([letters.index(letter) for letter in TEXT], np.int32)
    count = (len(tokens) - 1) // LENGTH
    inputs = tokens[: count * LENGTH].reshape(count, LENGTH)
    targets = tokens[1 : count * LENGTH + 1].reshape(count, LENGTH)
    order = np.random.default_rng(0).permutation(count)
    return darts_jax.make_problem(
        Transformer(len(letters)),
        data=(inputs[order], targets[order]),
        loss=cross_entropy,
        metric="accuracy",
        optimizer=optax.adam(3e-3),
    )


def main(run: str = "runs/characters") -> None:
    """Searches and retrains."""
    problem = make_problem()
    config = problem.config(*SETTINGS)
    found = darts_jax.search(config, run, problem)
    print(found.genotype)
    print(darts_jax.retrain(config, run, dataset=problem))


if __name__ == "__main__":
    main()
