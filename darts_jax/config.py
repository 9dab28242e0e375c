"""Settings: one tree of defaults, and every way to change it checked against them.

The defaults are those of DARTS on CIFAR-10 (Liu et al., 2019, and its code).
"""

import json
import math
import runpy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.errors import InputError, unknown_name

DTYPES = ("float32", "bfloat16")
SCHEDULES = ("cosine", "exponential", "linear")
NETWORKS = ("cifar", "imagenet")


def default_config() -> ConfigDict:
    """DARTS, first order, on the embedded digits."""
    config = ConfigDict()
    config.seed = 0
    config.space = "darts"
    config.data = ConfigDict(
        {
            "name": "digits",
            "directory": "",  # else DARTS_JAX_DATA_DIR
            "pad": 0,  # random crop after padding by so many pixels, in the search
            "flip": False,
            "cutout": 0,
            "chunk": 8,  # steps of a stream whose images are put on the device at once
            "workers": 0,  # processes that decode a stream; 0: threads
        }
    )
    config.supernet = ConfigDict(
        {
            "cells": 8,
            "channels": 16,
            "partial_channels": 1,
            "execution": "auto",  # scan | batch; auto: scan on CPU
            "remat": "auto",  # none | edge | cell: less memory for more arithmetic
            "dtype": "float32",  # | bfloat16, for the computation alone
        }
    )
    config.search = ConfigDict(
        {
            "epochs": 50,
            "batch_size": 64,
            "microbatches": 1,  # parts of a batch, one after the other
            "train_fraction": 0.5,
            "hypergradient": "first_order",
            "relaxation": "softmax",
            "weights": {
                "learning_rate": 0.025,
                "final_learning_rate": 0.001,
                "momentum": 0.9,
                "decay": 3e-4,
                "clip": 5.0,
            },
            "architecture": {
                "learning_rate": 3e-4,
                "beta1": 0.5,
                "beta2": 0.999,
                "decay": 1e-3,
                "init_scale": 1e-3,
            },
        }
    )
    config.retrain = ConfigDict(
        {
            "network": "cifar",  # | imagenet
            "cells": 20,
            "channels": 36,
            "epochs": 600,
            "batch_size": 96,
            "microbatches": 1,
            "dtype": "float32",
            "split_state": False,  # parameters divided among devices, not repeated
            "pad": 4,
            "flip": True,
            "cutout": 16,
            "drop_path": 0.2,  # reached by a linear ramp
            "auxiliary_weight": 0.4,  # 0: no auxiliary head
            "label_smoothing": 0.0,
            "schedule": "cosine",  # | exponential | linear
            "warmup_epochs": 0,
            "decay_per_epoch": 0.97,  # of the exponential schedule
            "weights": {
                "learning_rate": 0.025,
                "final_learning_rate": 0.0,
                "momentum": 0.9,
                "decay": 3e-4,
                "clip": 5.0,
            },
        }
    )
    config.baseline = ConfigDict({"random_genotypes": 0})
    config.devices = 0  # that share a batch, or a population; 0: all that can
    config.population = ConfigDict({"execution": "auto"})  # map | vmap; map on CPU
    # Of compiled programs: auto (the user's cache folder), off, or a folder.
    config.compilation_cache = "auto"
    config.checkpoint = ConfigDict({"keep": 3, "every_epochs": 1})
    return config.lock()


def load_config(
    source: str | Path | None = None, overrides: Sequence[str] = ()
) -> ConfigDict:
    """Defaults, then a file, then single settings.

    Args:
      source: a Python file with ``get_config()``, a resolved ``config.json``, or the
        bare name of a file in ``configs/``.
      overrides: ``"search.epochs=3"`` and the like.

    Raises:
      InputError: no such file, unknown key (with the nearest one), or wrong type.
    """
    config = default_config()
    if source is not None:
        for key, value in flatten(_read(Path(source))):
            _set(config, key, value)
    return with_overrides(config, overrides)


def with_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """A copy with single settings changed, as in `load_config`, and checked."""
    changed = ConfigDict(config.to_dict()).lock()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"setting {override!r} has no value; want {key}=VALUE")
        _set(changed, key, _parse(key, text, get_setting(changed, key)))
    validate_config(changed)
    return changed


