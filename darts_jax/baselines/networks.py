"""Small networks that predict scores: their layers, and the training of an ensemble."""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from darts_jax.baselines.encodings import Graphs

_Params = Any  # of one member, as Flax gives them
Inputs = PyTree[np.ndarray]
"""What a network takes, a tree of arrays [genotype, ...]."""


class Training(NamedTuple):
    """Training of an ensemble.

    Attributes:
      members: number of networks, each from parameters of its own.
      steps: steps of Adam on the mean absolute error over all known genotypes.
      learning_rate: Adam's.
    """

    members: int
    steps: int
    learning_rate: float


class Perceptron(nn.Module):
    """Multilayer perceptron, [example, feature] -> [example].

    Attributes:
      widths: sizes of the hidden layers.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "example feature"]) -> Float[Array, " example"]:
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return cast(Array, nn.Dense(1)(x)[:, 0])


class GraphNetwork(nn.Module):
    """Graph convolutions along the edges and against them, and a mean over vertices.

    Wen et al. (2020), equation 1: ``V' = relu(A V U) / 2 + relu(A^T V W) / 2`` with the
    rows of A and of A^T, to which loops are added, divided by their sums.

    Attributes:
      widths: sizes of the convolutions.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, graphs: Graphs) -> Float[Array, " example"]:
        x = jnp.asarray(graphs.labels)
        there = jnp.any(x > 0, -1, keepdims=True).astype(x.dtype)
        loops = jnp.eye(x.shape[1], dtype=x.dtype)
        edges = jnp.asarray(graphs.edges)
        along = _share_rows(edges + loops)
        against = _share_rows(edges.swapaxes(1, 2) + loops)
        for width in self.widths:
            forward = nn.relu(along @ nn.Dense(width, use_bias=False)(x))
            backward = nn.relu(against @ nn.Dense(width, use_bias=False)(x))
            x = (forward + backward) / 2
        pooled = jnp.sum(there * x, 1) / jnp.maximum(jnp.sum(there, 1), 1)
        pooled = jnp.concatenate([pooled, jnp.asarray(graphs.extra)], 1)
        hidden = nn.relu(nn.Dense(self.widths[-1])(pooled))
        return cast(Array, nn.Dense(1)(hidden)[:, 0])


def _share_rows(edges: Float[Array, "n v v"]) -> Float[Array, "n v v"]:
    return edges / jnp.sum(edges, -1, keepdims=True)


def predict_by_members(
    network: nn.Module,
    inputs: tuple[Inputs, Inputs],
    scores: Float[np.ndarray, " known"],
    most: int,
    training: Training,
    seed: int,
) -> Float[np.ndarray, "member asked"]:
    """Trains an ensemble on scores and returns what its members predict.

    The training sees scores of mean 0 and standard deviation 1.

    Args:
      network: inputs -> scores.
      inputs: of the known genotypes, and of those that are asked for.
      scores: of the known genotypes.
      most: number of genotypes that are asked for at once at most.
      training: number of members and their steps.
      seed: of the first parameters.
    """
    known, asked = inputs
    (count,) = {len(leaf) for leaf in jax.tree.leaves(asked)}
    center = scores.mean()
    scale = scores.std() or 1.0
    # Powers of two, so that a search compiles a few programs and not one a batch.
    length = max(32, 1 << (len(scores) - 1).bit_length())
    predicted = _train_and_ask(
        jax.random.split(jax.random.key(seed), training.members),
        _pad_rows(known, length),
        _pad_rows(((scores - center) / scale).astype(np.float32), length),
        _pad_rows(np.ones(len(scores), np.float32), length),
        _pad_rows(asked, max(most, count)),
        training.learning_rate,
        network=network,
        steps=training.steps,
    )
    return np.asarray(predicted, np.float64)[:, :count] * scale + center


def _pad_rows(rows: Any, length: int) -> Any:
    """Appends rows of 0 up to a length to all arrays of a tree."""
    return jax.tree.map(
        lambda leaf: np.pad(
            leaf, [(0, length - len(leaf))] + [(0, 0)] * (leaf.ndim - 1)
        ),
        rows,
    )


@functools.partial(jax.jit, static_argnames=("network", "steps"))
def _train_and_ask(
    keys: PRNGKeyArray,
    inputs: PyTree[Array],
    scores: Float[Array, " known"],
    counts: Float[Array, " known"],
    asked: PyTree[Array],
    learning_rate: Float[Array, ""],
    network: nn.Module,
    steps: int,
) -> Float[Array, "member asked"]:
    """Trains one member for every key; rows of count 0 do not enter the loss."""
    optimizer = optax.adam(learning_rate)

    def predict(params: _Params, of: PyTree[Array]) -> Float[Array, " n"]:
        return cast(Array, network.apply(params, of))

    def loss(params: _Params) -> Float[Array, ""]:
        error = jnp.abs(predict(params, inputs) - scores)
        return jnp.sum(counts * error) / jnp.sum(counts)

    def step(state: tuple[_Params, optax.OptState], _: None) -> tuple[Any, None]:
        params, moments = state
        slope = jax.grad(loss)(params)
        # optax raises the betas to an integer count.
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(slope, moments)
        return (optax.apply_updates(params, updates), moments), None

    def member(key: PRNGKeyArray) -> Float[Array, " asked"]:
        params = network.init(key, inputs)
        (params, _), _ = jax.lax.scan(
            step, (params, optimizer.init(params)), length=steps
        )
        return predict(params, asked)

    predictions: Float[Array, "member asked"] = jax.vmap(member)(keys)
    return predictions
