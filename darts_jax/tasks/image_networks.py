"""Networks of images from the settings; the size and the cost of retrained ones.

A family of spaces has a builder of supernets and one of a genotype's networks: modules
that are called as `Supernet` and `Network` are. To add one: a row in each table.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array
from ml_collections import ConfigDict

from darts_jax import kernels
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.cost.expected import (
    ExpectedCost,
    get_price,
    make_empty_network,
    make_expected_cost,
)
from darts_jax.cost.measured import measured_column, read_measured_cost
from darts_jax.cost.sites import Site, network_sites, supernet_sites
from darts_jax.data.dataset import KINDS, ImageSet
from darts_jax.engine.devices import Layout
from darts_jax.engine.job import Supermodel
from darts_jax.errors import InputError
from darts_jax.models import functional
from darts_jax.models.execution import Execution
from darts_jax.models.network import Network
from darts_jax.models.operations.corruption import CORRUPTIONS, TAKES_PARTS
from darts_jax.models.operations.image import get_operation, require_operation
from darts_jax.models.operations.operation import traits
from darts_jax.models.operations.soundness import require_operation_sound
from darts_jax.models.supernet import Supernet
from darts_jax.settings.combinations import corruption_operations
from darts_jax.spaces import get_space
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import Cell, Genotype, Macro, Space
from darts_jax.spaces.structure import POOL, RESIDUAL
from darts_jax.spaces.widths import COLUMNS
from darts_jax.tasks.image_data import normalize_images
from darts_jax.tasks.task import require_family
from darts_jax.types import NetworkApply, SupernetApply, TrainState, step_key

_ANY_CHANNELS = 8
_FEW_EDGES = 8  # between NAS-Bench-201's 6 and DARTS's 14


def make_supernet(config: ConfigDict, dataset: ImageSet) -> Any:
    """Makes the supernet that is searched.

    Args:
      config: settings of a run.
      dataset: images, of which shape and classes are read.

    Raises:
      InputError: an unknown name, an operation that does not work, or images too small.
    """
    return require_family(get_space(config.space), SUPERNETS)(config, dataset)


def make_network(config: ConfigDict, dataset: ImageSet, genotype: Genotype) -> Any:
    """Makes the network of a genotype, as it is retrained.

    Args:
      config: settings of a run.
      dataset: images, of which shape and classes are read.
      genotype: the network's cells.

    Raises:
      InputError: an unknown name, an operation that does not work, or images too small.
    """
    build = require_family(get_space(check_genotype(genotype).space), NETWORKS)
    return build(config, dataset, genotype)


def make_empty_image_network(
    config: ConfigDict, dataset: ImageSet, top: nn.Module | None = None
) -> Network:
    """Makes a network of the size that ``retrain`` has, with cells without choices.

    Args:
      config: settings of a run.
      dataset: images, of which the classes are read.
      top: module in place of the classifier.
    """
    settings = config.retrain
    net = make_empty_network(
        get_space(config.space),
        dataset.classes,
        settings.cells,
        settings.channels,
        settings.network == "imagenet",
    )
    return net.clone(top=top)


def expected_image_cost(
    config: ConfigDict, dataset: ImageSet, costs: str, top: nn.Module | None = None
) -> ExpectedCost:
    """Returns the expected cost of the networks that ``retrain`` would train.

    Args:
      config: settings of a run.
      dataset: images, of which shape and classes are read.
      costs: unit of cost, as ``search.costs``.
      top: module in place of the classifier.

    Raises:
      InputError: the table of costs is not at hand, or lacks operations.
    """
    column = measured_column(costs)
    if column is not None:
        return read_measured_cost(column, get_space(config.space))
    net = make_empty_image_network(config, dataset, top)
    price = get_price(costs)
    return make_expected_cost(get_space(config.space), net, dataset.image_shape, price)


def _supernet(config: ConfigDict, dataset: ImageSet) -> Supernet:
    space = get_space(config.space)
    settings = config.supernet
    imagenet = settings.network == "imagenet"
    _require_plain_stem("supernet", imagenet, space)
    halvings = space.macro.halvings(settings.cells) + 3 * imagenet
    _require_size(dataset, space.macro, halvings)
    _require_columns(space, dataset)
    sampled = RELAXATIONS[config.search.relaxation].sampled
    dtype = jnp.dtype(settings.dtype)
    kind = config.search.corruption.kind
    net = Supernet(
        space,
        dataset.classes,
        settings.cells,
        settings.channels,
        settings.partial_channels,
        _execution(space, dtype, sampled)
        if settings.execution == "auto"
        else settings.execution,
        "edge" if settings.remat == "auto" else settings.remat,
        dtype,
        sampled=sampled,
        corruptions=tuple(
            (name, CORRUPTIONS[kind]) for name in corruption_operations(config)
        ),
        imagenet=imagenet,
        entangled=settings.entangled,
        entangled_expansions=settings.entangled_expansions,
    )
    _require_operations(net, dataset.image_shape)
    return net


def _require_operations(net: Supernet, image_shape: tuple[int, int, int]) -> None:
    """Checks the operations of a supernet, each where it stands."""
    variants = net.space.supernet_variants
    for operation in (*variants.values(), *_operations_of(net.space)):
        require_operation(operation)
    for choice in supernet_sites(net, image_shape[:2]):
        named = variants.get(choice.site.operation, choice.site.operation)
        site = dataclasses.replace(choice.site, operation=named)
        _require_sound(site, discrete=False)


def _operations_of(space: Space) -> set[str]:
    return {name for cell in space.cells.values() for name in cell.operations}


def _take_parts(names: Iterable[str]) -> bool:
    """Returns whether devices may compute parts of a batch by these operations."""
    modules = (
        get_operation(name)(_ANY_CHANNELS, stride, discrete)
        for name, stride, discrete in itertools.product(names, (1, 2), (False, True))
    )
    return all(traits(module).takes_parts for module in modules)


def _require_sound(site: Site, *, discrete: bool) -> None:
    require_operation_sound(
        site.operation,
        get_operation(site.operation),
        (site.height, site.width, site.inputs),
        site.channels,
        site.stride,
        discrete=discrete,
    )


def _execution(space: Space, dtype: Any, sampled: bool) -> Execution:
    """Returns how edges are walked where no setting says it.

    One by one on CPU, as that takes least code and memory, and leaves out operations
    that a sample does not run. But few edges are as little code together, and where
    kernels read their state in place, take three fifths of the time.
    """
    if jax.default_backend() == "gpu":
        return "joined"
    if jax.default_backend() != "cpu":
        return "batch"
    in_place = jax.device_count() == 1 and kernels.has_kernels(dtype)
    few = all(_few_share_states(cell) for cell in space.cells.values())
    return "batch" if few and in_place and not sampled else "scan"


def _few_share_states(cell: Cell) -> bool:
    """Returns whether some edges leave a state together, and all are few."""
    sources = {edge.source for edge in cell.edges}
    return len(sources) < len(cell.edges) <= _FEW_EDGES


def _network(config: ConfigDict, dataset: ImageSet, genotype: Genotype) -> Network:
    settings = config.retrain
    macro = get_space(genotype.space).macro
    kinds = macro.layout(settings.cells)
    for cell in genotype.cells.values():
        for choice in cell.choices:
            require_operation(choice.operation)
    missing = {k for k in kinds if k not in (*genotype.cells, RESIDUAL, POOL)}
    if missing:
        raise InputError(
            f"the genotype has cells {sorted(genotype.cells)}; "
            f"space {genotype.space!r} needs {sorted(missing)} too"
        )
    _require_columns(get_space(genotype.space), dataset)
    if genotype.columns == ():
        raise InputError("the genotype takes no column; want one or more")
    imagenet = settings.network == "imagenet"
    _require_plain_stem("retrain", imagenet, get_space(genotype.space))
    _require_size(dataset, macro, macro.halvings(settings.cells) + 3 * imagenet)
    net = Network(
        genotype,
        macro,
        dataset.classes,
        settings.cells,
        settings.channels,
        imagenet,
        auxiliary=settings.auxiliary_weight > 0,
        dtype=jnp.dtype(settings.dtype),
    )
    for site in network_sites(net, dataset.image_shape):
        _require_sound(site, discrete=True)
    return net


def make_supernet_apply(
    config: ConfigDict, net: Supernet, layout: Layout
) -> SupernetApply:
    """Returns the forward pass of a supernet on the devices that share a batch.

    Args:
      config: settings of a run.
      net: the supernet.
      layout: the devices.
    """
    apply = functional.supernet_apply(net, config.precision)
    variants = net.space.supernet_variants
    names = {variants.get(name, name) for name in _operations_of(net.space)}
    corruptions = {corruption for _, corruption in net.corruptions}
    divisible = _take_parts(names) and corruptions <= TAKES_PARTS
    return layout.over_batch(apply, place=3, divisible=divisible)


def make_network_apply(
    config: ConfigDict, net: Network, layout: Layout
) -> NetworkApply:
    """Returns the forward pass of a genotype's network on devices that share a batch.

    Args:
      config: settings of a run.
      net: the network.
      layout: the devices.
    """
    apply = functional.network_apply(net, config.precision)
    cells = net.genotype.cells.values()
    names = {choice.operation for cell in cells for choice in cell.choices}
    return layout.over_batch(apply, place=2, divisible=_take_parts(names))


def make_supernet_prediction(
    method: Search, dataset: ImageSet, layout: Layout
) -> Callable[[Supermodel, Array], Any]:
    """Returns the forward pass of a supernet as it is tested.

    Args:
      method: the search.
      dataset: images, of which mean and deviation are read.
      layout: devices that share a batch.

    Returns:
      (model, stored images [batch, height, width, channel]) -> outputs.
    """

    def predict(model: Supermodel, images: Array) -> Any:
        clean = normalize_images(dataset, images, layout)
        key = jax.random.wrap_key_data(model.key)
        # A mixture of its own has no strength of corruption, in training either.
        outputs, _ = method.apply(
            model.params,
            model.stats,
            model.mixture,
            clean,
            key,
            train=model.batch_statistics,
        )
        return outputs

    return predict


def make_network_prediction(
    apply: NetworkApply, dataset: ImageSet, layout: Layout
) -> Callable[[TrainState, Array], Any]:
    """Returns the forward pass of a genotype's network as it is tested.

    Args:
      apply: forward pass of the network.
      dataset: images, of which mean and deviation are read.
      layout: devices that share a batch.

    Returns:
      (state, stored images [batch, height, width, channel]) -> the main outputs.
    """

    def predict(state: TrainState, images: Array) -> Any:
        params, stats = state.tested
        outputs, _ = apply(
            params,
            stats,
            normalize_images(dataset, images, layout),
            jnp.zeros(()),
            step_key(state.key, state.step),
            train=False,
        )
        return outputs.main

    return predict


def _require_plain_stem(part: str, imagenet: bool, space: Space) -> None:
    if not imagenet:
        return
    if space.macro.widths:
        raise InputError(
            f"{part}.network=imagenet has a stem of its own, and space "
            f"{space.name!r} another; want cifar, which is for any size"
        )
    # The stem's two states differ in size, which a projection mends.
    if not space.macro.preprocesses and any(c.inputs > 1 for c in space.cells.values()):
        raise InputError(
            f"{part}.network=imagenet gives cells two inputs that differ in size, and "
            f"space {space.name!r} projects none; want cifar"
        )


def _require_size(dataset: ImageSet, macro: Macro, halvings: int) -> None:
    """Refuses data of another kind than the space's, and too small ones."""
    kind = KINDS[macro.axes]
    if dataset.kind != kind:
        raise InputError(
            f"data {dataset.name!r} are {dataset.kind}, and the space has operations "
            f"on {kind}; {_SPACES_OF[dataset.kind]}, or {kind}"
        )
    sizes = dataset.image_shape[2 - macro.axes : 2]
    least = 2**halvings
    if sizes and min(sizes) < least:
        shown = "x".join(map(str, sizes))
        wanted = "x".join([str(least)] * macro.axes)
        raise InputError(
            f"{kind} of {dataset.name!r} are {shown}; {halvings} reductions "
            f"need at least {wanted}: fewer cells or larger {kind}"
        )


def _require_columns(space: Space, dataset: ImageSet) -> None:
    """Refuses a table of another number of columns than a space chooses from."""
    if COLUMNS not in space.cells:
        return
    columns = dataset.image_shape[2]
    wanted = len(space.cells[COLUMNS].edges)
    if columns != wanted:
        raise InputError(
            f"data {dataset.name!r} have {columns} columns, and space {space.name!r} "
            f"chooses from {wanted}: want space=mlp_{columns}, or mlp, which reads all"
        )


_SPACES_OF = {
    "images": "want a space of images, such as darts",
    "signals": "want a space of signals, such as darts_1d",
    "tables": "want a space of tables, such as mlp",
}


SUPERNETS: dict[str, Callable[[ConfigDict, ImageSet], Any]] = {"cells": _supernet}
NETWORKS: dict[str, Callable[[ConfigDict, ImageSet, Genotype], Any]] = {
    "cells": _network
}
