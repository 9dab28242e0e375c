"""Search jobs out of settings: here every name becomes a function."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from darts_jax.bilevel.alignment import WEIGHT_HOOKS
from darts_jax.bilevel.architecture import (
    ARCHITECTURE_UPDATES,
    ArchitectureUpdate,
    uniform_simplex,
)
from darts_jax.bilevel.curvature import cosine, top_eigenvalue
from darts_jax.bilevel.decisions import Decisions
from darts_jax.bilevel.discretization import (
    DISCRETIZATIONS,
    Discretization,
    weight_reader,
)
from darts_jax.bilevel.elastic import AXES, Elastic
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS, exact, first_order
from darts_jax.bilevel.losses import CLASSIFICATION_CRITERION, Criterion
from darts_jax.bilevel.operation_stop import OperationStop
from darts_jax.bilevel.paths import PATH_RULES, Paths
from darts_jax.bilevel.perturbation import PERTURBATIONS
from darts_jax.bilevel.regime import REGIMES
from darts_jax.bilevel.regularization import TERMS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.bilevel.step import Search
from darts_jax.bilevel.stopping import STOP_RULES, StopRule
from darts_jax.bilevel.weight_training import Optimizer, make_sgd
from darts_jax.cost.expected import ExpectedCost, get_price
from darts_jax.cost.measured import (
    main_effects,
    measured_column,
    read_measured_cost,
)
from darts_jax.cost.sites import Costs, operation_costs
from darts_jax.engine import program, seeds
from darts_jax.engine.devices import Layout
from darts_jax.engine.feed import Batches, Feed
from darts_jax.engine.job import Job, Score, Supermodel, scalar_arrays
from darts_jax.engine.program import METRICS, Examination
from darts_jax.models import functional
from darts_jax.models.functional import Initialized
from darts_jax.models.supernet import Supernet
from darts_jax.settings.combinations import hooked_cells
from darts_jax.settings.scalars import active_terms, has_elastic, search_scalars
from darts_jax.settings.schedules import Schedule
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Cell, Space
from darts_jax.spaces.moves import RULES
from darts_jax.spaces.sizes import rank_operations
from darts_jax.spaces.widths import width_share
from darts_jax.tasks.cost_limits import make_cost_constraint
from darts_jax.types import (
    EDGES,
    Alpha,
    Batch,
    Mask,
    Metrics,
    Scalars,
    SearchState,
    SupernetApply,
    Targets,
    step_key,
)

SKIP = "skip_connect"
NONE = "none"


def make_search_job(
    config: ConfigDict,
    layout: Layout,
    method: Search,
    *,
    score: Score,
    init_network: Callable[[PRNGKeyArray], Initialized],
    feed: Feed,
    prepare: Callable[[Array, Batches], Batches],
    held_out: Feed,
    examination: Examination,
    expected_cost: Callable[[str], ExpectedCost],
    chance: float | None = None,
    metrics: tuple[str, ...] = METRICS,
    pace: Callable[[Scalars, Batch], Scalars] = lambda scalars, batch: scalars,
    follow: Callable[[SearchState, Batch, Scalars], SearchState] = (
        lambda state, batch, scalars: state
    ),
) -> Job:
    """Makes the job of a search from what its task knows.

    Args:
      config: settings of the run.
      layout: places of the arrays on devices.
      method: the step of the search; see `make_method`.
      score: measure of the supernet.
      init_network: key -> the supernet's first parameters and statistics; the key is
        consumed.
      feed: of the training part, which fixes the length of an epoch, and the
        validation part.
      prepare: (key of the step, stored batches) -> batches as ``method`` takes them,
        inside the program.
      held_out: validation batches that the supernet is tested on.
      examination: test of a `Supermodel`.
      expected_cost: unit of cost, as ``search.costs`` -> expected cost of the networks
        that would be retrained; asked for a search under a budget alone.
      chance: loss of a guess, where it is known.
      metrics: names of the criterion's sums.
      pace: (scalars, training batch) -> the scalars that this batch wants.
      follow: (state, validation batch, scalars) -> the state with what the next step
        needs of a validation batch, after a step.

    Returns:
      The job; its probes are ``eigenvalue`` and ``cosine``.

    Raises:
      InputError: a budget of networks whose costs are not known.
    """
    settings = config.search
    space = get_space(config.space)
    constraint = make_cost_constraint(config, expected_cost)
    method = dataclasses.replace(method, cost_constraint=constraint)
    equal = config.baseline.equal_cost
    if equal and measured_column(equal) is None:
        get_price(equal)  # Or it is found wrong after the search.

    def init(start: Any) -> SearchState:
        seed = start["seed"]
        params, stats = init_network(seeds.stream_key(seed, seeds.INIT))
        alpha = initial_alpha(space, settings, seed, start["init_scale"])
        key = seeds.raw_stream_key(seed, seeds.STEPS)
        return method.init(key, params, stats, alpha, start["mask"])

    def batches(state: SearchState, data: Any, order: Any, i: Any) -> Batches:
        key = step_key(state.key, state.step)
        return prepare(key, feed.batches(data, order, i))

    def step(
        state: SearchState, data: Any, order: Any, i: Any, scalars: Scalars
    ) -> tuple[SearchState, Metrics]:
        train, valid = batches(state, data, order, i)
        scalars = pace(scalars, train)
        new, sums = method.step(state, train, valid, scalars)
        return follow(new, valid, scalars), sums

    def model(state: SearchState, scalars: Scalars) -> Supermodel:
        key = step_key(state.key, state.step)
        mixture = method.mixture(key, state.alpha, state.mask, scalars)
        return Supermodel(state.params, state.stats, mixture, state.key)

    def probe(measure: Callable[..., Any]) -> Callable[..., Any]:
        def run(
            state: SearchState, data: Any, scalars: Scalars, epoch: Any, i: Any
        ) -> Metrics:
            order = feed.order(state.key, epoch)
            train, valid = batches(state, data, order, i)
            found: Metrics = measure(method, state, train, valid, scalars)
            return found

        return run

    products = settings.diagnostics.products
    return Job(
        layout=layout,
        method=method,
        start=search_start(config),
        init=init,
        feed=feed,
        run=program.epoch_program(feed.order, step),
        scalars=lambda epoch: scalar_arrays(search_scalars(settings, epoch)),
        epochs=settings.epochs,
        model=model,
        examination=examination,
        held_out=held_out,
        score=score,
        metrics=(
            *metrics,
            "gradient_norm",
            *(("multiplier",) if method.cost_constraint else ()),
            *(("stopped",) if method.operation_stop else ()),
        ),
        probes={
            "eigenvalue": probe(functools.partial(_eigenvalue, products=products)),
            "cosine": probe(_hypergradient_cosine),
        },
        chance=chance,
    )


def search_start(config: ConfigDict, mask: Mask | None = None) -> dict[str, Any]:
    """Returns the arrays that the first state of a search depends on.

    Args:
      config: settings of the run.
      mask: kind -> bool [edge, op]: the operations that take part, if not all.
    """
    scale = config.search.architecture.init_scale
    return {
        "seed": np.asarray(config.seed, np.int32),
        "init_scale": np.asarray(scale, np.float32),
        "mask": mask or full_mask(get_space(config.space)),
    }


def make_method(
    config: ConfigDict,
    net: Any,
    size: tuple[int, int],
    costs: Callable[[str, Any, tuple[int, int]], Costs] | None = None,
    criterion: Criterion = CLASSIFICATION_CRITERION,
    apply: SupernetApply | None = None,
    optimizer: Optimizer | None = None,
) -> Search:
    """Makes the step of a search, every slot filled as the settings say.

    Args:
      config: settings of the run.
      net: supernet: a module with a ``space``, called as `Supernet` is.
      size: height and width of the images.
      costs: (``search.costs``, net, size) -> cost of every operation, for the term
        ``expected_cost``; by default that of a `Supernet`'s.
      criterion: loss and metrics of the task.
      apply: forward pass of ``net``, if it is no `Supernet` or mapped over devices.
      optimizer: change of the weights, in place of the settings'.

    Raises:
      InputError: the table of costs that is asked for is not at hand or not of this
        network.
    """
    costs = costs or _operation_costs
    space = net.space
    settings = config.search
    terms = {name: TERMS[name] for name in active_terms(settings)}
    targets = edge_targets(space) if settings.edge_weights else {}
    auxiliary = not Schedule.parse(settings.auxiliary_skip).is_zero
    skips = {
        kind: jnp.array(places, float)
        for kind, places in _find_operation(space, SKIP).items()
    }
    return Search(
        apply or functional.supernet_apply(net, config.precision),
        RELAXATIONS[settings.relaxation],
        bind_settings(HYPERGRADIENTS[settings.hypergradient], settings.inner),
        full_mask(space),
        settings.microbatches,
        update=_bind_targets(ARCHITECTURE_UPDATES[settings.architecture.rule], targets),
        regime=REGIMES[settings.regime],
        terms=terms,
        perturbation=PERTURBATIONS[settings.perturbation],
        weight_hook=WEIGHT_HOOKS[settings.hook],
        hook_cells=None if settings.hook == "none" else hooked_cells(config, space),
        freezes_architecture=settings.warmup > 0 or settings.selection.tune_epochs > 0,
        drops_edges=settings.selection.tune_epochs > 0,
        optimizer=optimizer
        or functools.partial(make_sgd, nesterov=settings.weights.nesterov),
        weights_first=settings.first_step == "weights",
        targets=targets or (edge_targets(space) if settings.edges_per_node else {}),
        edges_per_node=settings.edges_per_node,
        skips=skips if auxiliary else {},
        costs=costs(settings.costs, net, size) if "expected_cost" in terms else None,
        criterion=criterion,
        decisions=_make_decisions(config, space) if settings.decisions.every else None,
        operation_stop=_make_operation_stop(settings.operation_stop.window),
        floods=not Schedule.parse(settings.flood).is_zero,
        paths=_make_paths(settings, net, size),
        elastic=make_elastic(space) if has_elastic(settings) else None,
    )


def _make_paths(settings: ConfigDict, net: Any, size: tuple[int, int]) -> Paths | None:
    """Returns the paths of a step of the weights; None where it has one mixture."""
    if settings.paths.rule == "none":
        return None
    rule = PATH_RULES[settings.paths.rule]
    count = rule.count(full_mask(net.space), settings.paths.drawn)
    return Paths(rule, count, _operation_sizes(net, size) if rule.distils else {})


def _operation_sizes(net: Supernet, size: tuple[int, int]) -> Costs:
    """Returns multiply-accumulates of operations, shares of widths, NaN for none."""
    sizes = operation_costs(net, size, get_price("macs").operation)
    for kind, cell in net.space.cells.items():
        for e, edge in enumerate(cell.edges):
            for o, name in enumerate(edge.operations):
                share = width_share(name)
                if share is not None:
                    sizes[kind][e, o] = share
                elif name == NONE:
                    sizes[kind][e, o] = np.nan
    return {kind: own.astype(np.float32) for kind, own in sizes.items()}


def make_elastic(space: Space) -> Elastic:
    """Returns the ranks by which smaller operations of a space take part later.

    Args:
      space: the space that is searched.
    """
    return Elastic(
        {
            axis: {
                kind: np.array(rank_operations(cell, axis))
                for kind, cell in space.cells.items()
            }
            for axis in AXES
        }
    )


def _make_operation_stop(window: int) -> OperationStop | None:
    return OperationStop(functional.label_operations, window) if window else None


def _make_decisions(config: ConfigDict, space: Space) -> Decisions:
    """Returns the rule by which edges are decided one after another."""
    asked = config.search.discretization
    rule = RULES.get(asked, RULES.get(space.discretization, RULES["argmax"]))
    contests: dict[str, tuple[int, ...]] = {}
    places: dict[str, tuple[int, ...]] = {}
    for kind, cell in space.cells.items():
        of_edge = {
            e: (number, contest.keeps)
            for number, contest in enumerate(rule.contests(cell))
            for e in contest.edges
        }
        every = range(len(cell.edges))
        contests[kind] = tuple(of_edge[e][0] for e in every)
        places[kind] = tuple(of_edge[e][1] for e in every)
    return Decisions(
        full=full_mask(space),
        nothing=_find_operation(space, NONE),
        contests=contests,
        places=places,
    )


def _bind_targets(update: ArchitectureUpdate, targets: Targets) -> ArchitectureUpdate:
    """Returns an update of the edges' shares, too, if it has one and they have any."""
    if not targets or update.with_edges is None:
        return update
    return dataclasses.replace(update, transformation=update.with_edges(targets))


