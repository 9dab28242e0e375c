"""Predictor-guided search: an ensemble of small networks says whom to ask for next.

After BANANAS (White et al., 2021): their acquisition, independent Thompson sampling,
and their way to candidates, mutations of the best; the encoding is by edges, not paths.
"""

import functools
from collections.abc import Hashable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.baselines.evaluation_budget import Proposals, budgeted
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import identity, mutate, nodes, uniform
from darts_jax.types import Params

_Features = Float[np.ndarray, "genotype feature"]


@budgeted
def predictor_search(
    space: Space,
    rng: np.random.Generator,
    initial: int = 10,
    batch: int = 10,
    candidates: int = 100,
    parents: int = 5,
    members: int = 5,
    widths: tuple[int, ...] = (64, 64),
    steps: int = 200,
    learning_rate: float = 0.01,
) -> Proposals:
    """Asks for what an ensemble, trained on all that is known, thinks may be best.

    White et al. (2021), algorithm 1. A candidate's score is drawn from the normal
    distribution with the mean and the deviation of the members' predictions, each
    candidate's by itself; those of the largest draws are asked for, and the ensemble
    is trained anew.

    Args:
      initial: genotypes drawn uniformly at the start.
      batch: how many are asked for between two trainings.
      candidates: mutations of the best to choose from; what is known is left out.
      parents: of how many of the best.
      members: networks of the ensemble, which differ in their first parameters.
      widths: of their hidden layers.
      steps: of Adam, on all known genotypes at once, of the mean absolute error.
      learning_rate: of Adam.

    Raises:
      InputError: a number below 1, or fewer than 2 members.
    """
    numbers = (initial, batch, candidates, parents, steps, *widths)
    if min(numbers) < 1 or members < 2 or not learning_rate > 0:
        raise InputError(
            f"predictor_search wants numbers of 1 or more, got {numbers}; 2 members or "
            f"more, got {members}; a rate above 0, got {learning_rate}"
        )
    known: dict[Hashable, tuple[float, Genotype]] = {}
    chosen = [uniform(space, rng) for _ in range(initial)]
    while True:
        for genotype in chosen:
            known[identity(genotype)] = (yield genotype).score, genotype
        offered = _candidates(space, known, candidates, parents, rng)
        if not offered:
            chosen = [uniform(space, rng)]
            continue
        scores, genotypes = zip(*known.values(), strict=True)
        predicted = _predictions(
            jax.random.key(int(rng.integers(2**32))),
            encoded(space, genotypes),
            np.array(scores),
            _padded(encoded(space, offered), candidates),
            learning_rate,
            members,
            widths,
            steps,
        )[:, : len(offered)]
        drawn = rng.normal(predicted.mean(0), predicted.std(0))
        chosen = [offered[i] for i in np.argsort(-drawn, kind="stable")[:batch]]


def encoded(space: Space, genotypes: Sequence[Genotype]) -> _Features:
    """Which operation every edge is, one-hot, all 0 for an edge that is not kept.

    Returns:
      float32 [genotype, feature], features by kind, target, source and operation.
    """
    columns = {
        place: column
        for column, place in enumerate(
            (node.kind, node.target, source, op)
            for node in nodes(space)
            for source, operations in node.operations.items()
            for op in operations
        )
    }
    features = np.zeros((len(genotypes), len(columns)), np.float32)
    for row, genotype in enumerate(genotypes):
        for kind, cell in genotype.cells.items():
            for c in cell.choices:
                features[row, columns[kind, c.target, c.source, c.operation]] = 1
    return features


def _candidates(
    space: Space,
    known: dict[Hashable, tuple[float, Genotype]],
    most: int,
    parents: int,
    rng: np.random.Generator,
) -> list[Genotype]:
    """Mutations of the best, parent after parent, each once and none known."""
    best = sorted(known.values(), key=lambda one: -one[0])[:parents]
    found: dict[Hashable, Genotype] = {}
    for i in range(most):
        _, parent = best[i % len(best)]
        child = mutate(space, parent, rng)
        if identity(child) not in known:
            found[identity(child)] = child
    return list(found.values())


def _padded(rows: np.ndarray, length: int) -> np.ndarray:
    """With rows of 0 at the end."""
    return np.pad(rows, [(0, length - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def _predictions(
    key: PRNGKeyArray,
    features: _Features,
    scores: Float[np.ndarray, " genotype"],
    asked: _Features,
    learning_rate: float,
    members: int,
    widths: tuple[int, ...],
    steps: int,
) -> Float[np.ndarray, "member asked"]:
    """Of an ensemble trained on scores; the key is consumed.

    Scores are brought to mean 0 and deviation 1 for the training, and back.
    """
    center, scale = scores.mean(), scores.std() or 1.0
    # Powers of two, so that a search compiles a few programs and not one a batch.
    length = max(32, 1 << (len(scores) - 1).bit_length())
    predicted = _ensemble(
        jax.random.split(key, members),
        _padded(features, length),
        _padded(((scores - center) / scale).astype(np.float32), length),
        _padded(np.ones(len(scores), np.float32), length),
        asked,
        learning_rate,
        widths=widths,
        steps=steps,
    )
    return np.asarray(predicted, np.float64) * scale + center


class _Perceptron(nn.Module):
    """[example, feature] -> [example]."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "example feature"]) -> Float[Array, " example"]:
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return cast(Array, nn.Dense(1)(x)[:, 0])


@functools.partial(jax.jit, static_argnames=("widths", "steps"))
def _ensemble(
    keys: PRNGKeyArray,
    features: Float[Array, "known feature"],
    scores: Float[Array, " known"],
    counts: Float[Array, " known"],
    asked: Float[Array, "asked feature"],
    learning_rate: Float[Array, ""],
    widths: tuple[int, ...],
    steps: int,
) -> Float[Array, "member asked"]:
    """One member for every key; a row with count 0 teaches nothing."""
    network = _Perceptron(widths)
    optimizer = optax.adam(learning_rate)

    def predict(params: Params, of: Float[Array, "n feature"]) -> Float[Array, " n"]:
        return cast(Array, network.apply(params, of))

    def loss(params: Params) -> Float[Array, ""]:
        error = jnp.abs(predict(params, features) - scores)
        return jnp.sum(counts * error) / jnp.sum(counts)

    def step(state: tuple[Params, optax.OptState], _: None) -> tuple[Params, None]:
        params, moments = state
        slope = jax.grad(loss)(params)
        # optax raises the betas to an integer count.
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(slope, moments)
        return (optax.apply_updates(params, updates), moments), None

    def member(key: PRNGKeyArray) -> Float[Array, " asked"]:
        params = network.init(key, features)
        (params, _), _ = jax.lax.scan(
            step, (params, optimizer.init(params)), length=steps
        )
        return predict(params, asked)

    predictions: Float[Array, "member asked"] = jax.vmap(member)(keys)
    return predictions
