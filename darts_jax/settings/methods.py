"""The published methods, each as its difference from first-order DARTS.

A method is settings, nothing else: its choices make it what it is in any space and at
any size. Its sizes are those of its paper's search on CIFAR-10, which
``load_config(NAME)`` returns. To add a method: an entry of `METHODS`. docs/methods.md
says where papers, their released code and these settings differ.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.errors import look_up
from darts_jax.settings.config import default_config, flatten, with_overrides

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Method:
    """A published method, or one of the user's own.

    Attributes:
      title: its usual name.
      source: authors, year, and arXiv number.
      choices: setting -> value: what makes the method what it is at any size.
      sizes: setting -> value: sizes and rates of its paper's search on CIFAR-10, where
        they are not those of DARTS.
    """

    title: str
    source: str
    choices: Settings = dataclasses.field(default_factory=dict)
    sizes: Settings = dataclasses.field(default_factory=dict)


def apply_method(
    config: ConfigDict, name: str, overrides: Sequence[str] = ()
) -> ConfigDict:
    """Returns a copy of a config with a method's choices.

    Args:
      config: is not changed.
      name: of a method, as ``"pc_darts"``.
      overrides: single settings that come after them, as `config.with_overrides` takes
        them: what excludes what is asked of the whole.

    Raises:
      InputError: no such method, or one that the config's other settings exclude.
    """
    method = look_up(METHODS, name, "method")
    return _changed(config, method.choices, overrides)


def method_of(config: ConfigDict) -> str | None:
    """Returns the method whose choices a config has, and no choice of another's.

    Args:
      config: whose sizes and rates, where a method leaves them open, may be any.

    Returns:
      The name of the method with most choices; None if there is none.
    """
    defaults = dict(flatten(default_config().to_dict()))
    given = dict(flatten(config.to_dict()))
    chosen = {key for method in METHODS.values() for key in method.choices}
    # Numbers are rates; what a method is, texts and switches say.
    named = {key for key in chosen if isinstance(defaults[key], str | bool)}
    matching = [
        name
        for name, method in METHODS.items()
        if all(given[key] == value for key, value in method.choices.items())
        and all(given[key] == defaults[key] for key in named - method.choices.keys())
    ]
    return max(matching, key=lambda n: len(METHODS[n].choices), default=None)


def has_curvature(name: str) -> bool:
    """Returns whether a method's loss can be measured for its curvature.

    Args:
      name: of `METHODS`, whose loss may have second derivatives by the architecture.
    """
    relaxation = METHODS[name].choices.get("search.relaxation", "softmax")
    return not RELAXATIONS[relaxation].hard


def published_config(name: str) -> ConfigDict:
    """Returns the search of a method's paper on CIFAR-10.

    Args:
      name: of `METHODS`.
    """
    method = METHODS[name]
    config = default_config()
    config.data.update(name="cifar10", pad=4, flip=True)
    return _changed(config, {**method.choices, **method.sizes})


def _changed(
    config: ConfigDict, settings: Settings, overrides: Sequence[str] = ()
) -> ConfigDict:
    chosen = [f"{key}={value}" for key, value in settings.items()]
    return with_overrides(config, [*chosen, *overrides])


_AT_REST: Settings = {"search.warmup": 1.0}
_NO_DECAY: Settings = {"search.architecture.decay": 0.0}
_EIGENVALUES: Settings = {"search.diagnostics.eigenvalue_every": 2}
_NO_NONE: Settings = {"space": "darts_no_none"}
_PROJECTED: Settings = {
    **_NO_NONE,
    "search.selection.tune_epochs": 5,
    "search.selection.statistics": "batch",
}
_SPOS: Settings = {
    "search.relaxation": "uniform_one_hot",
    "search.discretization": "evolution",
    "search.selection.statistics": "recalibrated",
    **_AT_REST,
}
_GDAS_SIZES: Settings = {
    "search.epochs": 250,
    "search.batch_size": 256,
    "search.weights.decay": 0.0005,
    "search.weights.nesterov": True,
}
_DRNAS: Settings = {
    "search.relaxation": "dirichlet",
    "search.terms.anchor_l2": "0.001",
    **_NO_DECAY,
}
_DRNAS_SIZES: Settings = {
    "space": "darts_no_none",
    "supernet.cells": 20,
    "supernet.channels": 36,
    "supernet.partial_channels": 6,
    "search.warmup": 0.4,
    "search.weights.learning_rate": 0.1,
    "search.weights.final_learning_rate": 0.0,
    "search.architecture.learning_rate": 0.0006,
    "retrain.drop_path": 0.3,
    "retrain.batch_size": 64,
}

METHODS: dict[str, Method] = {
    "darts": Method("DARTS, first order", "Liu et al. 2019, 1806.09055"),
    "darts_second_order": Method(
        "DARTS, second order",
        "Liu et al. 2019, 1806.09055",
        {"search.hypergradient": "exact"},
    ),
    "snas": Method(
        "SNAS",
        "Xie et al. 2019, 1812.09926",
        {
            "search.relaxation": "gumbel_softmax",
            "search.temperature": "1:0.03",
            "search.regime": "single_level",
            "search.terms.expected_cost": "0.0015",
            "search.discretization": "argmax",
        },
        sizes={"search.epochs": 150, "search.train_fraction": 0.9},
    ),
    "gdas": Method(
        "GDAS",
        "Dong and Yang 2019, 1910.04465",
        {"search.relaxation": "sampled_gumbel", "search.temperature": "10:0.1"},
        sizes=_GDAS_SIZES,
    ),
    "reinmax": Method(
        "GDAS with ReinMax's gradient",
        "Liu et al. 2023, 2304.08612",
        {"search.relaxation": "reinmax"},
        # Of GDAS, as the paper has no search on CIFAR-10.
        sizes=_GDAS_SIZES,
    ),
    "pc_darts": Method(
        "PC-DARTS",
        "Xu et al. 2020, 1907.05737",
        {
            "supernet.partial_channels": 4,
            "search.edge_weights": True,
            "search.discretization": "edge_weighted",
            "search.warmup": 0.3,
        },
        sizes={
            "search.batch_size": 256,
            "search.weights.learning_rate": 0.1,
            "search.weights.final_learning_rate": 0.0,
            "search.architecture.learning_rate": 0.0006,
            "retrain.drop_path": 0.3,
        },
    ),
    "p_darts": Method(
        "P-DARTS",
        "Chen et al. 2019, 1904.12760",
        {
            "search.warmup": 0.4,
            "search.corruption.kind": "dropout",
            "search.discretization": "few_skips",
            "search.stages": "search.corruption.strength=0; "
            "search.operations=5 search.corruption.strength=0.4:0; "
            "search.operations=3 search.corruption.strength=0.7:0",
        },
        sizes={
            "search.batch_size": 96,
            "search.weights.final_learning_rate": 0.0,
            "search.architecture.learning_rate": 0.0006,
            "search.stages": "supernet.cells=5 search.epochs=25 "
            "search.corruption.strength=0; "
            "supernet.cells=11 search.epochs=25 search.operations=5 "
            "search.corruption.strength=0.4:0; "
            "supernet.cells=17 search.epochs=25 search.operations=3 "
            "search.corruption.strength=0.7:0",
            "retrain.drop_path": 0.3,
            "retrain.batch_size": 128,
        },
    ),
    "sdarts_rs": Method(
        "SDARTS-RS",
        "Chen and Hsieh 2020, 2002.05283",
        {"search.perturbation": "random", "search.radius": "0.03:0.3"},
        sizes=_NO_NONE,
    ),
    "sdarts_adv": Method(
        "SDARTS-ADV",
        "Chen and Hsieh 2020, 2002.05283",
        {"search.perturbation": "adversarial", "search.radius": "0.03:0.3"},
        sizes=_NO_NONE,
    ),
    "r_darts_es": Method(
        "R-DARTS, early stopping (DARTS-ES)",
        "Zela et al. 2020, 1909.09656",
        {"search.stop": "eigenvalue_ratio", **_EIGENVALUES},
    ),
    "r_darts_l2": Method(
        "R-DARTS, L2",
        "Zela et al. 2020, 1909.09656",
        {"search.weights.decay": 27 * 3e-4},
    ),
    "r_darts_dp": Method(
        "R-DARTS, drop path",
        "Zela et al. 2020, 1909.09656",
        {
            "search.corruption.kind": "drop_path",
            "search.corruption.operations": "!none",
            "search.corruption.strength": "0:0.4",
        },
        sizes={"data.cutout": 16},
    ),
    "r_darts_ada": Method(
        "R-DARTS, adaptive (DARTS-ADA)",
        "Zela et al. 2020, 1909.09656",
        {
            "search.stop": "eigenvalue_ratio",
            "search.stopping.restarts": 2,
            "checkpoint.keep": 13,
            **_EIGENVALUES,
        },
    ),
    "darts_minus": Method(
        "DARTS-", "Chu et al. 2021, 2009.01027", {"search.auxiliary_skip": "1:0"}
    ),
    "fair_darts": Method(
        "FairDARTS",
        "Chu et al. 2020, 1911.12126",
        {
            "search.relaxation": "sigmoid",
            "search.terms.zero_one": "10",
            "search.architecture.beta1": 0.9,
            "search.discretization": "threshold",
        },
        sizes={
            "space": "darts_no_none",
            "search.batch_size": 128,
            "search.weights.learning_rate": 0.005,
            "search.architecture.learning_rate": 0.003,
            "retrain.epochs": 1600,
        },
    ),
    "drnas": Method(
        "DrNAS", "Chen et al. 2021, 2006.10355", _DRNAS, sizes=_DRNAS_SIZES
    ),
    "drnas_progressive": Method(
        "DrNAS, progressive",
        "Chen et al. 2021, 2006.10355",
        {**_DRNAS, "search.stages": "search.operations=0; search.operations=4"},
        sizes={
            **_DRNAS_SIZES,
            "search.stages": "supernet.partial_channels=6 search.epochs=25; "
            "supernet.partial_channels=4 search.operations=4 search.epochs=25",
        },
    ),
    "darts_pt": Method(
        "DARTS-PT",
        "Wang et al. 2021, 2108.04392",
        {"search.discretization": "perturbation"},
        sizes={**_PROJECTED, "search.selection.tunes_alpha": True},
    ),
    "darts_pt_fixed": Method(
        "DARTS-PT, fixed alpha",
        "Wang et al. 2021, 2108.04392",
        {"search.discretization": "perturbation", **_AT_REST},
        sizes=_PROJECTED,
    ),
    "beta_darts": Method(
        "beta-DARTS",
        "Ye et al. 2022, 2203.01665",
        {"search.terms.logsumexp": "0:25"},
        sizes=_NO_NONE,
    ),
    "lambda_darts": Method(
        "Lambda-DARTS",
        "Movahedi et al. 2023, 2210.07998",
        {"search.hook": "alignment", "search.hook_weight": "0:0.125"},
        sizes=_NO_NONE,
    ),
    "idarts": Method(
        "iDARTS",
        "Zhang et al. 2021, 2106.10784",
        {"search.hypergradient": "neumann", "search.inner.terms": 2},
    ),
    "gaea": Method(
        "GAEA",
        "Li et al. 2021, 2004.07802",
        {
            "search.relaxation": "simplex",
            "search.architecture.rule": "exponentiated_gradient",
            "search.architecture.learning_rate": 0.1,
        },
        # Of GAEA PC-DARTS, its search on CIFAR-10.
        sizes={
            "supernet.partial_channels": 4,
            "search.edge_weights": True,
            "search.discretization": "edge_weighted",
            "search.batch_size": 256,
            "search.weights.learning_rate": 0.1,
            "search.weights.final_learning_rate": 0.0,
            "retrain.drop_path": 0.3,
        },
    ),
    "milenas": Method(
        "MiLeNAS",
        "He et al. 2020, 2003.12238",
        {"search.regime": "mixed", "search.valid_weight": "1"},
    ),
    "entangled": Method(
        "DrNAS with weight entanglement",
        "Sukthanker et al. 2023, 2312.10440",
        {**_DRNAS, "supernet.entangled": True},
        sizes=_DRNAS_SIZES,
    ),
    "sgas": Method(
        "SGAS, criterion 1",
        "Li et al. 2020, 1912.00195",
        {"search.decisions.every": 5, "search.decisions.first": 9},
    ),
    "oles": Method(
        "OLES", "Jiang et al. 2023, NeurIPS", {"search.operation_stop.window": 20}
    ),
    "beta_darts_pp": Method(
        "beta-DARTS++",
        "Ye et al. 2023, 2301.06393",
        {"search.terms.logsumexp": "0:25", "search.flood": "0.1"},
        sizes=_NO_NONE,
    ),
    "darts_plus": Method(
        "DARTS+", "Liang et al. 2019, 1909.06035", {"search.stop": "skip_count"}
    ),
    "noisy_darts": Method(
        "NoisyDARTS",
        "Chu et al. 2020, 2005.03566",
        {"search.corruption.kind": "gaussian", "search.corruption.strength": "0.2"},
        sizes={
            **_NO_NONE,
            "search.batch_size": 128,
            "search.weights.learning_rate": 0.05,
        },
    ),
    "proxyless": Method(
        "ProxylessNAS's two paths",
        "Cai et al. 2019, 1812.00332",
        {
            "search.relaxation": "two_path",
            "search.architecture.learning_rate": 1e-3,
            "search.architecture.beta1": 0.0,
            **_NO_DECAY,
        },
        # Of its search on ImageNet: 40 epochs of the weights alone, then 120, in the
        # first of which the architecture still rests.
        sizes={
            "search.epochs": 160,
            "search.warmup": 41 / 160,
            "search.batch_size": 256,
            "search.weights.nesterov": True,
            "search.weights.decay": 4e-5,
        },
    ),
    "random_sharing": Method(
        "random search with weight sharing",
        "Li and Talwalkar 2019, 1902.07638",
        {
            "search.relaxation": "uniform_one_hot",
            "search.discretization": "best_sampled",
            **_AT_REST,
        },
        sizes={
            "search.epochs": 100,
            "search.edges_per_node": 2,
            "search.weights.clip": 0.25,
            "search.selection.samples": 1000,
        },
    ),
    "spos": Method(
        "single path one-shot (SPOS)",
        "Guo et al. 2019, 1904.00420",
        _SPOS,
        sizes={"search.epochs": 100, "search.train_fraction": 0.9},
    ),
    "fairnas": Method(
        "FairNAS, strict fairness",
        "Chu et al. 2019, 1907.01845",
        {**_SPOS, "search.paths.rule": "fair"},
        sizes={"search.epochs": 100, "search.train_fraction": 0.9},
    ),
    "bignas": Method(
        "the sandwich rule, with distillation in place (BigNAS)",
        "Yu et al. 2020, 2003.11142",
        {**_SPOS, "search.paths.rule": "sandwich"},
        sizes={"search.epochs": 100, "search.train_fraction": 0.9},
    ),
    "once_for_all": Method(
        "once-for-all, by progressive shrinking",
        "Cai et al. 2020, 1908.09791",
        {
            **_SPOS,
            "space": "mobile",
            "search.paths.rule": "sandwich",
            "supernet.entangled": True,
            "supernet.entangled_expansions": True,
        },
        sizes={
            "search.epochs": 100,
            "search.train_fraction": 0.9,
            "search.elastic.kernel": 20,
            "search.elastic.depth": 40,
            "search.elastic.expansion": 70,
            "search.elastic.every": 10,
        },
    ),
    "setn": Method(
        "SETN",
        "Dong and Yang 2019, 1910.05733",
        {
            "search.relaxation": "uniform_path_weights",
            "search.first_step": "weights",
            "search.discretization": "most_probable",
        },
    ),
    "enas": Method(
        "ENAS-style REINFORCE",
        "Pham et al. 2018, 1802.03268",
        {
            "search.relaxation": "sampled_gumbel",
            "search.architecture.rule": "reinforce",
            "search.architecture.learning_rate": 3.5e-3,
            "search.architecture.beta1": 0.0,
            "search.architecture.baseline_decay": 0.99,
            "search.discretization": "best_of_policy",
            **_NO_DECAY,
        },
    ),
}
"""Name of a method -> its title, its source and the settings that it changes."""