def _operation_costs(name: str, net: Supernet, size: tuple[int, int]) -> Costs:
    column = measured_column(name)
    if column is not None:
        return main_effects(read_measured_cost(column, net.space))
    return operation_costs(net, size, get_price(name).operation)


def make_discretization(config: ConfigDict) -> Discretization:
    """Returns the rule that reads a genotype off saved architecture parameters.

    It is the space's own where the config's needs the supernet beside them.

    Args:
      config: settings of the run.
    """
    settings = config.search
    name = settings.discretization
    if name == "auto" or name in SELECTIONS:
        name = get_space(config.space).discretization
    function = bind_settings(DISCRETIZATIONS[name], settings.selection)
    return functools.partial(function, read=weight_reader(settings.relaxation))


def make_stop(config: ConfigDict) -> StopRule | None:
    """Returns the rule that ends a search early; None without one.

    Args:
      config: settings of the run.
    """
    name = config.search.stop
    if name == "none":
        return None
    return bind_settings(STOP_RULES[name], config.search.stopping)


def bind_settings(
    function: Callable[..., Any], settings: ConfigDict
) -> Callable[..., Any]:
    """Returns a function with those settings bound that it has arguments for.

    Args:
      function: entry of a table, such as a hypergradient.
      settings: section of the config that its choices share.
    """
    known = inspect.signature(function).parameters
    return functools.partial(
        function, **{k: v for k, v in settings.items() if k in known}
    )


