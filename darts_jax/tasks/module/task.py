"""The task of a network of one's own, whatever it learns."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel.losses import Criterion
from darts_jax.bilevel.weight_training import Optimizer, Training, make_sgd
from darts_jax.choices.discrete import DiscreteNetwork
from darts_jax.cost.choices import choice_costs, option_costs
from darts_jax.cost.expected import ExpectedCost
from darts_jax.cost.sites import Costs
from darts_jax.data.pipeline import split_train
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, require_whole_batch
from darts_jax.engine.job import Job, Supermodel
from darts_jax.engine.program import Examination
from darts_jax.engine.resident_feed import (
    count_examples,
    shuffled_feed,
    single_pass_feed,
    take_rows,
)
from darts_jax.errors import InputError
from darts_jax.kernels import use_precision
from darts_jax.models.functional import Initialized
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.module.problem import NAME, SCORES, Problem, losses_of
from darts_jax.tasks.search_job import make_method, make_search_job
from darts_jax.tasks.task import Task, require_settings
from darts_jax.tasks.training_job import make_training_job
from darts_jax.types import (
    Batch,
    Inputs,
    Metrics,
    Mixture,
    NetworkApply,
    Outputs,
    Params,
    Scalars,
    Stats,
    TrainState,
    step_key,
)

_SUMS = ("loss", "count")


def _make_search(config: ConfigDict, problem: Problem, layout: Layout) -> Job:
    """Makes a search on one part of the training examples, validated on the other."""
    _require_problem(config, problem)
    require_settings(config, _NOT_IN_SEARCH, "a network of one's own")
    network = problem.network.with_parts(config.supernet.partial_channels)
    examples = problem.examples.train
    size = config.search.batch_size
    rows = split_train(count_examples(examples), config.search.train_fraction)
    for part, what in zip(rows, ("training", "validation"), strict=True):
        require_whole_batch(size, len(part), f"the {what} part")
    train, valid = (take_rows(examples, part) for part in rows)

    def apply(
        params: Params,
        stats: Stats,
        mixture: Mixture,
        inputs: Any,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Outputs, Stats]:
        with use_precision(config.precision):
            return network.apply(params, stats, mixture, inputs, key, train=train)

    method = make_method(
        config,
        network,
        (1, 1),
        costs=_costs,
        criterion=make_criterion(problem),
        apply=apply,
        optimizer=_optimizer(problem),
    )

    def predict(model: Supermodel, inputs: Any) -> Outputs:
        key = jax.random.wrap_key_data(model.key)
        return method.apply(
            model.params,
            model.stats,
            model.mixture,
            inputs,
            key,
            train=model.batch_statistics,
        )[0]

    return make_search_job(
        config,
        layout,
        method,
        score=problem.score,
        init_network=network.init,
        feed=shuffled_feed([train, valid], size, unit="examples"),
        prepare=_make_preparation(layout),
        held_out=single_pass_feed(valid, size, _mark, unit="examples"),
        examination=sum_metrics(problem, predict, layout),
        expected_cost=functools.partial(_expected_cost, config, problem),
        metrics=_SUMS,
    )


def _make_training(
    config: ConfigDict, problem: Problem, genotype: Genotype, layout: Layout
) -> Job:
    """Makes a training on all training examples, tested on the test examples."""
    _require_problem(config, problem, genotype.space)
    require_settings(config, _NOT_IN_TRAINING, "a network of one's own")
    network = problem.network.discrete(genotype)
    size = config.retrain.batch_size
    examples = problem.examples
    require_whole_batch(size, count_examples(examples.train), "the training set")

    def init_network(key: PRNGKeyArray) -> Initialized:
        return network.init(key, problem.network.arrays())

    apply = _network_apply(config, network)
    settings = config.retrain
    sgd = functools.partial(make_sgd, nesterov=settings.weights.nesterov)
    return make_training_job(
        config,
        layout,
        Training(
            apply,
            settings.microbatches,
            make_criterion(problem),
            _optimizer(problem) or sgd,
            ema=settings.ema_decay > 0,
        ),
        score=problem.score,
        init_network=init_network,
        feed=shuffled_feed([examples.train], size, unit="examples"),
        prepare=_make_preparation(layout),
        held_out=single_pass_feed(examples.test, size, _mark, unit="examples"),
        examination=sum_metrics(problem, _prediction(apply), layout),
        metrics=_SUMS,
    )


def make_module_inference(
    config: ConfigDict, problem: Problem, genotype: Genotype
) -> Callable[[TrainState, Inputs], Outputs]:
    """Makes the function of a network as it is tested, on one device.

    Args:
      config: settings of a run.
      problem: the network with open choices.
      genotype: its choices.

    Returns:
      (state of a training, what the network takes) -> its outputs.
    """
    return _prediction(_network_apply(config, problem.network.discrete(genotype)))


def _network_apply(config: ConfigDict, network: DiscreteNetwork) -> NetworkApply:
    def apply(
        params: Params,
        stats: Stats,
        inputs: Any,
        drop_rate: Float[Array, ""],
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Outputs, Stats]:
        del drop_rate
        with use_precision(config.precision):
            return network.apply(params, stats, inputs, key, train=train)

    return apply


def _prediction(apply: NetworkApply) -> Callable[[TrainState, Inputs], Outputs]:
    def predict(state: TrainState, inputs: Inputs) -> Outputs:
        params, stats = state.tested
        key = step_key(state.key, state.step)
        return apply(params, stats, inputs, jnp.zeros(()), key, train=False)[0]

    return predict


def make_criterion(problem: Problem) -> Criterion:
    """Returns a problem's loss as a search and a training take it.

    Args:
      problem: network, loss and metric.
    """

    def loss(outputs: Outputs, batch: Batch, scalars: Scalars) -> Float[Array, ""]:
        del scalars
        return problem.loss(outputs, problem.targets(batch))

    def metrics(loss: Float[Array, ""], outputs: Outputs, batch: Batch) -> Metrics:
        del outputs
        count = jnp.float32(jax.tree.leaves(batch)[0].shape[0])
        return {"loss": loss.astype(jnp.float32) * count, "count": count}

    def rewards(outputs: Outputs, batch: Batch) -> Array:
        each = problem.metric(outputs, problem.targets(batch))
        return jnp.asarray(problem.score.merit(each))

    return Criterion(problem.inputs, loss, metrics, rewards)


def sum_metrics(
    problem: Problem, predict: Callable[[Any, Any], Outputs], layout: Layout
) -> Examination:
    """Makes the test that adds up the metric and the loss of every example.

    Args:
      problem: network, loss and metric.
      predict: (model, inputs) -> outputs.
      layout: devices that share a batch.

    Returns:
      The test; its sums are ``metric`` and ``loss``.
    """
    each_loss = losses_of(problem.loss)

    def begin(model: Any) -> dict[str, Array]:
        del model
        return {"metric": jnp.zeros(()), "loss": jnp.zeros(())}

    def examine(model: Any, sums: dict[str, Array], marked: Any, i: Any) -> Any:
        del i
        batch, is_real = layout.spread(marked)
        outputs = predict(model, problem.inputs(batch))
        targets = problem.targets(batch)

        def add(total: Array, each: Array) -> Array:
            real = jnp.where(is_real, each, 0)
            return total + jnp.sum(real, dtype=jnp.float32)

        return {
            "metric": add(sums["metric"], problem.metric(outputs, targets)),
            "loss": add(sums["loss"], each_loss(outputs, targets)),
        }

    return Examination(begin, examine, lambda sums: sums)


def _mark(batch: Batch, is_real: Array) -> Any:
    return batch, is_real


def _make_preparation(layout: Layout) -> Callable[[Array, Batches], Batches]:
    return lambda key, stored: layout.spread(stored)


def _optimizer(problem: Problem) -> Optimizer | None:
    optimizer = problem.optimizer
    return None if optimizer is None else lambda scalars: optimizer


def _expected_cost(config: ConfigDict, problem: Problem, costs: str) -> ExpectedCost:
    del config
    return choice_costs(problem.network, costs)


def _costs(name: str, net: Any, size: tuple[int, int]) -> Costs:
    """Returns the cost of every option, for the term ``expected_cost``."""
    del size
    return option_costs(choice_costs(net, name), net)


def _load(config: ConfigDict) -> Problem:
    del config
    raise InputError(
        f"task={NAME} is of a network in Python: want darts_jax.make_problem(module, "
        "data=..., loss=...), given as the data of a verb"
    )


def _require_problem(config: ConfigDict, problem: Any, space: str = "") -> None:
    if not isinstance(problem, Problem):
        raise InputError(
            f"task={NAME} learns from {type(problem).__name__}; want a "
            "darts_jax.make_problem(module, data=..., loss=...)"
        )
    for named in (config.space, space or config.space):
        if named != problem.network.name:
            raise InputError(
                f"the network is {problem.network.name!r}, and {named!r} is asked for; "
                f"want space={problem.network.name}"
            )


_NOT_IN_SEARCH = {
    "data.class_weights": "none",
    "supernet.dtype": "float32",
    "search.validation": "train",
    "search.images": 0,
    "search.corruption.kind": "none",
    "search.hook": "none",
    "search.operation_stop.window": 0,
}
_NOT_IN_TRAINING = {
    "data.class_weights": "none",
    "retrain.dtype": "float32",
    "retrain.mixup": 0.0,
}

MODULE = Task(
    name=NAME,
    scores=SCORES,
    load=_load,
    make_search=_make_search,
    make_training=_make_training,
    expected_cost=_expected_cost,
)