def config_to_json(config: ConfigDict) -> str:
    """The resolved settings, keys sorted."""
    return json.dumps(config.to_dict(), indent=1, sort_keys=True) + "\n"


def config_difference(old: ConfigDict, new: ConfigDict) -> list[str]:
    """``"search.epochs: 50 -> 3"`` for every setting that differs."""
    before, after = dict(flatten(old.to_dict())), dict(flatten(new.to_dict()))
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf of a nested mapping."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict | ConfigDict):
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        named = Path("configs") / f"{path}.py"
        known = sorted(p.stem for p in Path("configs").glob("*.py"))
        if path.suffix in (".py", ".json") or not known:
            raise InputError(f"no config file {path}")
        if not named.is_file():
            raise unknown_name("config", str(path), known)
        path = named
    if path.suffix != ".json":
        return _call_get_config(path)
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"config {path} is not readable JSON: {error}") from None
    if not isinstance(tree, dict):
        raise InputError(f"config {path} is not a JSON object")
    return tree


def _call_get_config(path: Path) -> dict[str, Any]:
    try:
        made = runpy.run_path(str(path)).get("get_config")
        config = made() if callable(made) else None
    except InputError:
        raise
    # A config file is the user's program: whatever it raises is theirs to mend.
    except Exception as error:
        told = str(error).split("\n")[0]
        raise InputError(
            f"config {path} failed: {type(error).__name__}: {told}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"config {path} defines no get_config() -> ConfigDict")
    return config.to_dict()


def get_setting(config: ConfigDict, key: str) -> Any:
    """The value of a dotted key; raises InputError with the nearest one."""
    known = dict(flatten(config))
    if key not in known:
        raise unknown_name("setting", key, list(known))
    return known[key]


def _set(config: ConfigDict, key: str, value: Any) -> None:
    default = get_setting(config, key)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise _wrong_type(key, value, default)
    *path, last = key.split(".")
    node = config
    for name in path:
        node = node[name]
    node[last] = value


def _wrong_type(key: str, value: Any, default: Any) -> InputError:
    wanted = {bool: "true or false", int: "an integer", float: "a number"}
    kind = wanted.get(type(default), "a text")
    return InputError(f"setting {key} is {value!r}; want {kind}, such as {default!r}")


def _parse(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise _wrong_type(key, text, default)
        return text.lower() == "true"
    try:
        return type(default)(text)
    except ValueError:
        raise _wrong_type(key, text, default) from None


_Check = tuple[Callable[[Any], bool], str]
_POSITIVE: _Check = (lambda v: v >= 1, "at least 1")
_COUNT: _Check = (lambda v: v >= 0, "0 or more")
_ABOVE_0: _Check = (lambda v: v > 0, "above 0")
_SHARE: _Check = (lambda v: 0 <= v < 1, "in [0, 1)")


def _one_of(names: Sequence[str]) -> _Check:
    return lambda v: v in names, f"one of {', '.join(names)}"


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
    "data.pad": _COUNT,
    "data.cutout": _COUNT,
    "data.chunk": _POSITIVE,
    "data.workers": _COUNT,
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
    "search.architecture.learning_rate": _COUNT,
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
    "retrain.schedule": _one_of(SCHEDULES),
    "retrain.warmup_epochs": _COUNT,
    "retrain.decay_per_epoch": (lambda v: 0 < v <= 1, "in (0, 1]"),
    "baseline.random_genotypes": _COUNT,
    "checkpoint.keep": _POSITIVE,
    "checkpoint.every_epochs": _POSITIVE,
} | {
    f"{part}.weights.{name}": check
    for part in ("search", "retrain")
    for name, check in _OPTIMIZER_CHECKS.items()
}


def validate_config(config: ConfigDict) -> None:
    """Checks what can be checked without data; raises InputError in one line."""
    for key, value in flatten(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"setting {key} is {value}; want a finite number")
        holds, wanted = _CHECKS.get(key, (lambda _: True, ""))
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