def full_mask(space: Space) -> Mask:
    """Returns where there is an operation: kind -> bool [edge, op].

    Args:
      space: the space that is searched.
    """
    return {kind: np.array(cell.mask) for kind, cell in space.cells.items()}


def initial_alpha(space: Space, settings: ConfigDict, seed: Any, scale: Any) -> Alpha:
    """Draws logits from scale * N(0, 1), or returns equal shares on the simplex.

    Args:
      space: the space that is searched.
      settings: section ``search`` of the config.
      seed: of the run, int32.
      scale: standard deviation of the logits.

    Returns:
      kind -> [edge, op] and, where edges have weights of their own, kind + EDGES ->
      [edge].
    """
    if RELAXATIONS[settings.relaxation].simplex:
        targets = edge_targets(space) if settings.edge_weights else {}
        return uniform_simplex(full_mask(space), targets)
    keys = jax.random.split(seeds.stream_key(seed, seeds.ALPHA), len(space.cells))
    alpha: Alpha = {
        kind: scale * jax.random.normal(key, cell.shape)
        for key, (kind, cell) in zip(keys, space.cells.items(), strict=True)
    }
    if not settings.edge_weights:
        return alpha
    return alpha | {
        kind + EDGES: scale * _edge_noise(key, cell)
        for key, (kind, cell) in zip(keys, space.cells.items(), strict=True)
    }


