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
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel import optimizers
from darts_jax.bilevel import weight_training as training
from darts_jax.bilevel.discretization import one_hot
from darts_jax.bilevel.losses import Criterion
from darts_jax.bilevel.step import Search
from darts_jax.cost.expected import ExpectedCost
from darts_jax.cost.sites import Costs
from darts_jax.data.sources import data_place
from darts_jax.data.text import Corpus, batched, load_text
from darts_jax.engine import seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches
from darts_jax.engine.program import Examination
from darts_jax.engine.task import Problem, Score, Supermodel, Task, require_settings
from darts_jax.errors import InputError
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.models.language import HIDDEN, Reading
from darts_jax.spaces import get_space, moves
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.image_networks import require_family
from darts_jax.tasks.language import feeds as texts
from darts_jax.tasks.language.networks import NETWORKS, PARAMETERS, SUPERNETS
from darts_jax.tasks.slots import make_method
from darts_jax.types import Metrics, Scalars, SearchState, Stats, Text, step_key

METRICS = ("loss", "count")
REWARD = 80.0
"""Over the perplexity, what teaches a controller (Pham et al., 2018)."""


def _load(config: ConfigDict) -> Corpus:
    settings = config.language
    place = data_place(config.data.directory)
    shares = settings.valid_fraction, settings.test_fraction
    corpus = load_text(config.data.name, place, *shares)
    return corpus.first(settings.tokens, settings.held_out)


def _search(config: ConfigDict, corpus: Corpus, layout: Layout) -> Problem:
    """Of the training text for the weights, the validation text for the rest."""
    require_settings(config, _NOT_IN_SEARCH, "text")
    _require_parameters(
        "baseline.equal_cost", config.baseline.equal_cost or "parameters"
    )
    settings, size = config.language.supernet, config.search.batch_size
    space = get_space(config.space)
    net = require_family(space, SUPERNETS)(settings, corpus, space)
    search = make_method(
        config, net, (1, 1), costs=_costs, criterion=_criterion(settings)
    )
    parts = [batched(part, size) for part in (corpus.train, corpus.valid)]
    feed = texts.running(parts, _windows(config, settings))

    def init(key: PRNGKeyArray) -> Initialized:
        mixture = functional.zero_mixture(space)
        return functional.initialize(net, key, _example(size), mixture)

    def forward(model: Supermodel, stats: Stats, text: Text) -> tuple[Reading, Stats]:
        key = jax.random.wrap_key_data(model.key)
        return search.apply(model.params, stats, model.mixture, text, key, train=False)

    return Problem(
        search,
        init,
        feed,
        prepare=_spread(layout),
        held_out=_pass(config, corpus.valid),
        examination=_perplexity(forward, config.language.test_batch_size),
        per_step=round(2 * size * _windows(config, settings).mean),
        chance=math.log(len(corpus.vocabulary)),
        metrics=METRICS,
        paced=_paced(config.language.window),
        followed=_followed(search),
    )


def _training(
    config: ConfigDict, corpus: Corpus, genotype: Genotype, layout: Layout
) -> Problem:
    """On the training text; the validation text tells when to average weights."""
    require_settings(config, _NOT_IN_TRAINING, "text")
    settings, size = config.language.network, config.retrain.batch_size
    space = get_space(check_genotype(genotype).space)
    net = require_family(space, NETWORKS)(settings, corpus, genotype)
    method = training.Training(
        functional.network_apply(net),
        criterion=_criterion(settings),
        optimizer=functools.partial(
            _averaged_sgd, nesterov=config.retrain.weights.nesterov
        ),
    )
    windows = _windows(config, settings)

    def init(key: PRNGKeyArray) -> Initialized:
        return functional.initialize(net, key, _example(size), jnp.zeros(()))

    def forward(state: Any, stats: Stats, text: Text) -> tuple[Reading, Stats]:
        key, (_, average) = step_key(state.key, state.step), state.optimizer
        return method.apply(average.mean, stats, text, jnp.zeros(()), key, train=False)

    def adapt(scalars: Scalars, scores: Sequence[float]) -> Scalars:
        over = optimizers.has_stopped_improving(scores, config.language.patience)
        return scalars | {"averages": np.asarray(over, np.float32)}

    return Problem(
        method,
        init,
        texts.running([batched(corpus.train, size)], windows),
        prepare=_spread(layout),
        held_out=_pass(config, corpus.valid),
        examination=_perplexity(forward, config.language.test_batch_size),
        per_step=round(size * windows.mean),
        chance=math.log(len(corpus.vocabulary)),
        metrics=METRICS,
        test=_pass(config, corpus.test),
        paced=_paced(config.language.window),
        adapt=adapt,
    )


def _spread(layout: Layout) -> Callable[[Array, Batches], Batches]:
    return lambda key, stored: layout.spread(stored)


def _perplexity(
    forward: Callable[[Any, Stats, Text], tuple[Reading, Stats]], batch: int
) -> Examination:
    """Sums the losses of a text, hidden states carried from window to window."""

    def begin(model: Any) -> tuple[Stats, Metrics]:
        zero = jnp.zeros((), jnp.float32)
        return _resized(model.stats, batch), {"loss": zero, "count": zero}

    def examine(model: Any, carried: Any, text: Text, i: Any) -> tuple[Stats, Metrics]:
        del i
        stats, sums = carried
        reading, stats = forward(model, stats, text)
        found = _metrics(jnp.zeros(()), reading, text)
        return stats, {name: sums[name] + found[name] for name in sums}

    return Examination(begin, examine, lambda carried: carried[1])


