"""Published experiments as data: which method, by which protocol, with which figure.

An experiment is named ``protocol/method``. What a protocol fixes is written out, as
every one of these moves results by points. A *proxy* is a protocol small enough for two
cores; its results are not comparable with the published figure that stands beside them.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from darts_jax.errors import unknown_name_error
from darts_jax.settings.config import default_config, with_overrides
from darts_jax.settings.methods import (
    METHODS,
    apply_method,
    has_curvature,
    published_config,
)

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A way in which methods are searched and measured.

    Attributes:
      title: the data and the space.
      scale: "full", or "proxy" and in which way.
      unit: of the results.
      settings: over the defaults, before the method's choices; None: those of
        `published_config`, with the sizes and rates of the method's paper.
      retrains: whether the genotype is trained from scratch, rather than looked up.
      facts: what a reader of its results must know.
    """

    title: str
    scale: str
    unit: str
    settings: Settings | None
    retrains: bool
    facts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Published:
    """A figure of a paper, in the protocol's unit; a spread where it gives one."""

    mean: float
    spread: float | None
    source: str

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + (f" ± {self.spread:.2f}" if self.spread else "")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A method by a protocol.

    Attributes:
      settings: over protocol and method: what the published figure was searched with.
      facts: what a reader must know beside the protocol's.
    """

    name: str
    method: str
    protocol: Protocol
    published: Published | None
    settings: Settings = dataclasses.field(default_factory=dict)
    facts: tuple[str, ...] = ()


_NASBENCH201_FACTS = (
    "the architecture is validated on half of CIFAR-10's training images",
    "the genotype is the argmax over all operations, none included, unless the method "
    "has a selection of its own",
    "BN without affine parameters in the supernet; batch statistics in training",
    "the result is the benchmark's test accuracy after 200 epochs, the mean over its "
    "seeds, of networks trained on all training images",
    "random: the mean over all 15,625 cells",
)
_PROXY_SIZES = {
    "space": "nasbench201",
    "data.name": "cifar10",
    "data.images": 2000,
    "data.pad": 4,
    "data.flip": True,
    "supernet.cells": 1,
    "supernet.channels": 4,
    "search.epochs": 5,
    "search.batch_size": 32,
    "search.architecture.learning_rate": 0.01,
    "search.diagnostics.eigenvalue_every": 5,
}
PROTOCOLS: dict[str, Protocol] = {
    "nasbench201": Protocol(
        "NAS-Bench-201, CIFAR-10",
        "full",
        "test accuracy, %",
        {
            "space": "nasbench201",
            "data.name": "cifar10",
            "data.pad": 4,
            "data.flip": True,
            "supernet.cells": 5,
            "supernet.channels": 16,
            "search.epochs": 50,
            "search.batch_size": 64,
            "search.weights.decay": 5e-4,
        },
        retrains=False,
        facts=(
            "50 epochs (GDAS was published with 240, DrNAS with 100), 16 channels, 5 "
            "cells a stage",
            "weight decay 0.0005, as published, with plain momentum where Nesterov's "
            "was published, but for DARTS",
            *_NASBENCH201_FACTS,
        ),
    ),
    "nasbench201_proxy": Protocol(
        "NAS-Bench-201, CIFAR-10",
        "proxy: 1,000 + 1,000 images, 5 epochs, 4 channels, 1 cell a stage, batch 32",
        "test accuracy, %",
        _PROXY_SIZES,
        retrains=False,
        facts=(
            "architecture learning rate 0.01 rather than 0.0003, as the search has 155 "
            "steps",
            *_NASBENCH201_FACTS,
        ),
    ),
    "darts_cifar10": Protocol(
        "DARTS space, CIFAR-10",
        "full",
        "test error, %",
        None,
        retrains=True,
        facts=(
            "searched with the sizes and rates of the method's paper, retrained with "
            "its batch and drop path",
            "retrained for 600 epochs with cutout, drop path and an auxiliary head",
            "test error after the last epoch, not of the best one",
        ),
    ),
    "fashion_mnist_proxy": Protocol(
        "DARTS space, Fashion-MNIST",
        "proxy: search of 1,000 + 1,000 images, 5 epochs, 4 cells, 4 channels; "
        "retraining on 2,000 images, 8 epochs, 4 cells, 8 channels",
        "test error, %",
        {
            "space": "darts_no_none",
            "data.name": "fashion_mnist",
            "data.images": 2000,
            "data.pad": 2,
            "data.flip": True,
            "supernet.cells": 4,
            "supernet.channels": 4,
            "search.epochs": 5,
            "search.batch_size": 32,
            "search.architecture.learning_rate": 0.01,
            "retrain.cells": 4,
            "retrain.channels": 8,
            "retrain.epochs": 8,
            "retrain.batch_size": 32,
            "retrain.pad": 2,
            "retrain.cutout": 0,
            "retrain.drop_path": 0.0,
            "retrain.auxiliary_weight": 0.0,
            "baseline.random_genotypes": 8,
        },
        retrains=True,
        facts=(
            "the first 2,000 images of either part",
            "random: 8 genotypes of the space, by the same recipe",
            "test error after the last epoch, not of the best one",
        ),
    ),
}

_NASBENCH201 = "Dong and Yang 2020, 2001.00326, table 5"
_DARTS_MINUS = "Chu et al. 2021, 2009.01027, table of NAS-Bench-201"
_ON_NASBENCH201 = {
    "darts": Published(54.30, None, _NASBENCH201),
    "darts_second_order": Published(54.30, None, _NASBENCH201),
    "random_sharing": Published(87.66, 1.69, _NASBENCH201),
    "enas": Published(54.30, None, _NASBENCH201),
    "snas": Published(92.77, 0.83, _DARTS_MINUS),
    "pc_darts": Published(93.41, 0.30, _DARTS_MINUS),
    "darts_minus": Published(93.80, 0.40, "Chu et al. 2021, 2009.01027"),
    "drnas": Published(94.36, None, "Chen et al. 2021, 2006.10355"),
    "beta_darts": Published(94.36, None, "Ye et al. 2022, 2203.01665"),
    "darts_pt": Published(88.11, None, "Wang et al. 2021, 2108.04392"),
    "darts_pt_fixed": Published(93.80, None, "Wang et al. 2021, 2108.04392"),
}
# The benchmark's own searches: AutoDL's DARTS-V1.py, DARTS-V2.py and DARTS.config.
_AUTODL_FACTS = (
    "AutoDL lists the two halves of the training images in a file and draws validation "
    "images with replacement; ours are the first and the last 25,000, each drawn at "
    "most once an epoch",
    "AutoDL's epoch has 391 steps, here 390: an incomplete batch is dropped",
    "AutoDL's clipping counts the architecture's gradient in the norm, ours the "
    "weights' alone",
)
_RECIPE_SETTINGS: dict[str, Settings] = {
    "nasbench201/darts": {
        "search.weights.nesterov": True,
        "search.first_step": "weights",
    },
    "nasbench201/darts_second_order": {"search.weights.nesterov": True},
}
_RECIPE_FACTS: dict[str, tuple[str, ...]] = {
    "nasbench201/darts": (
        "Nesterov's momentum, and the weights' step before the architecture's, as in "
        "AutoDL",
        *_AUTODL_FACTS,
    ),
    "nasbench201/darts_second_order": (
        "Nesterov's momentum, as in AutoDL",
        "AutoDL takes the mixed derivative by a finite difference, through a step of "
        "plain momentum without clipping; ours is exact, through the real step",
        *_AUTODL_FACTS,
    ),
}
_ON_CIFAR10 = {
    "darts": (3.00, 0.14),
    "darts_second_order": (2.76, 0.09),
    "snas": (2.85, 0.02),
    "gdas": (2.93, None),
    "p_darts": (2.50, None),
    "pc_darts": (2.57, 0.07),
    "r_darts_l2": (2.95, 0.21),
    "sdarts_rs": (2.67, 0.03),
    "sdarts_adv": (2.61, 0.02),
    "fair_darts": (2.54, 0.05),
    "drnas_progressive": (2.46, 0.03),
    "darts_pt": (2.61, 0.08),
    "darts_minus": (2.59, 0.08),
    "beta_darts": (2.53, 0.08),
    "lambda_darts": (2.52, 0.11),
    "darts_plus": (2.50, 0.11),
}


def _experiments() -> dict[str, Experiment]:
    cifar10 = {
        name: Published(mean, spread, METHODS[name].source)
        for name, (mean, spread) in _ON_CIFAR10.items()
    }
    figures: dict[str, dict[str, Published]] = {
        "nasbench201": _ON_NASBENCH201,
        "nasbench201_proxy": _ON_NASBENCH201,
        "darts_cifar10": cifar10,
        "fashion_mnist_proxy": {},
    }
    found = {}
    for protocol, method in itertools.product(PROTOCOLS, METHODS):
        name = f"{protocol}/{method}"
        found[name] = Experiment(
            name,
            method,
            PROTOCOLS[protocol],
            figures[protocol].get(method),
            settings=_RECIPE_SETTINGS.get(name, {}),
            facts=_RECIPE_FACTS.get(name, ()),
        )
    return found


EXPERIMENTS: dict[str, Experiment] = _experiments()


def get_experiment(name: str) -> Experiment:
    """Returns the experiment of a name.

    Args:
      name: ``protocol/method``.

    Raises:
      InputError: there is none; the message has the nearest name.
    """
    if name not in EXPERIMENTS:
        raise unknown_name_error("experiment", name, list(EXPERIMENTS))
    return EXPERIMENTS[name]


def experiment_config(experiment: Experiment, seed: int) -> ConfigDict:
    """Returns the settings of one of an experiment's searches.

    Args:
      experiment: of `EXPERIMENTS`.
      seed: of the search.

    Raises:
      InputError: the method cannot be searched by this protocol.
    """
    settings = experiment.protocol.settings
    method = experiment.method
    own = [f"{key}={value}" for key, value in experiment.settings.items()]
    overrides = [*own, f"seed={seed}"]
    if settings is None:
        return with_overrides(published_config(method), overrides)
    config = with_overrides(
        default_config(), [f"{key}={value}" for key, value in settings.items()]
    )
    if not has_curvature(method):
        overrides.append("search.diagnostics.eigenvalue_every=0")
    return apply_method(config, method, overrides)