def _edge_noise(key: Any, cell: Cell) -> Float[Array, " edge"]:
    return jax.random.normal(jax.random.fold_in(key, 1), (len(cell.edges),))


def edge_targets(space: Space) -> Targets:
    """Returns the state in which each edge ends, by kind of cell.

    In a cell with contests it is a number that edges share that compete.

    Args:
      space: the space that is searched.
    """
    return {kind: cell.rivals for kind, cell in space.cells.items()}


def _find_operation(space: Space, operation: str) -> dict[str, np.ndarray]:
    """Returns kind -> bool [edge, op], True where an edge has this operation."""
    return {
        kind: np.array(
            [
                [
                    o < len(edge.operations) and edge.operations[o] == operation
                    for o in range(cell.shape[1])
                ]
                for edge in cell.edges
            ]
        )
        for kind, cell in space.cells.items()
    }


def _eigenvalue(
    method: Search,
    state: SearchState,
    train: Batch,
    valid: Batch,
    scalars: Scalars,
    products: int,
) -> Metrics:
    """Computes the largest eigenvalue of the validation loss's Hessian by alpha."""
    del train
    key = step_key(state.key, state.step)
    loss = method.loss_on(state, valid, key, scalars)
    found = top_eigenvalue(
        lambda alpha: loss(state.params, alpha), state.alpha, key, products
    )
    return {"eigenvalue": found}


def _hypergradient_cosine(
    method: Search, state: SearchState, train: Batch, valid: Batch, scalars: Scalars
) -> Metrics:
    """Computes the cosine between the first-order and the exact hypergradient."""
    keys = jax.random.split(step_key(state.key, state.step))
    train_loss = method.loss_on(state, train, keys[0], scalars)
    valid_loss = method.loss_on(state, valid, keys[1], scalars)
    step = method.inner_step(state, scalars)
    first, full = (
        gradient(train_loss, valid_loss, state.params, state.alpha, step)
        for gradient in (first_order, exact)
    )
    return {"hypergradient_cosine": cosine(first, full)}
