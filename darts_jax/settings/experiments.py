"""Published experiments as data: which method, by which protocol, with which figure.

An experiment is named ``protocol/method``. What a protocol fixes is written out, as
every one of these moves results by points. A *proxy* is a protocol small enough for two
cores; its results are not comparable with published figures, and none stands beside
them but counts of operations in RobustDARTS's spaces, with all that differs.
"""

import dataclasses
import math
from collections.abc import Mapping

from ml_collections import ConfigDict

from darts_jax.analysis.intervals import PERCENT, MeasureRange
from darts_jax.errors import look_up
from darts_jax.settings.config import default_config, with_overrides
from darts_jax.settings.darts_recipes import DARTS_RECIPES, PTB_RECIPES, PTB_SETTINGS
from darts_jax.settings.methods import (
    METHODS,
    apply_method,
    has_curvature,
    published_config,
)
from darts_jax.settings.nasbench201_recipes import DARTS_CONFIG, NASBENCH201_RECIPES
from darts_jax.settings.recipe import Recipe, Settings
from darts_jax.settings.robust_recipes import NORMAL_EDGES, ROBUST_RECIPES


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
      counts: operation whose number in the normal cell is the result; empty: the score
        of the genotype is.
      methods: those that are searched by it; empty: all.
      without: methods that its settings exclude.
    """

    title: str
    scale: str
    unit: str
    settings: Settings | None
    retrains: bool
    facts: tuple[str, ...]
    counts: str = ""
    methods: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def less_is_better(self) -> bool:
        """Says whether a lower result is the better one."""
        return "accuracy" not in self.unit

    @property
    def result_range(self) -> MeasureRange:
        """Least and greatest result that there can be."""
        if self.counts:
            return MeasureRange(0.0, NORMAL_EDGES)
        return MeasureRange(1.0, math.inf) if "perplexity" in self.unit else PERCENT


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A method by a protocol.

    Attributes:
      name: ``protocol/method``.
      method: of `METHODS`.
      protocol: of `PROTOCOLS`.
      recipe: of the published figure that stands beside its results.
    """

    name: str
    method: str
    protocol: Protocol
    recipe: Recipe = dataclasses.field(default_factory=Recipe)


_RELEASED_CODE_FACTS = (
    "released code draws validation images with replacement, batch by batch, and "
    "AutoDL lists the two halves of the training images in a file; ours are the first "
    "and the last 25,000, each drawn at most once an epoch",
    "an epoch of released code has 391 steps, here 390: an incomplete batch is dropped",
    "clipping in AutoDL, DrNAS and beta-DARTS counts the architecture's gradient in "
    "the norm, ours the weights' alone",
    "the architecture's step leaves running statistics as they are, which move with it "
    "in released code: the supernet's own accuracy differs, the search does not",
    "AutoDL takes one seed of the benchmark at random, ours is the mean over its seeds",
)
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


def _robust_proxy(space: str) -> Protocol:
    """Returns the proxy of a space of RobustDARTS, whose result is a count."""
    counted = "noise" if space == "s4" else "skip_connect"
    return Protocol(
        f"RobustDARTS's space {space.upper()}, CIFAR-10",
        "proxy, as each row says",
        f"{counted} in the normal cell, of {NORMAL_EDGES} operations",
        {"space": space, "data.name": "cifar10", "data.pad": 4, "data.flip": True},
        retrains=False,
        facts=(
            f"a search that collapses keeps {counted} nearly everywhere",
            "random: 1,000 genotypes of the space",
            "published: of the cells that RobustDARTS's code lists, not of a table",
        ),
        counts=counted,
        methods=("darts", "r_darts_l2"),
    )


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
            **DARTS_CONFIG,
        },
        retrains=False,
        facts=(
            "every row by its own recipe, as `darts-jax reproduce list` shows; one "
            "without a published figure by DARTS.config of AutoDL: 50 epochs, 16 "
            "channels, 5 cells a stage, decay 0.0005, Nesterov's momentum",
            *_RELEASED_CODE_FACTS,
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
            "every row by its own recipe, as `darts-jax reproduce list` shows; one "
            "without a published figure with the sizes and rates of `--config NAME`",
            "retrained for 600 epochs (FairDARTS for 1,600) with cutout, drop path and "
            "an auxiliary head",
            "released code draws validation images with replacement, and an epoch of "
            "it has an incomplete batch at its end; ours draws each once, and none",
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
            "SGAS closes edges by the operation none, which the space has not",
        ),
        without=("sgas",),
    ),
    "darts_ptb": Protocol(
        "recurrent cell, Penn Treebank",
        "full",
        "test perplexity",
        PTB_SETTINGS,
        retrains=True,
        facts=(
            "the validation text's next hidden state is that after the step; the "
            "released code takes it before, at second order at the trial weights",
            "the trial step of second order descends the slowness term, too, and "
            "embeds by the words that it predicts with; the released code's embeds by "
            "the old ones",
            "the average of the weights after the last epoch is tested, in ten rows; "
            "the released code tests the best epoch's, in one",
        ),
        methods=("darts", "darts_second_order"),
    ),
    **{f"{space}_proxy": _robust_proxy(space) for space in ROBUST_RECIPES},
}

_RECIPES: dict[str, Mapping[str, Recipe]] = {
    "nasbench201": NASBENCH201_RECIPES,
    "darts_cifar10": DARTS_RECIPES,
    "darts_ptb": PTB_RECIPES,
    **{f"{space}_proxy": recipes for space, recipes in ROBUST_RECIPES.items()},
}


def _experiments() -> dict[str, Experiment]:
    found = {}
    for name, protocol in PROTOCOLS.items():
        methods = protocol.methods or METHODS
        for method in (m for m in methods if m not in protocol.without):
            if "space" in METHODS[method].choices:
                continue  # It is of a space of its own.
            recipe = _RECIPES.get(name, {}).get(method, Recipe())
            own = f"{name}/{method}"
            found[own] = Experiment(own, method, protocol, recipe)
    return found


EXPERIMENTS: dict[str, Experiment] = _experiments()


def get_experiment(name: str) -> Experiment:
    """Returns the experiment of a name.

    Args:
      name: ``protocol/method``.

    Raises:
      InputError: there is none; the message has the nearest name.
    """
    return look_up(EXPERIMENTS, name, "experiment")


def count_searches(name: str) -> int:
    """Returns how many searches an experiment has if nothing else is asked for.

    Args:
      name: ``protocol/method``.

    Raises:
      InputError: there is none; the message has the nearest name.
    """
    best_of = get_experiment(name).recipe.best_of
    return best_of.searches if best_of else 4


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
    own = [f"{key}={value}" for key, value in experiment.recipe.settings.items()]
    overrides = [*own, f"seed={seed}"]
    if settings is None:
        return with_overrides(published_config(method), overrides)
    config = with_overrides(
        default_config(), [f"{key}={value}" for key, value in settings.items()]
    )
    if not has_curvature(method):
        overrides.append("search.diagnostics.eigenvalue_every=0")
    return apply_method(config, method, overrides)
