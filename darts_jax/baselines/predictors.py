"""Models that predict the scores of genotypes from those of others.

Each is ``(question) -> Prediction``. To add one: ``PREDICTORS["mine"] = mine``.
"""

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from flax import linen as nn
from jaxtyping import Float

from darts_jax.baselines.encodings import encode, encode_graphs
from darts_jax.baselines.networks import (
    GraphNetwork,
    Inputs,
    Perceptron,
    Training,
    predict_by_members,
)
from darts_jax.documentation import implements
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """Genotypes with their scores, and others whose scores are asked for.

    Attributes:
      space: of all genotypes.
      known: genotypes whose scores are known.
      scores: their scores.
      asked: genotypes whose scores are asked for.
      extra: further features of the known genotypes and then of those that are asked
        for; None: there are none.
      most: number of genotypes that are asked for at once at most; a compiled program
        takes so many, and is compiled once.
      seed: of all random numbers.
    """

    space: Space
    known: Sequence[Genotype]
    scores: Float[np.ndarray, " known"]
    asked: Sequence[Genotype]
    extra: Float[np.ndarray, "genotype feature"] | None = None
    most: int = 0
    seed: int = 0

    @functools.cached_property
    def features(self) -> Float[np.ndarray, "genotype feature"]:
        """The operations of the edges, one-hot, beside the further features."""
        features = encode(self.space, [*self.known, *self.asked])
        if self.extra is None:
            return features
        return np.concatenate([features, self.extra.astype(features.dtype)], 1)


class Prediction(NamedTuple):
    """Scores of genotypes as a model expects them.

    Attributes:
      mean: the expected scores.
      deviation: standard deviations that say how sure the model is.
    """

    mean: Float[np.ndarray, " asked"]
    deviation: Float[np.ndarray, " asked"]


class Predictor(Protocol):
    """Prediction of the scores of genotypes from those of others.

    Args:
      question: genotypes with their scores, and those that are asked for.

    Returns:
      Expected scores and their standard deviations, of the genotypes asked for.

    Raises:
      InputError: a setting that cannot be.
    """

    def __call__(self, question: Question) -> Prediction: ...


@implements(Predictor)
def ensemble(
    question: Question,
    members: int = 5,
    widths: tuple[int, ...] = (64, 64),
    steps: int = 200,
    learning_rate: float = 0.01,
) -> Prediction:
    """Trains perceptrons on the operations of the edges, after BANANAS.

    White et al. (2021), section 3.2: members differ in their initialization, and their
    spread says how sure they are.

    Args:
      members: number of networks, 2 or more.
      widths: sizes of their hidden layers.
      steps: steps of Adam on the mean absolute error over all known genotypes.
      learning_rate: Adam's.
    """
    _require_members(members, (steps, *widths), learning_rate)
    known = len(question.known)
    inputs = question.features[:known], question.features[known:]
    training = Training(members, steps, learning_rate)
    return _predict(Perceptron(widths), inputs, question, training)


@implements(Predictor)
def graph_network(
    question: Question,
    members: int = 5,
    widths: tuple[int, ...] = (32, 32, 32),
    steps: int = 200,
    learning_rate: float = 0.01,
) -> Prediction:
    """Trains graph convolutions over the cell, whatever the order of its vertices.

    Wen et al. (2020, Neural Predictor for NAS), section 3.2, with operations as
    vertices as in Dudziak et al. (2020, BRP-NAS). Several networks that differ in their
    initialization say by their spread how sure they are. The paper's layers have a
    width of 144; the loss is that of `ensemble`.

    Args:
      members: number of networks, 2 or more.
      widths: sizes of the graph convolutions.
      steps: steps of Adam on the mean absolute error over all known genotypes.
      learning_rate: Adam's.
    """
    _require_members(members, (steps, *widths), learning_rate)
    known = len(question.known)
    extra = question.extra
    inputs = (
        encode_graphs(
            question.space, question.known, None if extra is None else extra[:known]
        ),
        encode_graphs(
            question.space, question.asked, None if extra is None else extra[known:]
        ),
    )
    training = Training(members, steps, learning_rate)
    return _predict(GraphNetwork(widths), inputs, question, training)


