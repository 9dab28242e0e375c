"""Differentiable architecture search in JAX.

config = darts_jax.load_config("configs/digits.py")
found = darts_jax.search(config, "runs/digits")
darts_jax.draw_genotype(found.genotype, "cells.svg")
print(darts_jax.retrain(config, "runs/digits"))
"""

import importlib
from typing import Any

# Public name -> its module, imported when first used: `import darts_jax` is quick.
_PUBLIC = {
    "BASELINES": "darts_jax.baselines",
    "Budget": "darts_jax.baselines",
    "Dataset": "darts_jax.data.dataset",
    "Evaluation": "darts_jax.baselines",
    "Genotype": "darts_jax.spaces.graph",
    "InputError": "darts_jax.errors",
    "METHODS": "darts_jax.settings.methods",
    "Method": "darts_jax.settings.methods",
    "OPERATIONS": "darts_jax.models.operations.image",
    "PUBLISHED": "darts_jax.spaces.published",
    "SPACES": "darts_jax.spaces",
    "StreamedDataset": "darts_jax.data.stream",
    "ablate": "darts_jax.workflows.ablate",
    "apply_method": "darts_jax.settings.methods",
    "compare": "darts_jax.workflows.compare",
    "default_config": "darts_jax.settings.config",
    "diagnose": "darts_jax.workflows.diagnose",
    "draw_genotype": "darts_jax.plots.draw",
    "estimate": "darts_jax.workflows.estimate",
    "evaluate": "darts_jax.workflows.evaluate",
    "export": "darts_jax.workflows.export",
    "export_weights": "darts_jax.interop",
    "front": "darts_jax.workflows.front",
    "from_arrays": "darts_jax.data.dataset",
    "from_sources": "darts_jax.data.stream",
    "get_genotype": "darts_jax.spaces.published",
    "get_space": "darts_jax.spaces",
    "import_weights": "darts_jax.interop",
    "improvement": "darts_jax.baselines",
    "load_config": "darts_jax.settings.config_files",
    "load_dataset": "darts_jax.data.sources",
    "load_run": "darts_jax.workflows.compare",
    "load_table": "darts_jax.nasbench",
    "population": "darts_jax.workflows.population",
    "read_arrays": "darts_jax.interop",
    "read_genotype": "darts_jax.spaces.reading",
    "report": "darts_jax.reports.report",
    "retrain": "darts_jax.workflows.retrain",
    "score": "darts_jax.workflows.score",
    "scaled": "darts_jax.spaces.scaling",
    "search": "darts_jax.workflows.search",
    "select": "darts_jax.workflows.select",
    "write_arrays": "darts_jax.interop",
}
__all__ = list(_PUBLIC)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'darts_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
