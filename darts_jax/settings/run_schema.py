"""Settings of how a run is computed, recorded and kept, whatever it learns."""

from darts_jax.kernels import PRECISIONS
from darts_jax.loggers import list_loggers
from darts_jax.models.batch_axis import BATCH_NORMS
from darts_jax.settings.setting import COUNT, POSITIVE, OneOf, Parsed, Setting

RUN_SCHEMA: dict[str, Setting] = {
    "devices": Setting(
        0,
        "Devices that share a batch, or a population; 0: all that can.",
        COUNT,
        "devices",
    ),
    "batch_norm": Setting(
        "global",
        "Images that batch norm is over, if devices share a batch: all (global), or "
        "each device's own (device).",
        OneOf(tuple(BATCH_NORMS)),
    ),
    "precision": Setting(
        "default",
        "Precision of float32 products; by default bfloat16 on TPU, TF32 on NVIDIA, "
        "float32 on CPU.",
        OneOf(tuple(PRECISIONS)),
    ),
    "population.execution": Setting(
        "auto",
        "How members are computed: one after another (map, on CPU) or side by side.",
        OneOf(("auto", "map", "vmap")),
    ),
    "gpu_kernels": Setting(
        "auto",
        "What computes on a GPU: Pallas kernels (auto: where a card can run them), or "
        "XLA's own operations. interpret: Pallas kernels, slowly, on CPU.",
        OneOf(("auto", "pallas", "xla", "interpret")),
    ),
    "log": Setting(
        "tensorboard",
        "Services that are given the numbers of every epoch, separated by commas.",
        Parsed(list_loggers, "none, or some of tensorboard, wandb and mlflow"),
    ),
    "log_group": Setting(
        "",
        "Group of the run in wandb and MLflow; empty: the grid, or the run directory.",
    ),
    "compilation_cache": Setting(
        "auto", "Folder of compiled programs; auto: the user's cache; off: none."
    ),
    "checkpoint.keep": Setting(3, "Checkpoints that are kept.", POSITIVE),
    "checkpoint.every_epochs": Setting(
        1, "Epochs between two checkpoints.", POSITIVE, "epochs"
    ),
}
"""Dotted name of a setting -> its entry, a part of `schema.SCHEMA`."""
