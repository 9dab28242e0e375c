"""Images by name as arrays in memory, and their way into the compiled program."""

from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.pipeline import (
    Augmentation,
    augment,
    batch_indices,
    normalize,
    shuffle,
    split_train,
)
from darts_jax.data.sources import SOURCES, load_dataset

__all__ = [
    "SOURCES",
    "Augmentation",
    "Dataset",
    "augment",
    "batch_indices",
    "from_arrays",
    "load_dataset",
    "normalize",
    "shuffle",
    "split_train",
]
