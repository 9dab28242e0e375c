"""A search out of a config, whatever its task."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from darts_jax.bilevel.curvature import cosine, top_eigenvalue
from darts_jax.bilevel.hypergradient import exact, first_order
from darts_jax.bilevel.step import Search
from darts_jax.cost.expected import get_price
from darts_jax.engine import program, seeds
from darts_jax.engine.devices import Layout, make_layout
from darts_jax.engine.job import Job, job_of, scalar_arrays
from darts_jax.engine.task import Supermodel
from darts_jax.settings.scalars import search_scalars
from darts_jax.spaces import get_space
from darts_jax.tasks.registry import get_score, get_task
from darts_jax.tasks.slots import full_mask, initial_alpha
from darts_jax.training.cost_limits import make_budget
from darts_jax.types import Batch, Mask, Scalars, SearchState, step_key


def make_search(config: ConfigDict, dataset: Any, layout: Layout | None = None) -> Job:
    """The search that a config describes, on the training data of a data set.

    Args:
      dataset: as the config's task loads it.
      layout: in place of the one that the config asks for.

    Raises:
      InputError: an unknown name, data that do not suit the network, a batch too
        large, or a budget of networks that have none.
    """
    task, settings = get_task(config), config.search
    size, space = settings.batch_size, get_space(config.space)
    layout = layout or make_layout(config.devices, size, "search.batch_size")
    problem = task.search(config, dataset, layout)
    search, feed = problem.method, problem.feed
    search = dataclasses.replace(search, cost_constraint=make_budget(config, dataset))
    if config.baseline.equal_cost:
        get_price(config.baseline.equal_cost)  # Or it is found wrong after the search.

    def init(start: Any) -> Any:
        seed = start["seed"]
        params, stats = problem.init(seeds.stream_key(seed, seeds.INIT))
        alpha = initial_alpha(space, settings, seed, start["init_scale"])
        key = seeds.raw_stream_key(seed, seeds.STEPS)
        return search.init(key, params, stats, alpha, start["mask"])

    def batches(state: Any, data: Any, order: Any, i: Any) -> Any:
        key = step_key(state.key, state.step)
        return problem.prepare(key, feed.batches(data, order, i))

    def step(state: Any, data: Any, order: Any, i: Any, scalars: Any) -> Any:
        train, valid = batches(state, data, order, i)
        scalars = problem.paced(scalars, train)
        new, metrics = search.step(state, train, valid, scalars)
        return problem.followed(new, valid, scalars), metrics

    def model(state: Any, scalars: Any) -> Supermodel:
        key = step_key(state.key, state.step)
        mixture = search.mixture(key, state.alpha, state.mask, scalars)
        return Supermodel(state.params, state.stats, mixture, state.key)

    def probe(measure: Callable[..., Any]) -> Callable[..., Any]:
        def run(state: Any, data: Any, scalars: Any, epoch: Any, i: Any) -> Any:
            examples = batches(state, data, feed.order(state.key, epoch), i)
            return measure(state, *examples, scalars)

        return run

    products = settings.diagnostics.products
    return job_of(
        task,
        get_score(config),
        problem,
        layout=layout,
        start=search_start(config),
        init=init,
        run=program.epoch_program(feed.order, step),
        scalars=lambda epoch: scalar_arrays(search_scalars(settings, epoch)),
        model=model,
        epochs=settings.epochs,
        metrics=(
            *problem.metrics,
            "gradient_norm",
            *(("multiplier",) if search.cost_constraint else ()),
        ),
        probes={
            "eigenvalue": probe(_eigenvalue(search, products)),
            "cosine": probe(_cosine(search)),
        },
    )


def search_start(config: ConfigDict, mask: Mask | None = None) -> dict[str, Any]:
    """What the first state of a search depends on.

    Args:
      mask: which operations take part, if not all that there are.
    """
    scale = config.search.architecture.init_scale
    return {
        "seed": np.asarray(config.seed, np.int32),
        "init_scale": np.asarray(scale, np.float32),
        "mask": mask or full_mask(get_space(config.space)),
    }


def _eigenvalue(search: Search, products: int) -> Callable[..., Any]:
    """Of the validation loss's Hessian by alpha, the largest (R-DARTS)."""

    def measure(
        state: SearchState, train: Batch, valid: Batch, scalars: Scalars
    ) -> Any:
        del train
        key = step_key(state.key, state.step)
        loss = search.loss_on(state, valid, key, scalars)
        found = top_eigenvalue(
            lambda alpha: loss(state.params, alpha), state.alpha, key, products
        )
        return {"eigenvalue": found.largest}

    return measure


def _cosine(search: Search) -> Callable[..., Any]:
    """Between the first-order and the exact hypergradient."""

    def measure(
        state: SearchState, train: Batch, valid: Batch, scalars: Scalars
    ) -> Any:
        keys = jax.random.split(step_key(state.key, state.step))
        problem = (
            search.loss_on(state, train, keys[0], scalars),
            search.loss_on(state, valid, keys[1], scalars),
            *(state.params, state.alpha, search.inner_step(state, scalars)),
        )
        return {"hypergradient_cosine": cosine(first_order(*problem), exact(*problem))}

    return measure
