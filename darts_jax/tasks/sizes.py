"""Networks of the size that ``retrain`` has, and what they cost of which choices."""

from flax import linen as nn
from ml_collections import ConfigDict

from darts_jax.cost.expected import (
    ExpectedCost,
    get_price,
    make_empty_network,
    make_expected_cost,
)
from darts_jax.data.dataset import ImageSet
from darts_jax.models.network import Network
from darts_jax.spaces import get_space


def make_blank_network(
    config: ConfigDict, dataset: ImageSet, top: nn.Module | None = None
) -> Network:
    """A network of images of the size that ``retrain`` has, of no genotype.

    Args:
      top: in place of a classifier.
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
    """What networks of images cost that ``retrain`` would train.

    Args:
      costs: as ``search.costs``.

    Raises:
      InputError: the table of costs is not at hand, or lacks operations.
    """
    net = make_blank_network(config, dataset, top)
    shape, price = dataset.image_shape, get_price(costs)
    return make_expected_cost(get_space(config.space), net, shape, price)
