"""Known truth about whole spaces: tables of trained accuracies."""

from darts_jax.nasbench.nasbench101 import NASBench101
from darts_jax.nasbench.nasbench201 import NASBench201
from darts_jax.nasbench.table import SPLITS, Table, Told
from darts_jax.nasbench.tables import (
    BENCHMARKS,
    find_table,
    load_table,
    require_table,
)

__all__ = [
    "BENCHMARKS",
    "SPLITS",
    "NASBench101",
    "NASBench201",
    "Table",
    "Told",
    "find_table",
    "load_table",
    "require_table",
]
