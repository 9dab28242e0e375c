"""`report`: one page about a run, or about several searches beside each other."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.errors import InputError
from darts_jax.files import open_place, write_atomically
from darts_jax.html import Table
from darts_jax.reports.answers import (
    collapse_answer,
    group_answer,
    loss_answers,
    read_data,
    retrained_answers,
    search_answers,
    told_by,
)
from darts_jax.reports.content import Picture, Section
from darts_jax.reports.page import render_page
from darts_jax.reports.sections import (
    all_backgrounds_section,
    background_sections,
    cells_section,
    class_sections,
    cost_sections,
    curve_plots,
    curves_section,
    describe_search,
    describe_settings,
    diagnostic_plots,
    differences_section,
    genotypes_section,
    networks_section,
    pictures_section,
    recorded_columns,
    truth_sections,
    verdict_section,
    verdicts_section,
)
from darts_jax.reports.verdict import Answer, judge_against_all_cells
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.modules import is_module
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.module.task import MODULE
from darts_jax.tasks.registry import get_task, require_images
from darts_jax.tasks.task import TaskData
from darts_jax.training.directory import RunDirectory
from darts_jax.training.search_result import SearchResult, group_by_seed
from darts_jax.workflows.compare import Comparison, compare, load_run
from darts_jax.workflows.population import Member, PopulationResult
from darts_jax.workflows.retrain_result import RetrainResult, read_retrained

_NAMED = 4  # searches in a title


def report(
    runs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    dataset: TaskData | None = None,
) -> Path:
    """Writes a page about one run, or one that compares several searches.

    It is a single file that needs no network and runs no script.

    Args:
      runs: directories; several must hold searches.
      out: the file; by default ``report.html`` in the run, or here for several.
      dataset: data in place of those that the settings name; of a network of one's
        own its `Problem`, which is only needed to count its cost.

    Returns:
      The path of the page.

    Raises:
      InputError: a directory holds no run, or a damaged one; one line says which.
    """
    paths = [runs] if isinstance(runs, str | Path) else list(runs)
    if not paths:
        raise InputError("nothing to report on; want directories of runs")
    found = load_run(paths[0]) if len(paths) == 1 else compare(paths)
    for path in paths:
        _require_reported(load_config(RunDirectory(open_place(path)).config))
    default = open_place(paths[0]) if len(paths) == 1 else Path()
    place = open_place(out) if out else default / "report.html"
    write_atomically(place, _make_page(found, dataset).encode())
    return place


def _require_reported(config: ConfigDict) -> None:
    if get_task(config) is not MODULE:
        require_images(config, "a report")


@functools.singledispatch
def _make_page(found: Any, dataset: TaskData | None) -> str:
    """Makes the page about a result, by its type."""
    raise TypeError(type(found))


@_make_page.register
def _make_search_page(found: SearchResult, dataset: TaskData | None) -> str:
    data = read_data(found.run, found.config, dataset)
    is_own = is_module(found.config.space)
    what = "choices that were made" if is_own else "cells that were found"
    cells = [Picture(found.draw(), f"The {what}.")]
    weights = []
    has_numbers = not found.epochs_without_numbers()
    if has_numbers:
        supernet = (
            "The supernet after the last epoch: the stronger an edge, the more its "
            "strongest operation weighs."
        )
        of = "edge's operations"
        if is_own:
            supernet = (
                "The network with all of its options after the last epoch: a box is "
                "filled as far as its option's weight reaches."
            )
            of = "choice's options"
        cells.append(Picture(found.draw_supernet(), supernet))
        weights = [Picture(found.plot_alpha(), f"Weights of every {of} by epoch.")]
    if has_numbers and not is_own:
        weights.append(Picture(found.plot_heatmap(), "The same after the last epoch."))
    columns = recorded_columns(found.records)
    retrained = read_retrained(found.run.path)
    sections = [
        verdict_section(search_answers(found, data)),
        cells_section(found.genotype, cells, found.weights if has_numbers else None),
        curves_section("Curves", found, columns, curve_plots(found.config)),
        curves_section(
            "Diagnostics", found, columns, diagnostic_plots(found.config), weights
        ),
        *truth_sections(found.run),
        *([networks_section(retrained)] if retrained else []),
        *class_sections(found.run),
        *background_sections(found.run, found.config, data),
        genotypes_section({"genotype": found.genotype.to_json()}),
    ]
    facts = describe_search(found)
    return render_page(_run_name(found.run), "Search report", facts, sections)


@_make_page.register
def _make_retraining_page(found: RetrainResult, dataset: TaskData | None) -> str:
    from darts_jax.plots.cells import draw_genotype

    config = load_config(found.run.config)
    data = read_data(found.run, config, dataset)
    genotype = found.network.genotype
    what = "choices" if is_module(genotype.space) else "cells"
    cells = Picture(draw_genotype(genotype), f"The {what} that were trained.")
    facts = {
        "space": config.space,
        "data": config.data.name,
        f"test {found.measure.words}": told_by(config).number(
            found.measure.scaled(found.score)
        ),
    }
    sections = [
        verdict_section(retrained_answers(found, config, data)),
        cells_section(genotype, [cells]),
        networks_section(found),
        *class_sections(found.run),
        *background_sections(found.run, config, data),
        genotypes_section({"genotype": genotype.to_json()}),
    ]
    return render_page(_run_name(found.run), "Retraining report", facts, sections)


@_make_page.register
def _make_population_page(found: PopulationResult, dataset: TaskData | None) -> str:
    config = load_config(found.run.config)
    data = read_data(found.run, config, dataset)
    named = {
        ", ".join(f"{k} {v}" for k, v in member.settings.items()): member
        for member in found.members
    }
    answers = {
        name: _member_answers(config, member)
        for name, member in named.items()
        if member.genotype is not None
    }
    genotypes = {
        name: member.genotype.to_json()
        for name, member in named.items()
        if member.genotype is not None
    }
    lost = len(named) - len(answers)
    lead = f"{len(named)} searches that ran side by side."
    if lost:
        lead += f" Of {lost} the loss became no number: they found nothing."
    caption = "Share of choices that two members have alike."
    agreement = Picture(found.plot_agreement(), caption)
    columns = found.history.columns
    members = Table(found.rows(), "Every member after its last epoch")
    sections = [
        verdicts_section(loss_answers(found.run), answers, lead),
        Section("Members", [members]),
        curves_section("Curves", found, columns, curve_plots(config)),
        curves_section(
            "Diagnostics", found, columns, diagnostic_plots(config), [agreement]
        ),
        *background_sections(found.run, config, data),
        genotypes_section(genotypes),
    ]
    facts = describe_settings(config) | {"searches": len(named)}
    return render_page(_run_name(found.run), "Population report", facts, sections)


@_make_page.register
def _make_comparison_page(found: Comparison, dataset: TaskData | None) -> str:
    searches = found.searches
    configs = {name: one.config for name, one in searches.items()}
    data = {
        name: read_data(one.run, one.config, dataset) for name, one in searches.items()
    }
    answers = {name: search_answers(one, data[name]) for name, one in searches.items()}
    groups = [*group_by_seed(searches)]
    group_answers = [a for a in map(group_answer, groups) if a is not None]
    lead = f"{len(answers)} searches beside each other."
    if len(groups) > 1 and not group_answers:
        lead += (
            " Each of these settings was searched once: a difference between two of "
            "them may be the seed's."
        )
    first = next(iter(searches.values()))
    what = "choices" if is_module(first.config.space) else "cells"
    cells = [
        Picture(one.draw(), f"{name}: the {what} that were found.")
        for name, one in searches.items()
    ]
    caption = "Share of choices that two searches have alike."
    agreement = Picture(found.plot_agreement(), caption)
    columns = recorded_columns(r for one in searches.values() for r in one.records)
    rows = Table(found.rows(), "Every search after its last epoch")
    sections = [
        verdicts_section(group_answers, answers, lead),
        Section("Side by side", [rows]),
        *_effects_sections(found, groups),
        curves_section("Curves", found, columns, curve_plots(first.config)),
        curves_section(
            "Diagnostics", found, columns, diagnostic_plots(first.config), [agreement]
        ),
        pictures_section(f"{what[:1].upper()}{what[1:]}", cells),
        *cost_sections(searches),
        differences_section(configs),
        all_backgrounds_section(
            {name: (one.run, one.config, data[name]) for name, one in searches.items()}
        ),
        genotypes_section({k: one.genotype.to_json() for k, one in searches.items()}),
    ]
    facts = {"searches": len(answers), **_common_facts(configs.values())}
    title = f"{len(answers)} searches"
    if len(answers) <= _NAMED:
        title = " · ".join(answers)
    return render_page(title, "Comparison of searches", facts, sections)


def _effects_sections(
    found: Comparison, groups: Sequence[Mapping[str, SearchResult]]
) -> list[Section]:
    """Makes the section of groups of seeds beside the first, if there are several."""
    if len(groups) < 2 or max(map(len, groups)) < 2 or not found.measures:
        return []
    measure = found.measures[0]
    rows = found.effects(measure).drop(columns="setting").to_dict("records")
    title = f"Differences in {measure.replace('_', ' ')}"
    count = "one comparison" if len(rows) == 1 else f"{len(rows)} comparisons"
    lead = (
        f"Paired by seed where both have it, with 95 % intervals; {count}, for which "
        "p_holm is corrected."
    )
    return [Section(title, [Table(rows, title)], lead)]


def _common_facts(configs: Iterable[ConfigDict]) -> dict[str, Any]:
    """Returns the facts that all searches share."""
    every = [describe_settings(config) for config in configs]
    return {k: v for k, v in every[0].items() if all(e[k] == v for e in every)}


def _member_answers(config: ConfigDict, member: Member) -> list[Answer]:
    genotype = member.genotype
    assert genotype is not None
    answers = []
    known = known_accuracies(config)
    if known is not None:
        own = known.accuracy(genotype)
        answers.append(judge_against_all_cells([own], known.cells, known.title))
    last = {kind: values[-1] for kind, values in member.alpha.items()}
    return [*answers, collapse_answer(config, last, genotype)]


def _run_name(run: RunDirectory) -> str:
    return run.path.resolve().name
