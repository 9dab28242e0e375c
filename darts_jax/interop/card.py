"""Card of an exported network: genotype, data, accuracy, cost and origin."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.cost.networks import COLUMNS, network_cost
from darts_jax.data.dataset import STORED, Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.job import Score
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.image_networks import make_network
from darts_jax.training.directory import RunDirectory, installed_versions, read_versions

KIND = "darts-jax export"
"""Value of ``kind`` in every card."""


def make_card(
    directory: RunDirectory,
    config: ConfigDict,
    dataset: AnyDataset,
    genotype: Genotype,
    summary: dict[str, Any],
    measured: Score,
) -> dict[str, Any]:
    """Collects the facts of a retrained network, as JSON has them.

    Args:
      directory: of its run.
      config: of its training.
      dataset: that it was trained on.
      genotype: of the network.
      summary: content of the run's ``summary.json``.
      measured: score of the task that the card tells; see `told_score`.
    """
    net = make_network(config, dataset, genotype).clone(auxiliary=False)
    cost = network_cost(net, dataset.image_shape)
    network, *others = summary["networks"]
    test = f"test_{measured.name}"
    return {
        "kind": KIND,
        "genotype": json.loads(genotype.to_json()),
        "space": genotype.space,
        "data": {
            "name": dataset.name,
            "note": dataset.note,
            "licence": dataset.licence,
            "training_images": dataset.train_size,
            "mean": [float(value) for value in dataset.mean],
            "std": [float(value) for value in dataset.std],
        },
        test: network[test],
        f"random_{_PLURALS.get(test, test)}": [other[test] for other in others],
        "cost": {
            "parameters": int(cost.parameters),
            "multiply_accumulates": int(cost.macs),
            "activation_bytes": int(cost.activation_bytes),
        },
        "input": {
            "shape": ["batch", *dataset.image_shape],
            "dtype": STORED[dataset.kind],
            **_describe_columns(dataset, genotype),
        },
        "output": {
            "shape": ["batch", dataset.classes],
            "dtype": "float32",
            **_describe_outputs(dataset),
        },
        "made": describe_origin(directory, config),
    }


def describe_origin(directory: RunDirectory, config: ConfigDict) -> dict[str, Any]:
    """Returns how an exported network was made, as JSON has it.

    Args:
      directory: of its run.
      config: of its training.
    """
    return {
        "seed": config.seed,
        "retrain": config.retrain.to_dict(),
        "trained_on": read_versions(directory).get("retrain", {}),
        "exported_by": installed_versions(),
    }


def format_origin(made: dict[str, Any]) -> str:
    """Formats how an exported network was made, as Markdown.

    Args:
      made: see `describe_origin`.
    """
    versions = made["exported_by"]
    return (
        "## How it was made\n\n"
        f"Trained from scratch (epochs {made['retrain']['epochs']}, batch size "
        f"{made['retrain']['batch_size']}, seed {made['seed']}) by `darts-jax "
        "retrain`, written by `darts-jax export`. `card.json` has every setting.\n\n"
        "Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + "."
    )


def is_card(path: Path) -> bool:
    """Returns whether a file is a card that `export` wrote.

    Args:
      path: of the file, which may be absent.
    """
    try:
        return bool(json.loads(path.read_text())["kind"] == KIND)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def format_card(card: dict[str, Any], genotype: Genotype, measured: Score) -> str:
    """Formats a card as Markdown.

    Args:
      card: see `make_card`.
      genotype: of the network.
      measured: score that the card tells.
    """
    data = card["data"]
    output = card["output"]
    classes = output.get("classes")
    gives = f"logits [batch, {output['shape'][1]}]"
    if classes is None:
        gives = f"predictions [batch, 1] of {output['target']} in its own unit"
    shape = ", ".join(map(str, card["input"]["shape"]))
    dtype = card["input"]["dtype"]
    is_image = dtype == "uint8"
    parts = [
        f"# A network for {data['name']}",
        f"{'Uint8 images' if is_image else 'Float32 numbers'} [{shape}] as stored to "
        f"float32 {gives}. Normalisation is "
        f"inside, by the means {_numbers(data['mean'])} and deviations "
        f"{_numbers(data['std'])} of the channels"
        f"{' in units of 0..1' if is_image else ''}.",
        _format_columns(card["input"]),
        "`python load.py IMAGES.npy` prints predictions; `card.json` has all of this.",
        "## Accuracy" if classes else "## Test",
        _format_tests(card, measured),
        data["note"],
        "## Architecture",
        f"Of the space `{card['space']}`; the numbers are states of a cell, the first "
        "of them its inputs.",
        f"```\n{genotype}\n```\n\n![cells](genotype.svg)",
        f"```json\n{json.dumps(card['genotype'])}\n```",
        "## Cost",
        "Of one image; activations are what a training step would hold.",
        "\n".join(
            f"- {name}: {number:,}"
            for name, number in zip(COLUMNS[1:], card["cost"].values(), strict=True)
        ),
        "## Data",
        f"{data['name']}, {data['training_images']:,} training images. Licence: "
        f"{data['licence']}.",
        f"Classes: {', '.join(classes)}." if classes else "",
        format_origin(card["made"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_columns(dataset: AnyDataset, genotype: Genotype) -> dict[str, list[str]]:
    """Returns names of a table's columns, and of those that the network reads."""
    if not isinstance(dataset, Dataset) or not dataset.columns:
        return {}
    everything = range(len(dataset.columns))
    taken = everything if genotype.columns is None else genotype.columns
    return {
        "columns": list(dataset.columns),
        "read": [dataset.columns[i] for i in taken],
    }


def _format_columns(given: dict[str, Any]) -> str:
    if "columns" not in given:
        return ""
    return (
        f"The channels are the columns {', '.join(given['columns'])}; NaN is a missing "
        f"number. The network reads {', '.join(given['read'])}."
    )


def _describe_outputs(dataset: AnyDataset) -> dict[str, Any]:
    """Returns names of the classes, or of the number that is predicted."""
    if isinstance(dataset, Dataset) and dataset.has_numbers:
        return {"target": dataset.class_names[0]}
    return {"classes": list(dataset.class_names)}


def told_score(score: Score, scores: Sequence[Score]) -> Score:
    """Returns the score that a card tells: the accuracy where it was measured, too.

    Args:
      score: of the run.
      scores: of its task.
    """
    known = {one.name: one for one in scores}
    return known["accuracy"] if "accuracy" in score.measures else score


def _format_tests(card: dict[str, Any], measured: Score) -> str:
    test = f"test_{measured.name}"
    own = measured.format_score(card[test])
    text = (
        f"{own} of the test images."
        if measured.unit == "%"
        else f"{measured.words} {own} on the test data"
        f"{'' if measured.more_is_better else ', of which less is better'}."
    )
    others = card[f"random_{_PLURALS.get(test, test)}"]
    if not others:
        return text + " No random genotype was trained beside it."
    *numbers, last = [measured.format_score(other) for other in others]
    told = ", ".join([*(n.removesuffix(" %") for n in numbers), last])
    return (
        f"{text} Random genotypes of the same space by the same recipe: {told}, mean "
        f"{measured.format_score(statistics.mean(others))}."
    )


_PLURALS = {"test_accuracy": "test_accuracies"}


def _numbers(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
