"""Settings: one tree of defaults, and every way to change it checked against them.

The defaults are those of DARTS on CIFAR-10 (Liu et al., 2019, and its code).
"""

import json
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from darts_jax.bilevel.hypergradient import PUBLISHED_RADIUS
from darts_jax.bilevel.implicit import DARTS_RATE, PUBLISHED_TERMS
from darts_jax.bilevel.regularization import TERMS
from darts_jax.errors import InputError, unknown_name
from darts_jax.settings.checks import flatten, validate_config


def default_config() -> ConfigDict:
    """DARTS, first order, on the embedded digits."""
    config = ConfigDict()
    config.seed = 0
    config.task = "classification"  # of `build.tasks.TASKS`
    config.space = "darts"
    config.data = ConfigDict(
        {
            "name": "digits",
            "directory": "",  # else DARTS_JAX_DATA_DIR
            "images": 0,  # the first so many of either part; 0: all
            "size": "",  # that images are brought to: 32, or 48x64; "": as stored
            "fit": "crop",  # at the centre, | squeeze
            "channels": 0,  # 1: gray, 3: RGB, 0: as stored; of a stream RGB
            "bits": 8,  # 9 to 16: those used by files of 16, of which the upper 8 count
            "background": 255,  # gray level behind what is transparent
            "skip_unreadable": False,  # leave out files of a folder, and name them
            "pad": 0,  # random crop after padding by so many pixels, in the search
            "flip": False,
            "cutout": 0,
            "chunk": 8,  # steps of a stream whose images are put on the device at once
            "workers": 0,  # processes that decode a stream; 0: threads
            # Of an image in the loss, by its class: none | balanced | "1,2,0.5".
            "class_weights": "none",
            # Of scores: auto (the task's own) | accuracy | balanced_accuracy.
            "metric": "auto",
        }
    )
    config.supernet = ConfigDict(
        {
            "cells": 8,
            "channels": 16,
            "partial_channels": 1,
            "execution": "auto",  # scan | batch; on CPU scan, unless edges are few
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
            "validation": "train",  # | test: half of the test images, as NAS-Bench-201
            "relaxation": "softmax",
            # Texts like this one are schedules: 5, 10:0.1 or 10:0.1:cosine.
            "temperature": "1",
            "edge_weights": False,  # over the edges that end in one node
            "auxiliary_skip": "0",  # weight of a skip beside every edge's own
            "regime": "split",
            "valid_weight": "1",  # of the mixed regime
            "warmup": 0.0,  # share of the epochs in which the architecture rests
            "hypergradient": "first_order",
            "inner": {  # of the hypergradients that take them
                "radius": PUBLISHED_RADIUS,
                "steps": 2,
                "terms": PUBLISHED_TERMS,
                "rate": DARTS_RATE,
                "iterations": 10,
                "damping": 1.0,
            },
            "perturbation": "none",  # of the mixture, in the weight step
            "radius": "0",
            "hook": "none",  # on the gradient of the weights
            "hook_weight": "0",
            "corruption": {
                "kind": "none",  # | dropout | gaussian
                "operations": "skip_connect",  # separated by commas
                "strength": "0",
            },
            # Weights of what is added to the architecture's loss.
            "terms": dict.fromkeys(TERMS, "0"),
            # Of the expected cost and of the budget; a file: darts-jax cost --table.
            "costs": "parameters",  # | macs | a file
            "budget": {
                "rule": "none",  # | dual_ascent | augmented
                "target": 1.0,  # of the network to retrain: millions, or milliseconds
                "rate": 0.1,  # of the multiplier, by relative excess and step
            },
            "weights": {
                "learning_rate": DARTS_RATE,
                "final_learning_rate": 0.001,
                "momentum": 0.9,
                "decay": 3e-4,
                "clip": 5.0,
            },
            "architecture": {
                "rule": "adam",
                "learning_rate": 3e-4,
                "beta1": 0.5,
                "beta2": 0.999,
                "decay": 1e-3,
                "momentum": 0.9,  # of sgd
                "init_scale": 1e-3,
                "entropy": 1e-4,  # of reinforce: weight of the policy's entropy
                "baseline_decay": 0.95,  # and of its moving average of rewards
            },
            "stages": "",  # settings of one after another: "search.epochs=2; ..."
            "operations": 0,  # strongest of each edge that a stage keeps; 0: all
            "stop": "none",
            "stopping": {  # of the stop rules that take them
                "window": 5,
                "factor": 1.3,
                "delta": 4,
                "start": 10,
                "least": 2,
                "epochs": 10,
                "restarts": 0,  # from there with stronger decay; the last isn't stopped
                "stronger": 10.0,
            },
            "discretization": "auto",  # the space's own
            "selection": {  # of the rules that take them
                "level": 0.85,
                "most": 2,
                "samples": 100,
                "tune_epochs": 0,  # between two decisions on the supernet
                "tune_rate": 0.1,  # share of the first learning rate
            },
            # Every so many epochs; 0: never.
            "diagnostics": {"eigenvalue_every": 0, "cosine_every": 0, "products": 20},
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
    # Of task=language; the sizes and rates are those of Liu et al. (2019).
    config.language = ConfigDict(
        {
            "tokens": 0,  # the first so many to train on; 0: all
            "held_out": 0,  # and so many to validate and to test on; 0: all
            "valid_fraction": 0.1,  # of a text that has no parts of its own
            "test_fraction": 0.1,
            "window": 35,  # tokens that are read, and learned from, at once
            "longer": 20,  # the most by which one is longer than that
            "test_batch_size": 10,  # texts that are read side by side in a test
            "patience": 5,  # epochs without a better score before weights are averaged
            "supernet": _reader(units=300, jitter=0.0),
            "network": _reader(units=850, jitter=5.0),
        }
    )
    # Of task=detection.
    config.detection = ConfigDict(
        {
            "side": 48,  # of an image, to which others are scaled
            "boxes": 4,  # the most of an image; COCO has 93
            "scenes": 1000,  # that are generated to train on
            "test_scenes": 200,
            "seed": 0,  # of these
            "channels": 32,  # of the head
            "radius": 1.5,  # strides from a box's middle that learn of it
            "box_weight": 2.0,  # of the boxes' loss beside the classes'
            "candidates": 100,  # of which the boxes of an image are chosen
            "least": 0.05,  # score of a detection
            "overlap": 0.6,  # of two boxes of one class, of which one is dropped
        }
    )
    config.baseline = ConfigDict(
        {
            "random_genotypes": 0,
            # Draws those that cost what the searched one does, and at most 5 % less:
            "equal_cost": "",  # macs | parameters | a table's file; "": draws any
            "repeats": 0,  # further trainings of the searched genotype
            # Random networks one by one, or all as one program: compiled once, for
            # images in memory without drop path and auxiliary head.
            "execution": "separate",  # | shared
        }
    )
    # Of every path of a trained supernet: darts-jax score.
    config.score = ConfigDict(
        {
            "paths": 0,  # drawn at random; 0: all, or 1,000 of a large space
            "images": 1000,  # the first of the validation images; 0: all
            "batch_size": 250,
            "statistics": "recalibrated",  # | running | batch: see build/paths.py
            "calibration": 250,  # training images
        }
    )
    # A NAS-Bench-201 search is scored by its table: darts-jax convert-nasbench201.
    config.benchmark = ConfigDict(
        {
            "table": "",  # else nasbench201_table.npz in data.directory
            "dataset": "auto",  # cifar10 | cifar100 | imagenet16_120; auto: the data
            "split": "test",  # | valid | valtest
            "epochs": 200,  # | 12, that the table's networks were trained for
        }
    )
    config.devices = 0  # that share a batch, or a population; 0: all that can
    config.population = ConfigDict({"execution": "auto"})  # map | vmap; map on CPU
    # Of compiled programs: auto (the user's cache folder), off, or a folder.
    config.compilation_cache = "auto"
    config.checkpoint = ConfigDict({"keep": 3, "every_epochs": 1})
    return config.lock()


def _reader(units: int, jitter: float) -> dict[str, Any]:
    return {
        "units": units,
        "jitter": jitter,  # standard deviation of the windows' lengths
        "dropouts": {
            "words": 0.0,
            "embedding": 0.2,
            "inputs": 0.75,
            "hidden": 0.25,
            "output": 0.75,
        },
        "activation": 0.0,  # weight of the states' squares in the loss
        "slowness": 1e-3,  # and of their changes
    }


def with_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """A copy with single settings changed, as ``"search.epochs=3"``, and checked."""
    changed = ConfigDict(config.to_dict()).lock()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"setting {override!r} has no value; want {key}=VALUE")
        set_setting(changed, key, _parse(key, text, get_setting(changed, key)))
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


def get_setting(config: ConfigDict, key: str) -> Any:
    """The value of a dotted key; raises InputError with the nearest one."""
    known = dict(flatten(config))
    if key not in known:
        raise unknown_name("setting", key, list(known))
    return known[key]


def set_setting(config: ConfigDict, key: str, value: Any) -> None:
    """Changes a setting in place; an integer may stand for a number.

    Args:
      config: a config, locked or not.
      key: dotted name of the setting, as ``"search.epochs"``.
      value: of the type of the default.

    Raises:
      InputError: there is no such setting, or the value has another type.
    """
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
