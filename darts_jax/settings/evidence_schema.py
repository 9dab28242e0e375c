"""Settings of what results are held against: random networks, scored paths, tables."""

from darts_jax.baselines import EXTRAPOLATIONS, PREDICTORS
from darts_jax.nasbench import SPLITS
from darts_jax.settings.setting import (
    COUNT,
    POSITIVE,
    OneOf,
    Range,
    Registered,
    Setting,
)

EVIDENCE_SCHEMA: dict[str, Setting] = {
    "baseline.random_genotypes": Setting(
        0, "Random genotypes that are trained beside the searched one.", COUNT
    ),
    "baseline.equal_cost": Setting(
        "",
        "Cost that random genotypes share with the searched one, to 5 % less: macs, "
        "parameters or a table's file; empty: any cost.",
    ),
    "baseline.repeats": Setting(
        0, "Further trainings of the searched genotype.", COUNT
    ),
    "baseline.execution": Setting(
        "separate",
        "How these are trained: one by one, or all as one program, for images in "
        "memory without drop path and auxiliary head.",
        OneOf(("separate", "shared")),
    ),
    "baseline.predictor": Setting(
        "ensemble",
        "Model of the scores, by which predictor_search chooses.",
        Registered(PREDICTORS),
    ),
    "baseline.eta": Setting(
        3.0,
        "By how much longer successive_halving, hyperband and bohb train the best at "
        "each step, at least.",
        Range(above=1),
    ),
    "baseline.extrapolation": Setting(
        "last_score",
        "Score by which these compare genotypes, made of those so far.",
        Registered(EXTRAPOLATIONS),
    ),
    "score.paths": Setting(
        0,
        "Paths of the supernet, drawn at random; 0: all, or 1,000 of a large space.",
        COUNT,
        "paths",
    ),
    "score.images": Setting(
        1000, "The first validation images that score them; 0: all.", COUNT, "images"
    ),
    "score.batch_size": Setting(250, "Images of a batch.", POSITIVE, "images"),
    "score.statistics": Setting(
        "recalibrated",
        "Batch statistics of a path: the supernet's, the batch's, or its own.",
        OneOf(("running", "batch", "recalibrated")),
    ),
    "score.calibration": Setting(
        250, "Training images that recalibrate a path.", POSITIVE, "images"
    ),
    "proxies.batch_size": Setting(
        64, "Training images by which zero-cost proxies score.", POSITIVE, "images"
    ),
    "benchmark.table": Setting(
        "",
        "Table of the space's benchmark; empty: the one that data.directory has, such "
        "as nasbench201_table.npz.",
    ),
    "benchmark.dataset": Setting(
        "auto",
        "Data set or task of the table's accuracies; auto: that of the search.",
    ),
    "benchmark.split": Setting("test", "Part of that data set.", OneOf(SPLITS)),
    "benchmark.epochs": Setting(
        0,
        "Epochs that the table's networks were trained for; 0: the most it knows.",
        COUNT,
        "epochs",
    ),
}
"""Dotted name of a setting -> its entry, a part of `schema.SCHEMA`."""
