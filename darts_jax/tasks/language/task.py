"""The task of reading text: the next word, by a recurrent cell or a transformer.

The recipe is that of DARTS's recurrent search and evaluation (Liu et al., 2019), which
is that of AWD-LSTM (Merity et al., 2018).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel import optimizers
from darts_jax.bilevel import weight_training as training
from darts_jax.bilevel.discretization import one_hot
from darts_jax.bilevel.step import Search
from darts_jax.cost.expected import ExpectedCost
from darts_jax.cost.sites import Costs
from darts_jax.data.text import Corpus, split_into_rows
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches
from darts_jax.engine.job import Job, Supermodel
from darts_jax.errors import InputError
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.models.language import HIDDEN, Reading
from darts_jax.spaces import get_space, moves
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.language.criterion import METRICS, make_text_criterion
from darts_jax.tasks.language.data import (
    Windows,
    load_corpus,
    text_feed,
    window_feed,
)
from darts_jax.tasks.language.metric import PERPLEXITY, sum_text_losses
from darts_jax.tasks.language.networks import NETWORKS, PARAMETERS, SUPERNETS
from darts_jax.tasks.search_job import make_method, make_search_job
from darts_jax.tasks.task import (
    Task,
    choose_score,
    require_family,
    require_settings,
)
from darts_jax.tasks.training_job import make_training_job
from darts_jax.types import Scalars, SearchState, Stats, Text, step_key

SCORES = (PERPLEXITY,)


def _make_search(config: ConfigDict, corpus: Corpus, layout: Layout) -> Job:
    """Makes a search; the validation text is for the architecture."""
    require_settings(config, _NOT_IN_SEARCH, "text")
    _require_parameters(
        "baseline.equal_cost", config.baseline.equal_cost or "parameters"
    )
    settings = config.language.supernet
    size = config.search.batch_size
    space = get_space(config.space)
    net = require_family(space, SUPERNETS)(settings, corpus, space)
    criterion = make_text_criterion(settings)
    method = make_method(config, net, (1, 1), costs=_costs, criterion=criterion)
    parts = [split_into_rows(part, size) for part in (corpus.train, corpus.valid)]

    def init_network(key: PRNGKeyArray) -> Initialized:
        mixture = functional.zero_mixture(space)
        return functional.initialize(net, key, _example(size), mixture)

    def forward(model: Supermodel, stats: Stats, text: Text) -> tuple[Reading, Stats]:
        key = jax.random.wrap_key_data(model.key)
        return method.apply(model.params, stats, model.mixture, text, key, train=False)

    test_rows = config.language.test_batch_size
    return make_search_job(
        config,
        layout,
        method,
        score=choose_score(config, SCORES),
        init_network=init_network,
        feed=window_feed(parts, Windows.from_config(config, settings.jitter)),
        prepare=_make_preparation(layout),
        held_out=text_feed(
            split_into_rows(corpus.valid, test_rows), config.language.window
        ),
        examination=sum_text_losses(forward, test_rows),
        expected_cost=functools.partial(_expected_cost, config, corpus),
        chance=math.log(len(corpus.vocabulary)),
        metrics=METRICS,
        pace=scale_rate_by_length(config.language.window),
        follow=_follow_valid_text(method),
    )


def _make_training(
    config: ConfigDict, corpus: Corpus, genotype: Genotype, layout: Layout
) -> Job:
    """Makes a training; the validation text tells when to average the weights."""
    require_settings(config, _NOT_IN_TRAINING, "text")
    settings = config.language.network
    size = config.retrain.batch_size
    space = get_space(check_genotype(genotype).space)
    net = require_family(space, NETWORKS)(settings, corpus, genotype)
    method = training.Training(
        functional.network_apply(net, config.precision),
        criterion=make_text_criterion(settings),
        optimizer=functools.partial(
            _averaged_sgd, nesterov=config.retrain.weights.nesterov
        ),
    )
    windows = Windows.from_config(config, settings.jitter)

    def init_network(key: PRNGKeyArray) -> Initialized:
        return functional.initialize(net, key, _example(size), jnp.zeros(()))

    def forward(state: Any, stats: Stats, text: Text) -> tuple[Reading, Stats]:
        key = step_key(state.key, state.step)
        _, average = state.optimizer
        return method.apply(average.mean, stats, text, jnp.zeros(()), key, train=False)

    def adapt(scalars: Scalars, scores: Sequence[float]) -> Scalars:
        over = optimizers.has_stopped_improving(scores, config.language.patience)
        return scalars | {"averages": np.asarray(over, np.float32)}

    test_rows = config.language.test_batch_size
    length = config.language.window
    return make_training_job(
        config,
        layout,
        method,
        score=choose_score(config, SCORES),
        init_network=init_network,
        feed=window_feed([split_into_rows(corpus.train, size)], windows),
        prepare=_make_preparation(layout),
        held_out=text_feed(split_into_rows(corpus.valid, test_rows), length),
        test=text_feed(split_into_rows(corpus.test, test_rows), length),
        examination=sum_text_losses(forward, test_rows),
        chance=math.log(len(corpus.vocabulary)),
        metrics=METRICS,
        pace=scale_rate_by_length(length),
        adapt=adapt,
    )


def scale_rate_by_length(base: int) -> Callable[[Scalars, Text], Scalars]:
    """Makes a step as large as its window is long (Merity et al., 2018).

    Args:
      base: length in tokens at which the learning rate is that of the settings.

    Returns:
      (scalars, window) -> scalars with the window's learning rate.
    """

    def pace(scalars: Scalars, text: Text) -> Scalars:
        weights = scalars["weights"]
        share = jnp.sum(text.present[0]).astype(jnp.float32) / base
        rate = weights["learning_rate"] * share
        return scalars | {"weights": weights | {"learning_rate": rate}}

    return pace


def _follow_valid_text(method: Search) -> Callable[..., SearchState]:
    """Makes the function that keeps the hidden states of the validation text."""

    def follow(state: SearchState, text: Text, scalars: Scalars) -> SearchState:
        key = step_key(state.key, state.step)
        mixture = method.mixture(key, state.alpha, state.mask, scalars)
        _, (after, _) = method.loss(
            state.params, mixture, state.stats, text, key, scalars
        )
        return state.replace(stats=_with_hidden(state.stats, after))

    return follow


def _with_hidden(stats: Stats, other: Stats) -> Stats:
    """Returns statistics with the hidden states of others."""

    def leaf(path: Any, mine: Array, theirs: Array) -> Array:
        return theirs if path[-1].key == HIDDEN else mine

    return jax.tree_util.tree_map_with_path(leaf, stats, other)


def _make_preparation(layout: Layout) -> Callable[[Array, Batches], Batches]:
    return lambda key, stored: layout.spread(stored)


def _averaged_sgd(scalars: Scalars, nesterov: bool) -> optax.GradientTransformation:
    return optax.chain(
        training.make_sgd(scalars, nesterov),
        optimizers.average_weights(scalars["averages"]),
    )


def _example(batch: int) -> Text:
    """Returns a window of which only shapes matter."""
    tokens = jnp.zeros((batch, 1), jnp.int32)
    row = jnp.zeros(batch, jnp.int32)
    return Text(tokens, tokens, tokens == 0, row == 0, row)


def _expected_cost(config: ConfigDict, corpus: Corpus, costs: str) -> ExpectedCost:
    """Returns the expected number of parameters of the networks that read text."""
    settings = config.language.network
    space = get_space(config.space)
    supernet = require_family(space, SUPERNETS)(settings, corpus, space)
    added = _costs(costs, supernet, (1, 1))
    genotype = moves.sample_genotype(space, np.random.default_rng(0))
    net = require_family(space, NETWORKS)(settings, corpus, genotype)
    made = jax.eval_shape(
        lambda: functional.initialize(
            net, seeds.stream_key(0, 0), _example(2), jnp.zeros(())
        )
    )
    chosen = one_hot(space, genotype).weights
    known = sum(np.sum(added[kind] * chosen[kind]) for kind in added)
    return ExpectedCost(
        "million parameters",
        functional.count_parameters(made.params) / 1e6 - float(known),
        {kind: table[..., None, None] for kind, table in added.items()},
        {kind: np.zeros((1, 1)) for kind in added},
        {},
        {},
    )


def _costs(name: str, net: Any, size: tuple[int, int]) -> Costs:
    """Returns the cost of every operation, for the term ``expected_cost``."""
    del size
    _require_parameters("search.costs", name)
    return require_family(net.space, PARAMETERS)(net)


def _require_parameters(setting: str, costs: str) -> None:
    if costs != "parameters":
        raise InputError(
            f"setting {setting} is {costs}, of operations on images; text wants "
            "parameters"
        )


_NOT_IN_SEARCH = {
    "data.class_weights": "none",
    "supernet.partial_channels": 1,
    "supernet.dtype": "float32",
    "search.microbatches": 1,
    "search.validation": "train",
    "search.images": 0,
    "search.operation_stop.window": 0,
    # Hidden states would read a window once for each path.
    "search.paths.rule": "none",
}
_NOT_IN_TRAINING = {
    "data.class_weights": "none",
    "retrain.microbatches": 1,
    "retrain.dtype": "float32",
    "retrain.mixup": 0.0,
    "retrain.ema_decay": 0.0,  # it averages by language.patience
}

LANGUAGE = Task(
    name="language",
    scores=SCORES,
    load=load_corpus,
    make_search=_make_search,
    make_training=_make_training,
    expected_cost=_expected_cost,
)
