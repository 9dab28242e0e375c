"""Parts of a page about a user's network: its choices, its data, how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darts_jax.data.identity import Identity
from darts_jax.html import Table
from darts_jax.reports.content import Block, Code, Facts, Paragraph, Section
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.modules import choices_of, get_decisions
from darts_jax.training.directory import RunDirectory

_WHAT = {
    "Choice": "one of several modules",
    "InputChoice": "some of several inputs",
    "ValueChoice": "a number of a list",
}


def choices_table(
    genotype: Genotype, weights: Mapping[str, Any] | None = None
) -> Table:
    """Makes the table of a network's choices.

    Args:
      genotype: of the network.
      weights: name of a choice -> weight of each option [1, option]; None: not shown.
    """
    chosen = choices_of(genotype)
    rows = []
    for decision in get_decisions(genotype.space):
        options = list(decision.options)
        if weights is not None:
            pairs = zip(options, weights[decision.name][0], strict=True)
            options = [f"{option} {weight:.2f}" for option, weight in pairs]
        is_reached = decision.is_reached(chosen)
        rows.append(
            {
                "choice": decision.name,
                "kind": _WHAT.get(decision.kind, decision.kind),
                "options" if weights is None else "options and weights": ", ".join(
                    options
                ),
                "chosen": chosen[decision.name] if is_reached else "not asked for",
                "asked for": f"if {decision.condition}"
                if decision.condition
                else "always",
            }
        )
    return Table(rows, "Choices of the network")


def examples_section(known: Identity) -> Section:
    """Makes the section of the data of a network of one's own.

    Args:
      known: what the run remembers of them.
    """
    facts = {"set": known.name, "licence": known.licence}
    counts = {f"{part} examples": count for part, count in known.counts.items()}
    blocks: list[Block] = [Facts(facts | counts)]
    if known.note:
        blocks.append(Paragraph(known.note))
    return Section("Data", blocks)


def python_section(run: RunDirectory, verbs: Mapping[str, Any]) -> Section:
    """Makes the section of the calls that repeat a run of a network in Python.

    Args:
      run: the directory of the run.
      verbs: the verbs that ran in it.
    """
    again = f"{run.path}-again"
    lines = [f'config = darts_jax.load_config("{run.config}")']
    calls = {
        "search": f'darts_jax.search(config, "{again}", problem)',
        "population": f'darts_jax.population(config, grid, "{again}", problem)',
        "retrain": f'darts_jax.retrain(config, "{again}", dataset=problem)',
    }
    lines += [call for verb, call in calls.items() if verb in verbs]
    lead = (
        "With the same network, data, loss and metric as darts_jax.make_problem(...). "
        "The same versions on the same kind of device give the same bits."
    )
    return Section("How to reproduce", [Code("\n".join(lines), "Calls")], lead)
