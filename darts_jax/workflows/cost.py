"""`cost`: cost of a genotype's network, counted and, if asked, measured."""

from pathlib import Path

from ml_collections import ConfigDict

from darts_jax.cost.expected import choice_sites
from darts_jax.cost.latency import Measurement, network_latency, operation_latencies
from darts_jax.cost.networks import COLUMNS, cost_rows
from darts_jax.cost.sites import supernet_sites
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.image_networks import (
    make_empty_image_network,
    make_network,
    make_supernet,
)
from darts_jax.tasks.registry import load_data, require_images
from darts_jax.training.console import format_table
from darts_jax.training.directory import atomic_write


def cost(config: ConfigDict, genotype: Genotype, batch: int | None = None) -> str:
    """Counts parameters, multiply-accumulates and activations of a network.

    Args:
      config: its ``retrain`` sizes and data are those of the network.
      genotype: of the network.
      batch: images of a measurement of latency on this device; None: none is made.

    Raises:
      InputError: a mistake in the settings, the data or the genotype.
    """
    require_images(config, "the cost of a network")
    dataset = load_data(config)
    net = make_network(config, dataset, genotype)
    text = format_table(cost_rows(net, dataset.image_shape), COLUMNS)
    if batch is None:
        return text
    how = _measurement(batch, config.retrain.dtype)
    return f"{text}{network_latency(net, dataset.image_shape, how)}\n"


def write_operation_latencies(config: ConfigDict, batch: int, out: Path) -> None:
    """Measures every operation of a search, for ``search.costs``.

    It is measured where it stands in the supernet, for a term of the loss, and in the
    networks that ``retrain`` trains, for a budget.

    Args:
      config: of the search.
      batch: images of a measurement.
      out: JSON file that is written.
    """
    require_images(config, "the cost of an operation")
    dataset = load_data(config)
    how = _measurement(batch, config.supernet.dtype)
    supernet = make_supernet(config, dataset)
    net = make_empty_image_network(config, dataset)
    size = dataset.image_shape
    space = get_space(config.space)
    places = [choice.site for choice in supernet_sites(supernet, size[:2])]
    places += [choice.site for choice in choice_sites(space, net, size)]
    atomic_write(out, operation_latencies(places, how).to_json())


def _measurement(batch: int, dtype: str) -> Measurement:
    if batch < 1:
        raise InputError(f"--batch is {batch}; want 1 or more")
    return Measurement(batch=batch, dtype=dtype)
