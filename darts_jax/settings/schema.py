"""Every setting in one table: its default, what it may be, and where it is used.

The config, its checks, the scalars of a step, what members of a population may differ
in and the reference for users are all made from `SCHEMA`. To add a setting: an entry
here. One that a step of a search reads as a number names its ``scalar``, and may follow
a schedule if its values are `Scheduled`; the step finds it in its `Scalars`.

Defaults are those of DARTS on CIFAR-10 (Liu et al., 2019, and its code), on small data.
"""

import dataclasses
from collections import ChainMap

from darts_jax.bilevel.alignment import WEIGHT_HOOKS
from darts_jax.bilevel.architecture import ARCHITECTURE_UPDATES
from darts_jax.bilevel.cost_constraint import BUDGET_RULES
from darts_jax.bilevel.discretization import DISCRETIZATIONS
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS, PUBLISHED_RADIUS
from darts_jax.bilevel.implicit import DARTS_RATE, PUBLISHED_TERMS
from darts_jax.bilevel.perturbation import PERTURBATIONS
from darts_jax.bilevel.regime import REGIMES
from darts_jax.bilevel.regularization import TERMS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.bilevel.stopping import STOP_RULES
from darts_jax.models.operations.corruption import CORRUPTIONS
from darts_jax.proxies import PROXIES
from darts_jax.settings.evidence_schema import EVIDENCE_SCHEMA
from darts_jax.settings.image_schema import (
    NETWORKS,
    READING_SCHEMA,
    RETRAIN_SCHEMA,
    augmentations,
)
from darts_jax.settings.paths_schema import PATHS_SCHEMA
from darts_jax.settings.run_schema import RUN_SCHEMA
from darts_jax.settings.schedules import FLATTENED, SHAPES
from darts_jax.settings.setting import (
    ABOVE_0,
    COUNT,
    POSITIVE,
    SHARE,
    UNTIL_1,
    ClassWeights,
    OneOf,
    Range,
    Registered,
    Scheduled,
    Setting,
)
from darts_jax.settings.task_schema import TASK_SCHEMA
from darts_jax.spaces import SPACES
from darts_jax.spaces.modules import Measured

DTYPES = OneOf(("float32", "bfloat16"))

METRICS = {
    "accuracy": Measured("accuracy", more_is_better=True, scale=100.0, unit="%"),
    "balanced_accuracy": Measured("balanced_accuracy", True, scale=100.0, unit="%"),
    "rmse": Measured("rmse", more_is_better=False),
    "mae": Measured("mae", more_is_better=False),
    "r2": Measured("r2", more_is_better=True),
    "loss": Measured("loss", more_is_better=False),
}
"""Name of a score -> how it is shown; networks of one's own add theirs."""


def _sgd(part: str, final_rate: float) -> dict[str, Setting]:
    """Returns the settings of the weights' optimizer, of a search or a retraining."""
    moves = part == "search"
    return {
        f"{part}.weights.learning_rate": Setting(
            DARTS_RATE,
            "First learning rate of the weights.",
            COUNT,
            scalar="weights.learning_rate",
        ),
        f"{part}.weights.final_learning_rate": Setting(
            final_rate,
            "Learning rate that the weights' schedule falls to.",
            COUNT,
            by_member=moves,
        ),
        f"{part}.weights.momentum": Setting(
            0.9, "Momentum of the weights.", SHARE, scalar="weights.momentum"
        ),
        f"{part}.weights.nesterov": Setting(
            False, "Makes the momentum of the weights Nesterov's."
        ),
        f"{part}.weights.decay": Setting(
            3e-4, "L2 decay of the weights.", COUNT, scalar="weights.decay"
        ),
        f"{part}.weights.clip": Setting(
            5.0,
            "Largest norm of the weights' gradient.",
            ABOVE_0,
            scalar="weights.clip",
        ),
    }


