"""Names and settings of a search to the functions that fill its slots."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from darts_jax.bilevel.alignment import WEIGHT_HOOKS
from darts_jax.bilevel.architecture import ARCHITECTURE_UPDATES, uniform_simplex
from darts_jax.bilevel.discretization import (
    DISCRETIZATIONS,
    Discretization,
    weight_reader,
)
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
from darts_jax.bilevel.losses import CLASSIFICATION_CRITERION, Criterion
from darts_jax.bilevel.perturbation import PERTURBATIONS
from darts_jax.bilevel.regime import REGIMES
from darts_jax.bilevel.regularization import TERMS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.bilevel.step import Search
from darts_jax.bilevel.stopping import STOP_RULES, StopRule
from darts_jax.cost.expected import get_price
from darts_jax.cost.sites import Costs, operation_costs
from darts_jax.engine import seeds
from darts_jax.models import functional
from darts_jax.models.supernet import Supernet
from darts_jax.settings.combinations import hooked_cells
from darts_jax.settings.scalars import active_terms
from darts_jax.settings.schedules import Schedule
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Cell, Space
from darts_jax.types import EDGES, Alpha, Mask


def make_method(
    config: ConfigDict,
    net: Any,
    size: tuple[int, int],
    costs: Callable[[str, Any, tuple[int, int]], Costs] | None = None,
    criterion: Criterion = CLASSIFICATION_CRITERION,
) -> Search:
    """The step of a search, every slot filled as the settings say.

    Args:
      net: a supernet: a module with a ``space``, called as `Supernet` is.
      size: height and width of the images.
      costs: (``search.costs``, net, size) -> those of its operations; by default of
        `Supernet`'s.
      criterion: the task's.

    Raises:
      InputError: the table of costs that is asked for is not at hand or not of this
        network.
    """
    costs = costs or _costs
    space, settings = net.space, config.search
    terms = {name: TERMS[name] for name in active_terms(settings)}
    auxiliary = not Schedule.parse(settings.auxiliary_skip).is_zero
    return Search(
        functional.supernet_apply(net),
        RELAXATIONS[settings.relaxation],
        bind_settings(HYPERGRADIENTS[settings.hypergradient], settings.inner),
        full_mask(space),
        settings.microbatches,
        update=ARCHITECTURE_UPDATES[settings.architecture.rule],
        regime=REGIMES[settings.regime],
        terms=terms,
        perturbation=PERTURBATIONS[settings.perturbation],
        weight_hook=WEIGHT_HOOKS[settings.hook],
        hook_cells=None if settings.hook == "none" else hooked_cells(config, space),
        freezes_architecture=settings.warmup > 0 or settings.selection.tune_epochs > 0,
        targets=_targets(space) if settings.edge_weights else {},
        skips=_skips(space) if auxiliary else {},
        costs=costs(settings.costs, net, size) if "expected_cost" in terms else None,
        criterion=criterion,
        nesterov=settings.weights.nesterov,
        weights_first=settings.first_step == "weights",
    )


def _costs(name: str, net: Supernet, size: tuple[int, int]) -> Costs:
    """Of every operation of a supernet, for the term ``expected_cost``."""
    return operation_costs(net, size, get_price(name).operation)


def make_discretization(config: ConfigDict) -> Discretization:
    """The rule by which a genotype is read off saved parameters.

    It is the space's own where the config's needs the supernet beside them.
    """
    settings = config.search
    name = settings.discretization
    if name == "auto" or name in SELECTIONS:
        name = get_space(config.space).discretization
    function = bind_settings(DISCRETIZATIONS[name], settings.selection)
    return functools.partial(function, read=weight_reader(settings.relaxation))


def make_stop(config: ConfigDict) -> StopRule | None:
    """The rule that ends a search early, if there is one."""
    name = config.search.stop
    return (
        None
        if name == "none"
        else bind_settings(STOP_RULES[name], config.search.stopping)
    )


def bind_settings(
    function: Callable[..., Any], settings: ConfigDict
) -> Callable[..., Any]:
    """The function with those of the settings that it has arguments for."""
    known = inspect.signature(function).parameters
    return functools.partial(
        function, **{k: v for k, v in settings.items() if k in known}
    )


def full_mask(space: Space) -> Mask:
    """Every operation that there is, bool [edge, op] by kind."""
    return {kind: np.array(cell.mask) for kind, cell in space.cells.items()}


def initial_alpha(space: Space, settings: ConfigDict, seed: Any, scale: Any) -> Alpha:
    """Logits drawn from scale * N(0, 1), or equal shares on the simplex."""
    if RELAXATIONS[settings.relaxation].simplex:
        return uniform_simplex(full_mask(space))
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


def _targets(space: Space) -> dict[str, tuple[int, ...]]:
    return {
        kind: tuple(edge.target for edge in cell.edges)
        for kind, cell in space.cells.items()
    }


def _skips(space: Space) -> dict[str, Float[Array, "edge op"]]:
    """1 where the operation is a skip connection."""
    return {
        kind: jnp.array(
            [
                [
                    float(o < len(edge.operations) and edge.operations[o] == SKIP)
                    for o in range(cell.shape[1])
                ]
                for edge in cell.edges
            ]
        )
        for kind, cell in space.cells.items()
    }


SKIP = "skip_connect"
