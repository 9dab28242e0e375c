"""Predictor-guided search: an ensemble of small networks proposes the next genotypes.

After BANANAS (White et al., 2021): its acquisition function, independent Thompson
sampling, and its candidates, mutations of the best. Genotypes are encoded by their
edges, not by paths.
"""

import functools
from collections.abc import Hashable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.baselines.evaluation_budget import Batch, Proposals, budgeted
from darts_jax.baselines.prior import Prior, draw_best
from darts_jax.errors import InputError
from darts_jax.proxies.ensemble import relative_ranks
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import decision_nodes, genotype_key, mutate, sample_genotype

_Features = Float[np.ndarray, "genotype feature"]
_Params = Any  # of one member, as Flax gives them


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
    prior: Prior | None = None,
    draws: int = 1000,
) -> Proposals:
    """Evaluates the candidates that an ensemble trained on all scores rates highest.

    White et al. (2021), algorithm 1. The score of each candidate is an independent draw
    from the normal distribution with the mean and standard deviation of the members'
    predictions. The candidates of the largest draws are evaluated, and the ensemble is
    trained again from new parameters.

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      initial: number of genotypes drawn uniformly at the start.
      batch: number of genotypes evaluated between two trainings.
      candidates: number of mutations to choose from; known genotypes are left out.
      parents: number of best genotypes that are mutated.
      members: number of networks in the ensemble; they differ in their initialization.
      widths: sizes of their hidden layers.
      steps: steps of Adam on the mean absolute error over all known genotypes.
      learning_rate: Adam's.
      prior: scores of genotypes, whose ranks are further features, and by which the
        first genotypes are the best of ``draws``; None: there are none.
      draws: number of genotypes that the first are chosen from.

    Yields:
      Genotypes to evaluate.

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
    if prior is None:
        chosen = [sample_genotype(space, rng) for _ in range(initial)]
    else:
        chosen = draw_best(space, rng, prior, initial, draws)
    while True:
        evaluations = yield Batch(tuple(chosen))
        for genotype, evaluation in zip(chosen, evaluations, strict=True):
            known[genotype_key(genotype)] = evaluation.score, genotype
        offered = _candidates(space, known, candidates, parents, rng)
        if not offered:
            chosen = [sample_genotype(space, rng)]
            continue
        scores = [score for score, _ in known.values()]
        genotypes = [genotype for _, genotype in known.values()]
        features = encode(space, [*genotypes, *offered])
        if prior is not None:
            ranks = relative_ranks(prior([*genotypes, *offered]))
            features = np.concatenate([features, ranks.astype(features.dtype)], 1)
        predicted = _predictions(
            jax.random.key(int(rng.integers(2**32))),
            features[: len(genotypes)],
            np.array(scores),
            _pad_rows(features[len(genotypes) :], candidates),
            learning_rate,
            members,
            widths,
            steps,
        )[:, : len(offered)]
        drawn = rng.normal(predicted.mean(0), predicted.std(0))
        chosen = [offered[i] for i in np.argsort(-drawn, kind="stable")[:batch]]


def encode(space: Space, genotypes: Sequence[Genotype]) -> _Features:
    """Returns the operation of every edge, one-hot; all 0 for an edge that is not kept.

    Args:
      space: the space of the genotypes.
      genotypes: one for each row.

    Returns:
      float32 [genotype, feature], features by kind, target, source and operation.
    """
    columns = {
        place: column
        for column, place in enumerate(
            (node.kind, node.targets[source], source, op)
            for node in decision_nodes(space)
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
    """Returns new mutations of the best genotypes, parent after parent, each once."""
    best = sorted(known.values(), key=lambda one: -one[0])[:parents]
    found: dict[Hashable, Genotype] = {}
    for i in range(most):
        _, parent = best[i % len(best)]
        child = mutate(space, parent, rng)
        if genotype_key(child) not in known:
            found[genotype_key(child)] = child
    return list(found.values())


def _pad_rows(rows: np.ndarray, length: int) -> np.ndarray:
    """Appends rows of 0 up to a length."""
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
    """Returns the predictions of an ensemble trained on scores; consumes the key.

    The training sees scores of mean 0 and standard deviation 1.
    """
    center = scores.mean()
    scale = scores.std() or 1.0
    # Powers of two, so that a search compiles a few programs and not one a batch.
    length = max(32, 1 << (len(scores) - 1).bit_length())
    predicted = _ensemble(
        jax.random.split(key, members),
        _pad_rows(features, length),
        _pad_rows(((scores - center) / scale).astype(np.float32), length),
        _pad_rows(np.ones(len(scores), np.float32), length),
        asked,
        learning_rate,
        widths=widths,
        steps=steps,
    )
    return np.asarray(predicted, np.float64) * scale + center


class _Perceptron(nn.Module):
    """Multilayer perceptron, [example, feature] -> [example]."""

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
    """Trains one member for every key; rows of count 0 do not enter the loss."""
    network = _Perceptron(widths)
    optimizer = optax.adam(learning_rate)

    def predict(params: _Params, of: Float[Array, "n feature"]) -> Float[Array, " n"]:
        return cast(Array, network.apply(params, of))

    def loss(params: _Params) -> Float[Array, ""]:
        error = jnp.abs(predict(params, features) - scores)
        return jnp.sum(counts * error) / jnp.sum(counts)

    def step(state: tuple[_Params, optax.OptState], _: None) -> tuple[Any, None]:
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