@implements(Predictor)
def gaussian_process(question: Question) -> Prediction:
    """Takes scores as a Gaussian process over the operations of the edges.

    Rasmussen and Williams (2006), algorithm 2.1, with the kernel of `fit_process`; the
    standard deviation is that of the score without the noise of its measurement.
    """
    known = len(question.known)
    center = question.scores.mean()
    scale = question.scores.std() or 1.0
    features = question.features.astype(np.float64)
    model = fit_process(features[:known], (question.scores - center) / scale)
    mean, deviation = model.predict(features[known:], return_std=True)
    noise = model.kernel_.k2.noise_level
    latent = np.sqrt(np.maximum(deviation**2 - noise, 0.0))
    return Prediction(mean * scale + center, latent * scale)


def fit_process(
    features: Float[np.ndarray, "known feature"], scores: Float[np.ndarray, " known"]
) -> Any:
    """Fits scale, length and noise of a Gaussian process by its marginal likelihood.

    The kernel is Matern's of order 5/2, one length for all features, and white noise.

    Args:
      features: of the known genotypes.
      scores: theirs, of mean 0 and standard deviation 1.

    Returns:
      A fitted `sklearn.gaussian_process.GaussianProcessRegressor`.
    """
    # Takes a second to import, which other searches do not need.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor, kernels

    scale = kernels.ConstantKernel(1.0, (1e-2, 1e2))
    shape = kernels.Matern(3.0, (1e-1, 1e2), nu=2.5)
    noise = kernels.WhiteKernel(1e-2, (1e-6, 1e1))
    model = GaussianProcessRegressor(scale * shape + noise)
    with warnings.catch_warnings():
        # A length or a noise at the end of its range is a fit like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, scores)


@implements(Predictor)
def boosted_trees(
    question: Question,
    members: int = 5,
    trees: int = 100,
    depth: int = 3,
    learning_rate: float = 0.1,
    share: float = 0.8,
) -> Prediction:
    """Boosts regression trees on the operations of the edges.

    Friedman (2002, Stochastic Gradient Boosting), by scikit-learn. Members differ in
    the known genotypes that each of their trees is fitted to, and their spread says how
    sure they are.

    Args:
      members: number of boosted models, 2 or more.
      trees: of each.
      depth: largest number of decisions in a row.
      learning_rate: by which every tree is shrunk.
      share: of the known genotypes that a tree is fitted to.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    _require_members(members, (trees, depth), learning_rate)
    known = len(question.known)
    seeds = np.random.default_rng(question.seed).integers(2**31, size=members)
    models = (
        GradientBoostingRegressor(
            n_estimators=trees,
            max_depth=depth,
            learning_rate=learning_rate,
            subsample=share,
            random_state=int(seed),
        )
        for seed in seeds
    )
    features = question.features
    fitted = (model.fit(features[:known], question.scores) for model in models)
    return _spread(np.stack([model.predict(features[known:]) for model in fitted]))


PREDICTORS: dict[str, Predictor] = {
    "ensemble": ensemble,
    "graph_network": graph_network,
    "gaussian_process": gaussian_process,
    "boosted_trees": boosted_trees,
}
"""Name -> model that predicts the scores of genotypes from those of others."""


def _predict(
    network: nn.Module,
    inputs: tuple[Inputs, Inputs],
    question: Question,
    training: Training,
) -> Prediction:
    """Returns mean and spread of what an ensemble's members predict."""
    predicted = predict_by_members(
        network, inputs, question.scores, question.most, training, question.seed
    )
    return _spread(predicted)


def _spread(predicted: Float[np.ndarray, "member asked"]) -> Prediction:
    return Prediction(predicted.mean(0), predicted.std(0))


def _require_members(
    members: int, numbers: tuple[int, ...], learning_rate: float
) -> None:
    if min(numbers) < 1 or members < 2 or not learning_rate > 0:
        raise InputError(
            f"a predictor wants numbers of 1 or more, got {numbers}; 2 members or "
            f"more, got {members}; a rate above 0, got {learning_rate}"
        )
