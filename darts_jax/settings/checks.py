"""What every setting may be, checked before anything runs, in one line."""

import math
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ml_collections import ConfigDict

from darts_jax.bilevel.alignment import WEIGHT_HOOKS
from darts_jax.bilevel.architecture import ARCHITECTURE_UPDATES
from darts_jax.bilevel.cost_constraint import BUDGETS
from darts_jax.bilevel.discretization import DISCRETIZATIONS
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
from darts_jax.bilevel.perturbation import PERTURBATIONS
from darts_jax.bilevel.regime import REGIMES
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.bilevel.stopping import STOPS
from darts_jax.data.reading import FITS, parse_size
from darts_jax.errors import InputError, unknown_name
from darts_jax.models.language import Dropouts
from darts_jax.models.operations.corruption import CORRUPTIONS
from darts_jax.nasbench import DATASETS, EPOCHS, SPLITS
from darts_jax.settings.combinations import refuse_illegal
from darts_jax.settings.schedules import SHAPES, Schedule

DTYPES = ("float32", "bfloat16")
NETWORKS = ("cifar", "imagenet")

_Check = tuple[Callable[[Any], bool], str]
_POSITIVE: _Check = (lambda v: v >= 1, "at least 1")
_COUNT: _Check = (lambda v: v >= 0, "0 or more")
_ABOVE_0: _Check = (lambda v: v > 0, "above 0")
_SHARE: _Check = (lambda v: 0 <= v < 1, "in [0, 1)")


def _one_of(names: Iterable[str]) -> _Check:
    return lambda v: v in names, f"one of {', '.join(names)}"


def _readable(parse: Callable[[Any], object]) -> _Check:
    """Of a text that is right where a function reads it, which says what is wrong."""
    return lambda v: (parse(v), True)[1], ""


def _schedule(holds: Callable[[Schedule], bool], wanted: str) -> _Check:
    return lambda v: holds(Schedule.parse(v)), f"a schedule {wanted}"


_SCHEDULE_COUNT = _schedule(lambda s: s.low >= 0, "of 0 or more")


