"""Settings to networks of images, and what these ask of the images.

A family of spaces has a builder of supernets and one of a genotype's networks: modules
that are called as `Supernet` and `Network` are. To add one: a row in each table.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from darts_jax import kernels
from darts_jax.bilevel.discretization import DISCRETIZATIONS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.cost.sites import Site, network_sites, supernet_sites
from darts_jax.data.dataset import ImageSet
from darts_jax.errors import InputError, unknown_name_error
from darts_jax.models.execution import Execution
from darts_jax.models.network import Network
from darts_jax.models.operations.corruption import CORRUPTIONS
from darts_jax.models.operations.image import get_operation, require_operation
from darts_jax.models.operations.soundness import require_operation_sound
from darts_jax.models.supernet import Supernet
from darts_jax.settings.combinations import corruption_operations
from darts_jax.spaces import get_space
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import Cell, Genotype, Space

_FEW_EDGES = 8  # between NAS-Bench-201's 6 and DARTS's 14


def make_supernet(config: ConfigDict, dataset: ImageSet) -> Any:
    """The network that `make_search` searches; raises InputError as it does."""
    return require_family(get_space(config.space), SUPERNETS)(config, dataset)


def make_network(config: ConfigDict, dataset: ImageSet, genotype: Genotype) -> Any:
    """The network of a genotype, as it is retrained; raises InputError as that does."""
    build = require_family(get_space(check_genotype(genotype).space), NETWORKS)
    return build(config, dataset, genotype)


def require_family(space: Space, known: Mapping[str, Any]) -> Any:
    """Returns what a task knows of a space's family.

    Raises:
      InputError: it knows nothing, or the space's rule of discretization is unknown.
    """
    if space.discretization not in DISCRETIZATIONS:
        what = f"discretization of space {space.name!r}:"
        raise unknown_name_error(what, space.discretization, list(DISCRETIZATIONS))
    if space.family not in known:
        raise InputError(
            f"space {space.name!r} makes networks of {space.family}, and this task "
            f"trains {', '.join(known)}: want another space, or another task"
        )
    return known[space.family]


def _supernet(config: ConfigDict, dataset: ImageSet) -> Supernet:
    space, settings = get_space(config.space), config.supernet
    _require_size(dataset, space.macro.halvings(settings.cells))
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
    """How edges are walked unless a setting says it.

    One by one on CPU, as that takes least code and memory, and leaves out operations
    that a sample does not run. But few edges are as little code together, and where
    kernels read their state in place, take three fifths of the time.
    """
    if jax.default_backend() != "cpu":
        return "batch"
    in_place = jax.device_count() == 1 and kernels.has_kernels(dtype)
    few = all(_few_share_states(cell) for cell in space.cells.values())
    return "batch" if few and in_place and not sampled else "scan"


def _few_share_states(cell: Cell) -> bool:
    """Whether edges leave a state together, and are few."""
    sources = {edge.source for edge in cell.edges}
    return len(sources) < len(cell.edges) <= _FEW_EDGES


def _network(config: ConfigDict, dataset: ImageSet, genotype: Genotype) -> Network:
    settings, macro = config.retrain, get_space(genotype.space).macro
    kinds = macro.layout(settings.cells)
    for cell in genotype.cells.values():
        for choice in cell.choices:
            require_operation(choice.operation)
    missing = {k for k in kinds if k not in (*genotype.cells, "residual")}
    if missing:
        raise InputError(
            f"the genotype has cells {sorted(genotype.cells)}; "
            f"space {genotype.space!r} needs {sorted(missing)} too"
        )
    imagenet = settings.network == "imagenet"
    if imagenet and macro.widths:
        raise InputError(
            f"retrain.network=imagenet has a stem of its own, and space "
            f"{genotype.space!r} another; want cifar, which is for any size"
        )
    _require_size(dataset, macro.halvings(settings.cells) + 3 * imagenet)
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


def _require_size(dataset: ImageSet, halvings: int) -> None:
    height, width, _ = dataset.image_shape
    if min(height, width) < 2**halvings:
        raise InputError(
            f"images of {dataset.name!r} are {height}x{width}; {halvings} reductions "
            f"need at least {2**halvings}x{2**halvings}: fewer cells or larger images"
        )


SUPERNETS: dict[str, Callable[[ConfigDict, ImageSet], Any]] = {"cells": _supernet}
NETWORKS: dict[str, Callable[[ConfigDict, ImageSet, Genotype], Any]] = {
    "cells": _network
}
