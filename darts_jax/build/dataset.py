"""The data set that a config names."""

from ml_collections import ConfigDict

from darts_jax.data.sources import load_dataset
from darts_jax.data.stream import AnyDataset


def dataset_of(config: ConfigDict) -> AnyDataset:
    """The data set of ``config.data``, whole or its beginning.

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    whole = load_dataset(config.data.name, config.data.directory)
    return whole.first(config.data.images) if config.data.images else whole
