"""Known truth about whole spaces: tables of trained accuracies."""

from darts_jax.nasbench.nasbench201 import (
    DATASETS,
    EPOCHS,
    SPLITS,
    NASBench201,
    find_table,
    load_table,
    require_table,
)

__all__ = [
    "DATASETS",
    "EPOCHS",
    "SPLITS",
    "NASBench201",
    "find_table",
    "load_table",
    "require_table",
]
