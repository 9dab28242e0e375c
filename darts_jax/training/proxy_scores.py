"""Zero-cost scores of many architectures by one program, in which they are arrays."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import (
    is_mixture,
    random_genotype,
    stack_one_hot,
)
from darts_jax.data.dataset import Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.devices import Layout, to_host
from darts_jax.errors import InputError, look_up
from darts_jax.proxies import PROXIES
from darts_jax.proxies.shared import make_shared_network, score_network
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.image_data import normalize_images
from darts_jax.tasks.image_networks import make_network
from darts_jax.tasks.registry import require_classes
from darts_jax.training.population_job import member_execution
from darts_jax.types import Examples, Mixture

ProxyScores = Callable[[Sequence[Genotype]], dict[str, Float[np.ndarray, " genotype"]]]
"""(genotypes) -> name of a proxy -> score of each; always of as many genotypes, so that
nothing compiles again."""


def make_proxy_scores(
    config: ConfigDict,
    dataset: AnyDataset,
    names: Sequence[str],
    layout: Layout | None = None,
) -> ProxyScores:
    """Makes the function that scores untrained networks of ``retrain``'s size.

    The batch is ``proxies.batch_size`` training images, drawn once by the seed, without
    augmentation. Parameters are drawn once: networks share those of an operation that
    they have on the same edge. What proxies reduce is in double precision.

    Args:
      config: settings of a run.
      dataset: images in memory.
      names: of `proxies.PROXIES`.
      layout: devices that share out the genotypes; None: one.

    Raises:
      InputError: an unknown proxy, another task, a stream, a space whose networks are
        no mixtures of image cells, or fewer images than a batch.
    """
    proxies = {name: look_up(PROXIES, name, "proxy") for name in names}
    require_classes(config, "zero-cost proxies")
    space = get_space(config.space)
    problems = {
        f"networks of {space.family}": space.family != "cells",
        "a choice of widths": any(
            c.width_edge is not None for c in space.cells.values()
        ),
        "a stream": not isinstance(dataset, Dataset),
        "retrain.network=imagenet": config.retrain.network != "cifar",
    }
    found = [name for name, holds in problems.items() if holds]
    if found:
        raise InputError(f"zero-cost proxies do not score {found[0]}")
    # Refuses what the networks' own maker refuses: small images, unsound operations.
    make_network(config, dataset, random_genotype(space, np.random.default_rng(0)))
    settings = config.retrain
    network = make_shared_network(
        space,
        dataset.classes,
        settings.cells,
        settings.channels,
        dataset.image_shape,
        jax.random.key(config.seed),
        config.precision,
    )
    batch = _draw_batch(config, dataset)
    layout = layout or Layout()

    def score(mixture: Mixture, shared: Any) -> dict[str, Array]:
        params, stats, batch = shared
        own = dataclasses.replace(network, params=params, stats=stats)
        return score_network(own, proxies, mixture, batch)

    with jax.enable_x64(True):
        over = jax.jit(layout.over_members(score, member_execution(config)))
        shared = layout.put((network.params, network.stats, batch))

    def scores(genotypes: Sequence[Genotype]) -> dict[str, np.ndarray]:
        for genotype in genotypes:
            if not is_mixture(space, genotype):
                raise InputError(
                    f"a genotype has other states or operations than space "
                    f"{space.name!r}; want one of the space"
                )
        with jax.enable_x64(True):
            found: dict[str, np.ndarray] = to_host(
                over(stack_one_hot(space, genotypes), shared)
            )
        return found

    return scores


def describe_proxies(config: ConfigDict, dataset: AnyDataset) -> str:
    """Returns in words which networks and images proxies score.

    Args:
      config: settings of a run.
      dataset: the images.
    """
    settings = config.retrain
    text = (
        f"untrained networks of retrain.cells={settings.cells} and "
        f"retrain.channels={settings.channels}, one draw of parameters for all, "
        f"{config.proxies.batch_size} training images of {dataset.name} without "
        f"augmentation"
    )
    return f"{text}; {dataset.note}" if dataset.note else text


def _draw_batch(config: ConfigDict, dataset: Any) -> Examples:
    size = config.proxies.batch_size
    if size > dataset.train_size:
        raise InputError(
            f"setting proxies.batch_size is {size}; there are {dataset.train_size} "
            "training images"
        )
    rows = np.random.default_rng(config.seed).permutation(dataset.train_size)[:size]
    stored = jnp.asarray(dataset.train_images[rows])
    return Examples(
        normalize_images(dataset, stored, Layout()),
        jnp.asarray(dataset.train_labels[rows], jnp.int32),
    )
