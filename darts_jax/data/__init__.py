"""Data sets by name, in memory or streamed, and their conversion to batches."""

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
from darts_jax.data.stream import AnyDataset, StreamedDataset, batches, from_sources

__all__ = [
    "SOURCES",
    "AnyDataset",
    "Augmentation",
    "Dataset",
    "StreamedDataset",
    "augment",
    "batch_indices",
    "batches",
    "from_arrays",
    "from_sources",
    "load_dataset",
    "normalize",
    "shuffle",
    "split_train",
]
