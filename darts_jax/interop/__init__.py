"""Conversion of published weights: PyTorch state dicts to our parameters and back.

arrays = interop.read_arrays("cifar10_model.pt")
params, stats = interop.import_weights(net, arrays)
interop.write_arrays("ours.npz", interop.export_weights(net, params, stats))
"""

from darts_jax.interop.arrays import read_arrays, write_arrays
from darts_jax.interop.image import MODULES
from darts_jax.interop.rows import Layer, Row
from darts_jax.interop.weights import (
    FAMILIES,
    Family,
    export_alpha,
    export_weights,
    import_alpha,
    import_weights,
    published_rows,
)

__all__ = [
    "FAMILIES",
    "MODULES",
    "Family",
    "Layer",
    "Row",
    "export_alpha",
    "export_weights",
    "import_alpha",
    "import_weights",
    "published_rows",
    "read_arrays",
    "write_arrays",
]