def class_weight_numbers(text: str) -> list[float]:
    """Returns the numbers of ``data.class_weights``; [] where they are none."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        return []
    sound = all(math.isfinite(number) and number >= 0 for number in numbers)
    return numbers if sound and any(numbers) else []


METRICS = ("auto", "accuracy", "balanced_accuracy")
_CLASS_WEIGHTS: _Check = (
    lambda v: v in ("none", "balanced") or bool(class_weight_numbers(v)),
    "none, balanced, or a number of 0 or more for each class, as 1,2,0.5",
)
_OPTIMIZER_CHECKS = {
    "learning_rate": _COUNT,
    "final_learning_rate": _COUNT,
    "momentum": _SHARE,
    "decay": _COUNT,
    "clip": _ABOVE_0,
}
_CHECKS: dict[str, _Check] = {
    "seed": (lambda v: 0 <= v < 2**31, "in [0, 2**31)"),
    "devices": _COUNT,
    "population.execution": _one_of(("auto", "map", "vmap")),
    "data.images": _COUNT,
    "data.size": _readable(parse_size),
    "data.fit": _one_of(FITS),
    "data.channels": (lambda v: v in (0, 1, 3), "1, 3 or 0"),
    "data.bits": (lambda v: 8 <= v <= 16, "8 to 16"),
    "data.background": (lambda v: 0 <= v <= 255, "0 to 255"),
    "data.pad": _COUNT,
    "data.cutout": _COUNT,
    "data.chunk": _POSITIVE,
    "data.workers": _COUNT,
    "data.class_weights": _CLASS_WEIGHTS,
    "data.metric": _one_of(METRICS),
    "supernet.cells": _POSITIVE,
    "supernet.channels": _POSITIVE,
    "supernet.partial_channels": _POSITIVE,
    "supernet.execution": _one_of(("auto", "scan", "batch")),
    "supernet.remat": _one_of(("auto", "none", "edge", "cell")),
    "supernet.dtype": _one_of(DTYPES),
    "search.epochs": _POSITIVE,
    "search.batch_size": _POSITIVE,
    "search.microbatches": _POSITIVE,
    "search.train_fraction": (lambda v: 0 < v < 1, "between 0 and 1"),
    "search.validation": _one_of(("train", "test")),
    "search.temperature": _schedule(lambda s: s.low > 0, "above 0"),
    "search.auxiliary_skip": _SCHEDULE_COUNT,
    "search.valid_weight": _SCHEDULE_COUNT,
    "search.warmup": (lambda v: 0 <= v <= 1, "in [0, 1]"),
    "search.inner.radius": _ABOVE_0,
    "search.inner.steps": _POSITIVE,
    "search.inner.terms": _COUNT,
    "search.inner.rate": _ABOVE_0,
    "search.inner.iterations": _POSITIVE,
    "search.inner.damping": _COUNT,
    "search.radius": _SCHEDULE_COUNT,
    "search.hook_weight": _SCHEDULE_COUNT,
    "search.corruption.strength": _SCHEDULE_COUNT,
    "search.architecture.learning_rate": _COUNT,
    "search.architecture.momentum": _SHARE,
    "search.architecture.entropy": _COUNT,
    "search.architecture.baseline_decay": _SHARE,
    "search.operations": _COUNT,
    "search.budget.target": _ABOVE_0,
    "search.budget.rate": _COUNT,
    "search.stopping.window": _POSITIVE,
    "search.stopping.factor": _ABOVE_0,
    "search.stopping.delta": _POSITIVE,
    "search.stopping.start": _COUNT,
    "search.stopping.least": _POSITIVE,
    "search.stopping.epochs": _POSITIVE,
    "search.selection.level": _SHARE,
    "search.selection.most": _COUNT,
    "search.selection.samples": _POSITIVE,
    "search.selection.tune_epochs": _COUNT,
    "search.selection.tune_rate": _COUNT,
    "search.stopping.restarts": _COUNT,
    "search.stopping.stronger": _ABOVE_0,
    "search.diagnostics.eigenvalue_every": _COUNT,
    "search.diagnostics.cosine_every": _COUNT,
    "search.diagnostics.products": _POSITIVE,
    "search.architecture.beta1": _SHARE,
    "search.architecture.beta2": _SHARE,
    "search.architecture.decay": _COUNT,
    "search.architecture.init_scale": _COUNT,
    "retrain.network": _one_of(NETWORKS),
    "retrain.cells": _POSITIVE,
    "retrain.channels": _POSITIVE,
    "retrain.epochs": _POSITIVE,
    "retrain.batch_size": _POSITIVE,
    "retrain.microbatches": _POSITIVE,
    "retrain.dtype": _one_of(DTYPES),
    "retrain.pad": _COUNT,
    "retrain.cutout": _COUNT,
    "retrain.drop_path": _SHARE,
    "retrain.auxiliary_weight": _COUNT,
    "retrain.label_smoothing": _SHARE,
    "retrain.schedule": _one_of(SHAPES),
    "retrain.warmup_epochs": _COUNT,
    "retrain.decay_per_epoch": (lambda v: 0 < v <= 1, "in (0, 1]"),
    "baseline.random_genotypes": _COUNT,
    "baseline.repeats": _COUNT,
    "baseline.execution": _one_of(("separate", "shared")),
    "score.paths": _COUNT,
    "score.images": _COUNT,
    "score.batch_size": _POSITIVE,
    "score.statistics": _one_of(("running", "batch", "recalibrated")),
    "score.calibration": _POSITIVE,
    "benchmark.dataset": _one_of(("auto", *DATASETS)),
    "benchmark.split": _one_of(SPLITS),
    "benchmark.epochs": (lambda v: v in EPOCHS, " or ".join(map(str, EPOCHS))),
    "checkpoint.keep": _POSITIVE,
    "checkpoint.every_epochs": _POSITIVE,
} | {
    f"{part}.weights.{name}": check
    for part in ("search", "retrain")
    for name, check in _OPTIMIZER_CHECKS.items()
}

_CHECKS |= {
    "language.tokens": _COUNT,
    "language.held_out": _COUNT,
    "language.valid_fraction": (lambda v: 0 < v < 0.5, "between 0 and 0.5"),
    "language.test_fraction": (lambda v: 0 < v < 0.5, "between 0 and 0.5"),
    "language.window": (lambda v: v >= 2, "at least 2"),
    "language.longer": _COUNT,
    "language.test_batch_size": _POSITIVE,
    "language.patience": _COUNT,
} | {
    f"language.{part}.{name}": check
    for part in ("supernet", "network")
    for name, check in (
        ("units", _POSITIVE),
        ("jitter", _COUNT),
        ("activation", _COUNT),
        ("slowness", _COUNT),
        *((f"dropouts.{field.name}", _SHARE) for field in fields(Dropouts)),
    )
}

_CHECKS |= {
    "detection.side": (lambda v: v >= 8, "at least 8"),
    "detection.boxes": _POSITIVE,
    "detection.scenes": _POSITIVE,
    "detection.test_scenes": _POSITIVE,
    "detection.seed": _COUNT,
    "detection.channels": _POSITIVE,
    "detection.radius": _ABOVE_0,
    "detection.box_weight": _COUNT,
    "detection.candidates": _POSITIVE,
    "detection.least": _SHARE,
    "detection.overlap": (lambda v: 0 < v <= 1, "in (0, 1]"),
}

# Settings that name a function, and where it is looked up.
_TABLES: dict[str, tuple[Sequence[str], Mapping[str, Any]]] = {
    "search.relaxation": ((), RELAXATIONS),
    "search.regime": ((), REGIMES),
    "search.hypergradient": ((), HYPERGRADIENTS),
    "search.perturbation": ((), PERTURBATIONS),
    "search.hook": ((), WEIGHT_HOOKS),
    "search.corruption.kind": (("none",), CORRUPTIONS),
    "search.budget.rule": (("none",), BUDGETS),
    "search.architecture.rule": ((), ARCHITECTURE_UPDATES),
    "search.stop": (("none",), STOPS),
    "search.discretization": (("auto",), ChainMap(DISCRETIZATIONS, SELECTIONS)),
}


def _check(key: str) -> _Check:
    if key.startswith("search.terms."):
        return _schedule(lambda s: True, "")
    return _CHECKS.get(key, (lambda _: True, ""))


def validate_config(config: ConfigDict) -> None:
    """Checks what can be checked without data; raises InputError in one line."""
    for key, value in flatten(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"setting {key} is {value}; want a finite number")
        besides, table = _TABLES.get(key, ((), {}))
        if table and value not in (*besides, *table):
            raise unknown_name(key.split(".")[-1], value, [*besides, *table])
        holds, wanted = _check(key)
        if not holds(value):
            raise InputError(f"setting {key} is {value}; want {wanted}")
    for part in ("search", "retrain"):
        settings = config[part]
        if settings.batch_size % settings.microbatches:
            raise InputError(
                f"setting {part}.microbatches is {settings.microbatches}; want a "
                f"divisor of {part}.batch_size, {settings.batch_size}"
            )
    if config.supernet.channels % config.supernet.partial_channels:
        raise InputError(
            f"setting supernet.partial_channels is {config.supernet.partial_channels}; "
            f"want a divisor of supernet.channels, {config.supernet.channels}"
        )
    refuse_illegal(config)


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf of a nested mapping."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict | ConfigDict):
            yield from flatten(value, f"{path}.")
        else:
            yield path, value