def _criterion(settings: ConfigDict) -> Criterion:
    """Cross entropy and, of the text that trains, what its activations cost.

    ``activation`` times the mean square of the states that predict, and ``slowness``
    times that of how much a state differs from the last (Merity et al., 2017).
    """

    def loss(reading: Reading, text: Text, scalars: Scalars) -> Float[Array, ""]:
        del scalars
        large = _mean(jnp.square(reading.dropped).mean(-1), text.present)
        change = jnp.diff(reading.states, axis=1)
        quick = _mean(jnp.square(change).mean(-1), text.present[:, 1:])
        cost = settings.activation * large + settings.slowness * quick
        trains = jnp.mean(text.stream == 0, dtype=cost.dtype)
        return _mean(reading.losses, text.present) + trains * cost

    def rewards(reading: Reading, text: Text) -> Float[Array, " 1"]:
        return REWARD / jnp.exp(_mean(reading.losses, text.present))[None]

    return Criterion(lambda text: text, loss, _metrics, rewards)


def _metrics(loss: Array, reading: Reading, text: Text) -> Metrics:
    del loss  # It has what the activations cost in it.
    losses = jnp.where(text.present, reading.losses, 0)
    return {
        "loss": jnp.sum(losses, dtype=jnp.float32),
        "count": jnp.sum(text.present, dtype=jnp.float32),
    }


def _mean(values: Array, present: Any) -> Float[Array, ""]:
    count = jnp.maximum(jnp.sum(present, dtype=values.dtype), 1)
    return jnp.sum(jnp.where(present, values, 0)) / count


def _followed(search: Search) -> Callable[..., SearchState]:
    def followed(state: SearchState, text: Text, scalars: Scalars) -> SearchState:
        """With the hidden states that the validation text goes on from."""
        key = step_key(state.key, state.step)
        mixture = search.mixture(key, state.alpha, state.mask, scalars)
        _, (after, _) = search.loss(
            state.params, mixture, state.stats, text, key, scalars
        )
        return state.replace(stats=_with_hidden(state.stats, after))

    return followed


def _averaged_sgd(scalars: Scalars, nesterov: bool) -> optax.GradientTransformation:
    return optax.chain(
        training.make_sgd(scalars, nesterov),
        optimizers.average_weights(scalars["averages"]),
    )


def _paced(base: int) -> Callable[[Scalars, Text], Scalars]:
    """A step is as large as its window is long (Merity et al., 2018)."""

    def paced(scalars: Scalars, text: Text) -> Scalars:
        weights = scalars["weights"]
        share = jnp.sum(text.present[0]).astype(jnp.float32) / base
        rate = weights["learning_rate"] * share
        return scalars | {"weights": weights | {"learning_rate": rate}}

    return paced


def _windows(config: ConfigDict, settings: ConfigDict) -> texts.Windows:
    base = config.language.window
    longest = base + (config.language.longer if settings.jitter else 0)
    return texts.Windows(base, settings.jitter, longest)


def _pass(config: ConfigDict, tokens: np.ndarray) -> texts.Feed:
    settings = config.language
    return texts.once(batched(tokens, settings.test_batch_size), settings.window)


def _example(batch: int) -> Text:
    """A window of which only shapes matter."""
    tokens = jnp.zeros((batch, 1), jnp.int32)
    row = jnp.zeros(batch, jnp.int32)
    return Text(tokens, tokens, tokens == 0, row == 0, row)


def _resized(stats: Stats, batch: int) -> Stats:
    """Statistics with blank hidden states of another batch."""

    def leaf(path: Any, value: Array) -> Array:
        return (
            jnp.zeros((batch, *value.shape[1:]), value.dtype)
            if path[-1].key == HIDDEN
            else value
        )

    return jax.tree_util.tree_map_with_path(leaf, stats)


def _with_hidden(stats: Stats, other: Stats) -> Stats:
    """Statistics with the hidden states of others."""

    def leaf(path: Any, mine: Array, theirs: Array) -> Array:
        return theirs if path[-1].key == HIDDEN else mine

    return jax.tree_util.tree_map_with_path(leaf, stats, other)


def _expected(config: ConfigDict, corpus: Corpus, costs: str) -> ExpectedCost:
    """Of the networks that read text, parameters are known."""
    settings, space = config.language.network, get_space(config.space)
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
    """Of every operation of a supernet, for the term ``expected_cost``."""
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
}
_NOT_IN_TRAINING = {
    "data.class_weights": "none",
    "retrain.microbatches": 1,
    "retrain.dtype": "float32",
}

LANGUAGE = Task(
    "language",
    "tokens",
    Score(
        "perplexity",
        lambda sums, count: math.exp(min(sums["loss"] / sums["count"], 700.0)),
        more_is_better=False,
        loss=lambda sums, count: sums["loss"] / sums["count"],
    ),
    _load,
    _search,
    _training,
    _expected,
)