SCHEMA: dict[str, Setting] = {
    "seed": Setting(
        0, "Seed of every random number.", Range(least=0, below=2**31), by_member=True
    ),
    "task": Setting("classification", "What networks learn."),
    "space": Setting("darts", "Search space.", Registered(SPACES)),
    "data.name": Setting(
        "digits",
        "Data set: a name, or a kind and a place, such as folder:PATH, npz:PATH, "
        "csv:PATH, tfds:NAME, stream:folder:PATH, text:PATH or coco:PATH.",
    ),
    "data.directory": Setting(
        "", "Folder of the data; empty: that of DARTS_JAX_DATA_DIR."
    ),
    "data.images": Setting(
        0, "The first images of either part that are used; 0: all.", COUNT, "images"
    ),
    **READING_SCHEMA,
    **augmentations("data", "a search's images"),
    "data.chunk": Setting(
        8,
        "Steps of a stream whose images are put on the device at once.",
        POSITIVE,
        "steps",
    ),
    "data.workers": Setting(
        0, "Processes that decode a stream; 0: threads.", COUNT, "processes"
    ),
    "data.class_weights": Setting(
        "none", "Weight of an image in the loss, by its class.", ClassWeights()
    ),
    "data.metric": Setting(
        "auto",
        "Score of a network; auto: the task's own.",
        Registered(METRICS, besides=("auto",)),
    ),
    "supernet.network": Setting(
        "cifar",
        "Stem of the supernet: one convolution, or imagenet, three of stride 2.",
        OneOf(NETWORKS),
    ),
    "supernet.cells": Setting(8, "Cells of the supernet.", POSITIVE, "cells"),
    "supernet.channels": Setting(
        16, "Channels of the supernet's first cells.", POSITIVE, "channels"
    ),
    "supernet.partial_channels": Setting(
        1, "K: one channel in K enters the operations (PC-DARTS).", POSITIVE
    ),
    "supernet.entangled": Setting(
        False,
        "Makes smaller kernels the middle of larger ones: operations that differ in "
        "their size alone share weights.",
    ),
    "supernet.entangled_expansions": Setting(
        False,
        "Makes mobile blocks of smaller expansions the first channels of those of "
        "larger ones.",
    ),
    "supernet.execution": Setting(
        "auto",
        "How edges are computed: one after another (scan), all that leave a state at "
        "once (batch), or so with like parts of their operations in one (joined).",
        OneOf(("auto", "scan", "batch", "joined")),
    ),
    "supernet.remat": Setting(
        "auto",
        "What is computed again on the way back, to save memory.",
        OneOf(("auto", "none", "edge", "cell")),
    ),
    "supernet.dtype": Setting(
        "float32", "Type of numbers in the supernet's computation.", DTYPES
    ),
    "search.epochs": Setting(50, "Epochs of a search.", POSITIVE, "epochs"),
    "search.batch_size": Setting(
        64, "Images of a batch of either half.", POSITIVE, "images"
    ),
    "search.microbatches": Setting(
        1, "Parts of a batch, computed one after another to save memory.", POSITIVE
    ),
    "search.train_fraction": Setting(
        0.5,
        "Share of the training images that weights learn from; the architecture "
        "learns from the others.",
        Range(above=0, below=1),
    ),
    "search.images": Setting(
        0, "The first training images that a search splits; 0: all.", COUNT, "images"
    ),
    "search.validation": Setting(
        "train",
        "Part that the validation images are taken from; test: half of the test "
        "images, as NAS-Bench-201.",
        OneOf(("train", "test")),
    ),
    "search.relaxation": Setting(
        "softmax", "Mixing weights from logits.", Registered(RELAXATIONS)
    ),
    "search.temperature": Setting(
        "1", "Temperature of the relaxation.", Scheduled(ABOVE_0), scalar="temperature"
    ),
    "search.edge_weights": Setting(
        False, "Weighs the edges that end in one node (PC-DARTS)."
    ),
    "search.edges_per_node": Setting(
        0,
        "Edges into a node that each drawn network uses, all equally likely; 0: all.",
        COUNT,
        "edges",
    ),
    "search.auxiliary_skip": Setting(
        "0",
        "Weight of a skip connection beside every edge's own (DARTS-).",
        Scheduled(COUNT),
        scalar="auxiliary_skip",
    ),
    "search.regime": Setting(
        "split", "Losses that the architecture descends.", Registered(REGIMES)
    ),
    "search.valid_weight": Setting(
        "1",
        "Weight of the validation loss in the regime mixed (MiLeNAS).",
        Scheduled(COUNT),
        scalar="valid_weight",
    ),
    "search.warmup": Setting(
        0.0,
        "Share of the epochs, from the first, in which the architecture rests.",
        Range(least=0.0, most=1.0),
    ),
    "search.first_step": Setting(
        "architecture",
        "First of the two steps on each pair of batches.",
        OneOf(("architecture", "weights")),
    ),
    "search.hypergradient": Setting(
        "first_order",
        "Gradient of the validation loss by the architecture.",
        Registered(HYPERGRADIENTS),
    ),
    "search.inner.radius": Setting(
        PUBLISHED_RADIUS,
        "Radius of finite_difference, over the gradient's norm.",
        ABOVE_0,
    ),
    "search.inner.steps": Setting(
        2, "Steps of the weights that unrolled looks through.", POSITIVE, "steps"
    ),
    "search.inner.terms": Setting(
        PUBLISHED_TERMS, "Last power of the series of neumann.", COUNT
    ),
    "search.inner.rate": Setting(DARTS_RATE, "Rate of the series of neumann.", ABOVE_0),
    "search.inner.iterations": Setting(
        10, "Products with the Hessian in conjugate_gradient.", POSITIVE
    ),
    "search.inner.damping": Setting(
        1.0, "Number added to the Hessian's diagonal in conjugate_gradient.", COUNT
    ),
    "search.perturbation": Setting(
        "none",
        "Perturbation of the mixing weights in the weights' step (SDARTS).",
        Registered(PERTURBATIONS),
    ),
    "search.radius": Setting(
        "0", "Radius of the perturbation.", Scheduled(COUNT), scalar="radius"
    ),
    "search.hook": Setting(
        "none",
        "What is added to the gradient of the weights (Lambda-DARTS).",
        Registered(WEIGHT_HOOKS),
    ),
    "search.hook_weight": Setting(
        "0", "Weight of what the hook adds.", Scheduled(COUNT), scalar="hook"
    ),
    "search.corruption.kind": Setting(
        "none",
        "Corruption of operations' outputs in training.",
        Registered(CORRUPTIONS, besides=("none",)),
    ),
    "search.corruption.operations": Setting(
        "skip_connect",
        "Operations that are corrupted, separated by commas; after a !, those that are "
        "not.",
    ),
    "search.corruption.strength": Setting(
        "0",
        "Rate of dropout and drop_path, standard deviation of gaussian.",
        Scheduled(COUNT),
        scalar="strength",
    ),
    "search.terms.*": Setting(
        "0",
        "Weight of {name} in the architecture's loss.",
        Scheduled(),
        scalar="terms.{name}",
    ),
    "search.costs": Setting(
        "parameters",
        "Costs of operations: parameters, macs, or a file of darts-jax cost --table; "
        "or TABLE.npz:COLUMN, measured costs of whole networks.",
    ),
    "search.budget.rule": Setting(
        "none",
        "Rule that holds the expected cost to the budget.",
        Registered(BUDGET_RULES, besides=("none",)),
    ),
    "search.budget.target": Setting(
        1.0,
        "Largest cost of the network to retrain.",
        ABOVE_0,
        "millions, or milliseconds",
        scalar="budget.target",
    ),
    "search.budget.rate": Setting(
        0.1,
        "Rise of the budget's multiplier by relative excess and step.",
        COUNT,
        scalar="budget.rate",
    ),
    **_sgd("search", final_rate=0.001),
    "search.weights.cosine_epochs": Setting(
        0,
        "Epochs in which the weights' rate falls by its cosine, after which it rises "
        "again; 0: those of the search.",
        COUNT,
        "epochs",
    ),
    "search.weights.warmup_epochs": Setting(
        0,
        "Epochs in which the weights' learning rate rises to its cosine.",
        COUNT,
        "epochs",
    ),
    "search.architecture.rule": Setting(
        "adam", "Update of the architecture.", Registered(ARCHITECTURE_UPDATES)
    ),
    "search.architecture.learning_rate": Setting(
        3e-4,
        "Learning rate of the architecture.",
        COUNT,
        scalar="architecture.learning_rate",
    ),
    "search.architecture.beta1": Setting(
        0.5, "Decay of Adam's first moment.", SHARE, scalar="architecture.beta1"
    ),
    "search.architecture.beta2": Setting(
        0.999, "Decay of Adam's second moment.", SHARE, scalar="architecture.beta2"
    ),
    "search.architecture.decay": Setting(
        1e-3, "L2 decay of the architecture.", COUNT, scalar="architecture.decay"
    ),
    "search.architecture.momentum": Setting(
        0.9, "Momentum of the rule sgd.", SHARE, scalar="architecture.momentum"
    ),
    "search.architecture.least_weight": Setting(
        "1e-5",
        "Least weight of an operation by the rule exponentiated_gradient.",
        Scheduled(COUNT),
        scalar="architecture.least_weight",
    ),
    "search.architecture.init_scale": Setting(
        1e-3, "Standard deviation of the first logits.", COUNT, by_member=True
    ),
    "search.architecture.entropy": Setting(
        1e-4,
        "Weight of the policy's entropy in the rule reinforce.",
        COUNT,
        scalar="architecture.entropy",
    ),
    "search.architecture.baseline_decay": Setting(
        0.95,
        "Decay of the moving average of rewards in the rule reinforce.",
        SHARE,
        scalar="architecture.baseline_decay",
    ),
    "search.decisions.every": Setting(
        0,
        "Epochs between two decisions about an edge (SGAS); 0: none.",
        COUNT,
        "epochs",
    ),
    "search.decisions.first": Setting(
        9, "Epochs before the first of these decisions.", COUNT, "epochs"
    ),
    "search.operation_stop.window": Setting(
        0,
        "Steps between two looks at whether an operation's weights overfit and come to "
        "rest (OLES); 0: none do.",
        COUNT,
        "steps",
    ),
    "search.operation_stop.least": Setting(
        "0.4",
        "Least mean cosine of their gradients on training and validation batches.",
        Scheduled(Range(least=-1.0, most=1.0)),
        scalar="operation_stop.least",
    ),
    "search.flood": Setting(
        "0",
        "Training loss below which the weights ascend it (flooding, beta-DARTS++).",
        Scheduled(COUNT),
        scalar="flood",
    ),
    **PATHS_SCHEMA,
    "search.stages": Setting(
        "", "Settings of one search after another, as search.epochs=2; search.epochs=3."
    ),
    "search.operations": Setting(
        0,
        "Strongest operations of each edge that a stage keeps; 0: all.",
        COUNT,
        "operations",
    ),
    "search.stop": Setting(
        "none",
        "Rule that ends a search early.",
        Registered(STOP_RULES, besides=("none",)),
    ),
    "search.stopping.window": Setting(
        5, "Measurements of an average in eigenvalue_ratio.", POSITIVE
    ),
    "search.stopping.factor": Setting(
        1.3, "Rise of the average at which eigenvalue_ratio stops.", ABOVE_0
    ),
    "search.stopping.delta": Setting(
        4, "Measurements between the averages that eigenvalue_ratio compares.", POSITIVE
    ),
    "search.stopping.start": Setting(
        10, "First epoch that eigenvalue_ratio may return to.", COUNT, "epochs"
    ),
    "search.stopping.least": Setting(
        2, "Skip connections of a cell at which skip_count stops.", POSITIVE
    ),
    "search.stopping.epochs": Setting(
        10, "Epochs without a change at which stable_ranking stops.", POSITIVE, "epochs"
    ),
    "search.stopping.restarts": Setting(
        0,
        "Searches that follow a stop, each with a stronger decay of the weights; the "
        "last is not stopped.",
        COUNT,
        "searches",
    ),
    "search.stopping.stronger": Setting(
        10.0, "Factor of the weights' decay after a stop.", ABOVE_0
    ),
    "search.discretization": Setting(
        "auto",
        "Rule that reads off the genotype; auto: the space's own.",
        Registered(ChainMap(DISCRETIZATIONS, SELECTIONS), besides=("auto",)),
    ),
    "search.selection.level": Setting(
        0.85, "Weight above which threshold keeps an operation.", SHARE
    ),
    "search.selection.most": Setting(
        2,
        "Most edges into a node by threshold; most skip connections by few_skips.",
        COUNT,
    ),
    "search.selection.samples": Setting(
        100,
        "Genotypes that best_sampled, best_of_policy and most_probable score.",
        POSITIVE,
    ),
    "search.selection.proxy": Setting(
        "none",
        "Zero-cost proxy of untrained networks of retrain's size, whose ranks count "
        "beside those of sampled genotypes' accuracies; none: these alone count.",
        Registered(PROXIES, besides=("none",)),
    ),
    "search.selection.proxy_share": Setting(
        0.5,
        "Share of the proxy's ranks; the accuracies' have the rest.",
        Range(least=0.0, most=1.0),
    ),
    "search.selection.statistics": Setting(
        "running",
        "Batch statistics of the supernet that a selection scores: its running ones, "
        "the batch's, or a path's own on score.calibration training images.",
        OneOf(("running", "batch", "recalibrated")),
    ),
    "search.selection.keeps_none": Setting(
        False, "Lets perturbation keep none, in a space whose genotypes may have it."
    ),
    "search.selection.tune_epochs": Setting(
        0,
        "Epochs that the supernet is tuned for between two decisions.",
        COUNT,
        "epochs",
    ),
    "search.selection.tune_rate": Setting(
        0.1, "Rate of that tuning, as a share of the first learning rate.", COUNT
    ),
    "search.selection.tunes_alpha": Setting(
        False, "Lets the architecture learn in that tuning, on edges not decided yet."
    ),
    "search.diagnostics.eigenvalue_every": Setting(
        0,
        "Epochs between two measurements of the top eigenvalue; 0: never.",
        COUNT,
        "epochs",
    ),
    "search.diagnostics.cosine_every": Setting(
        0,
        "Epochs between two measurements of the hypergradients' cosine; 0: never.",
        COUNT,
        "epochs",
    ),
    "search.diagnostics.products": Setting(
        20, "Products with the Hessian for an eigenvalue.", POSITIVE
    ),
    "retrain.network": Setting(
        "cifar", "Stem and head of the network.", OneOf(NETWORKS)
    ),
    "retrain.cells": Setting(20, "Cells of the network.", POSITIVE, "cells"),
    "retrain.channels": Setting(
        36, "Channels of the network's first cells.", POSITIVE, "channels"
    ),
    "retrain.epochs": Setting(600, "Epochs of a retraining.", POSITIVE, "epochs"),
    "retrain.batch_size": Setting(96, "Images of a batch.", POSITIVE, "images"),
    "retrain.microbatches": Setting(
        1, "Parts of a batch, computed one after another to save memory.", POSITIVE
    ),
    "retrain.dtype": Setting(
        "float32", "Type of numbers in the network's computation.", DTYPES
    ),
    "retrain.split_state": Setting(
        False, "Divides parameters among devices rather than repeating them."
    ),
    **augmentations("retrain", "images", pad=4, flip=True, cutout=16),
    **RETRAIN_SCHEMA,
    "retrain.drop_path": Setting(
        0.2,
        "Rate at which paths are dropped, reached by a linear ramp.",
        SHARE,
        scalar="drop_path",
    ),
    "retrain.auxiliary_weight": Setting(
        0.4,
        "Weight of the auxiliary head's loss; 0: there is no such head.",
        COUNT,
        scalar="auxiliary_weight",
    ),
    "retrain.label_smoothing": Setting(
        0.0, "Share of a label that all classes get.", SHARE, scalar="label_smoothing"
    ),
    "retrain.schedule": Setting(
        "cosine",
        "Fall of the learning rate; flattened: ImageNet's linear one of PC-DARTS.",
        OneOf((*SHAPES, FLATTENED)),
    ),
    "retrain.warmup_epochs": Setting(
        0, "Epochs in which the learning rate rises.", COUNT, "epochs"
    ),
    "retrain.decay_per_epoch": Setting(
        0.97, "Factor of the exponential schedule.", UNTIL_1
    ),
    **_sgd("retrain", final_rate=0.0),
    **TASK_SCHEMA,
    **EVIDENCE_SCHEMA,
    **RUN_SCHEMA,
}
"""Dotted name of a setting -> its entry; ``*`` stands for each name of `TERMS`."""


def all_settings() -> dict[str, Setting]:
    """Returns the entry of every setting, by its dotted name.

    Loss terms that are registered when it is called have an entry each.
    """
    found: dict[str, Setting] = {}
    for key, setting in SCHEMA.items():
        if key.endswith("*"):
            found |= {key.replace("*", n): _named(setting, n) for n in TERMS}
        else:
            found[key] = setting
    return found


def population_settings() -> tuple[str, ...]:
    """Returns the names of the settings that members of a population may differ in."""
    return tuple(
        key
        for key, setting in all_settings().items()
        if setting.by_member or (key.startswith("search.") and setting.scalar)
    )


def scheduled_settings() -> tuple[str, ...]:
    """Returns the names of the settings that may follow a schedule."""
    found = all_settings().items()
    return tuple(key for key, setting in found if setting.is_scheduled)


def _named(setting: Setting, name: str) -> Setting:
    return dataclasses.replace(
        setting,
        help=setting.help.format(name=name),
        scalar=setting.scalar.format(name=name),
    )
