"""Card of an exported network of a user's own: choices, score, cost and origin."""

import json
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from darts_jax.cost.choices import count_macs_of, count_parameters_of
from darts_jax.interop.artifact import Program
from darts_jax.interop.card import KIND, describe_origin, format_origin
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.module.problem import Problem
from darts_jax.training.directory import RunDirectory


def make_module_card(
    directory: RunDirectory,
    config: ConfigDict,
    problem: Problem,
    genotype: Genotype,
    scores: Sequence[float],
    program: Program,
) -> dict[str, Any]:
    """Collects the facts of a retrained network of a user's own, as JSON has them.

    Args:
      directory: of its run.
      config: of its training.
      problem: that it was trained on.
      genotype: of the network.
      scores: on the test examples, of the network and of random ones.
      program: the network.
    """
    network, measure = problem.network, problem.score
    tested, *random = map(measure.scaled, scores)
    (output,) = program.closed.out_avals
    choices = network.named(genotype)
    return {
        "kind": KIND,
        "genotype": json.loads(genotype.to_json()),
        "space": genotype.space,
        "reached": network.reached(choices),
        "data": {
            "name": problem.name,
            "note": problem.note,
            "licence": problem.examples.licence,
            "training_examples": len(jax.tree.leaves(problem.examples.train)[0]),
        },
        "score": {
            "name": measure.name,
            "unit": measure.unit,
            "more_is_better": measure.more_is_better,
            "test": tested,
            "random_test": random,
        },
        "cost": {
            "parameters": count_parameters_of(network, choices),
            "multiply_accumulates": count_macs_of(network, choices),
        },
        "input": {
            "shape": ["batch", *program.images.shape[1:]],
            "dtype": str(program.images.dtype),
        },
        "output": {
            "shape": ["batch", *output.shape[1:]],
            "dtype": str(output.dtype),
        },
        "made": describe_origin(directory, config),
    }


def format_module_card(card: dict[str, Any], genotype: Genotype) -> str:
    """Formats a card of a user's network as Markdown.

    Args:
      card: see `make_module_card`.
      genotype: of the network.
    """
    data, score = card["data"], card["score"]
    takes, gives = (
        f"{card[side]['dtype']} [{', '.join(map(str, card[side]['shape']))}]"
        for side in ("input", "output")
    )
    told = f"{score['test']:.4g} {score['unit']}".rstrip()
    beside = ", ".join(f"{value:.4g}" for value in score["random_test"])
    parts = [
        f"# A network of {card['space']}",
        f"{takes} to {gives}, in the mode in which it is tested.",
        "`python load.py INPUTS.npy` prints outputs; `card.json` has all of this.",
        f"## {score['name'].capitalize()}",
        f"{told} on the test examples. Networks of random choices by the same recipe: "
        f"{beside or 'none was trained'}.",
        data["note"],
        "## Choices",
        f"```\n{genotype}\n```\n\n![choices](genotype.svg)",
        "## Cost",
        f"{card['cost']['parameters']:,} parameters, "
        f"{card['cost']['multiply_accumulates']:,} multiply-accumulates for one "
        "example.",
        "## Data",
        f"{data['name']}, {data['training_examples']:,} training examples. Licence: "
        f"{data['licence']}.",
        format_origin(card["made"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
