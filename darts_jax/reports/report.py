"""`report`: one page about a run, or about several beside each other."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.files import write_atomically
from darts_jax.html import table
from darts_jax.nasbench.known import known_accuracies
from darts_jax.reports.evidence import (
    Data,
    collapse_answer,
    group_answer,
    loss_answers,
    retrained_answers,
    search_answers,
)
from darts_jax.reports.figures import Figures
from darts_jax.reports.page import Section, page
from darts_jax.reports.parts import (
    CURVES,
    DIAGNOSTICS,
    about,
    about_search,
    against_cost,
    background,
    by_class,
    curves,
    differences,
    name_of,
    networks,
    of_each,
    recorded,
    truth,
)
from darts_jax.reports.sections import Picture, genotype, pictures, verdict, verdicts
from darts_jax.reports.verdict import Answer, beats_all_cells
from darts_jax.settings.config_files import load_config
from darts_jax.tasks.registry import require_images
from darts_jax.training.directory import RunDirectory
from darts_jax.training.restore import blank_images
from darts_jax.training.search_result import SearchResult, group_by_seed
from darts_jax.workflows.compare import Comparison, compare, load_run
from darts_jax.workflows.population import Member, PopulationResult
from darts_jax.workflows.retrain_result import RetrainResult, read_retrained

_NAMED = 4  # searches in a title


def report(
    runs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    dataset: AnyDataset | None = None,
) -> Path:
    """Writes a page about one run, or one that compares several searches.

    It is a single file that needs no network and runs no script.

    Args:
      runs: directories; several must hold searches.
      out: the file; by default ``report.html`` in the run, or here for several.
      dataset: in place of the one that the settings name.

    Returns:
      Where the page is.

    Raises:
      InputError: a directory holds no run, or a damaged one; one line says which.
    """
    paths = [runs] if isinstance(runs, str | Path) else list(runs)
    if not paths:
        raise InputError("nothing to report on; want directories of runs")
    found = load_run(paths[0]) if len(paths) == 1 else compare(paths)
    for path in paths:
        require_images(load_config(RunDirectory(Path(path)).config), "a report")
    default = Path(paths[0]) if len(paths) == 1 else Path()
    place = Path(out) if out else default / "report.html"
    write_atomically(place, _page(found, dataset).encode())
    return place


@functools.singledispatch
def _page(found: Any, dataset: AnyDataset | None) -> str:
    """The page about whatever was found."""
    raise TypeError(type(found))


@_page.register
def _(found: SearchResult, dataset: AnyDataset | None) -> str:
    data, figures = (
        Data(found.config, dataset or blank_images(found.run)),
        Figures(),
    )
    cells = [Picture(found.draw(), "The cells that were found.")]
    weights = list[Picture]()
    if not found.epochs_without_numbers():
        cells += [_drawn_supernet(found)]
        weights += [
            Picture(found.plot_alpha(), "Weights of every edge's operations by epoch."),
            Picture(found.plot_heatmap(), "The same after the last epoch."),
        ]
    retrained = read_retrained(found.run.path)
    sections = [
        verdict(search_answers(found, data)),
        pictures("Cells", cells, figures),
        curves("Curves", found, recorded(found.records), CURVES, [], figures),
        curves(
            "Diagnostics", found, recorded(found.records), DIAGNOSTICS, weights, figures
        ),
        *truth(found.run, figures),
        *([networks(retrained, figures)] if retrained else []),
        *by_class(found.run, figures),
        *background(found.run, found.config, data),
        genotype({"genotype": found.genotype.to_json()}),
    ]
    return page(name_of(found.run), "Search report", about_search(found), sections)


def _drawn_supernet(found: SearchResult) -> Picture:
    return Picture(
        found.draw_supernet(),
        "The supernet after the last epoch: the stronger an edge, the more its "
        "strongest operation weighs.",
    )


@_page.register
def _(found: RetrainResult, dataset: AnyDataset | None) -> str:
    from darts_jax.plots.cells import draw_genotype

    config, figures = load_config(found.run.config), Figures()
    data = Data(config, dataset or blank_images(found.run))
    drawn = draw_genotype(found.network.genotype)
    told = {
        "space": config.space,
        "data": config.data.name,
        f"test {found.measure.words}": f"{found.measure.scaled(found.score):.2f} %",
    }
    sections = [
        verdict(retrained_answers(found, config, data)),
        pictures("Cells", [Picture(drawn, "The cells that were trained.")], figures),
        networks(found, figures),
        *by_class(found.run, figures),
        *background(found.run, config, data),
        genotype({"genotype": found.network.genotype.to_json()}),
    ]
    return page(name_of(found.run), "Retraining report", told, sections)


@_page.register
def _(found: PopulationResult, dataset: AnyDataset | None) -> str:
    config, figures = load_config(found.run.config), Figures()
    data = Data(config, dataset or blank_images(found.run))
    named = {
        ", ".join(f"{k} {v}" for k, v in member.settings.items()): member
        for member in found.members
    }
    answers = {
        name: _member_answers(config, member)
        for name, member in named.items()
        if member.genotype is not None
    }
    lost = len(named) - len(answers)
    lead = f"{len(named)} searches that ran side by side."
    if lost:
        lead += f" Of {lost} the loss became no number: they found nothing."
    agreeing = [
        Picture(found.plot_agreement(), "Share of choices that two members have alike.")
    ]
    told = about(config) | {"searches": len(named)}
    sections = [
        verdicts(loss_answers(found.run), answers, lead),
        Section("Members", table(found.rows(), "Every member after its last epoch")),
        curves("Curves", found, found.history.columns, CURVES, [], figures),
        curves(
            "Diagnostics", found, found.history.columns, DIAGNOSTICS, agreeing, figures
        ),
        *background(found.run, config, data),
        genotype(
            {
                name: member.genotype.to_json()
                for name, member in named.items()
                if member.genotype is not None
            }
        ),
    ]
    return page(name_of(found.run), "Population report", told, sections)


@_page.register
def _(found: Comparison, dataset: AnyDataset | None) -> str:
    figures = Figures()
    data = {
        name: Data(one.config, dataset or blank_images(one.run))
        for name, one in found.searches.items()
    }
    answers = {
        name: search_answers(one, data[name]) for name, one in found.searches.items()
    }
    groups = [*group_by_seed(found.searches)]
    of_groups = [a for a in map(group_answer, groups) if a is not None]
    lead = f"{len(answers)} searches beside each other."
    if len(groups) > 1 and not of_groups:
        lead += (
            " Each of these settings was searched once: a difference between two of "
            "them may be the seed's."
        )
    cells = [
        Picture(one.draw(), f"{name}: the cells that were found.")
        for name, one in found.searches.items()
    ]
    agreeing = [
        Picture(
            found.plot_agreement(), "Share of choices that two searches have alike."
        )
    ]
    columns = recorded(r for one in found.searches.values() for r in one.records)
    configs = {name: one.config for name, one in found.searches.items()}
    rest = {
        name: (one.run, one.config, data[name]) for name, one in found.searches.items()
    }
    told = {"searches": len(answers), **_common(configs.values())}
    sections = [
        verdicts(of_groups, answers, lead),
        Section(
            "Side by side", table(found.rows(), "Every search after its last epoch")
        ),
        *_by_seed(found, groups),
        curves("Curves", found, columns, CURVES, [], figures),
        curves("Diagnostics", found, columns, DIAGNOSTICS, agreeing, figures),
        pictures("Cells", cells, figures),
        *against_cost(found.searches, figures),
        differences(configs),
        of_each(rest),
        genotype({name: o.genotype.to_json() for name, o in found.searches.items()}),
    ]
    names = (
        " · ".join(answers) if len(answers) <= _NAMED else f"{len(answers)} searches"
    )
    return page(names, "Comparison of searches", told, sections)


def _by_seed(
    found: Comparison, groups: Sequence[Mapping[str, SearchResult]]
) -> list[Section]:
    """Groups of seeds beside the first, where there are seeds to tell by."""
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
    return [Section(title, table(rows, title), lead)]


def _common(configs: Iterable[ConfigDict]) -> dict[str, Any]:
    """What all searches have alike, of that which comes first."""
    every = [about(config) for config in configs]
    return {k: v for k, v in every[0].items() if all(e[k] == v for e in every)}


def _member_answers(config: ConfigDict, member: Member) -> list[Answer]:
    genotype, answers = member.genotype, []
    assert genotype is not None
    known = known_accuracies(config)
    if known is not None:
        answers.append(
            beats_all_cells([known.accuracy(genotype)], known.cells, known.title)
        )
    last = {kind: values[-1] for kind, values in member.alpha.items()}
    return [*answers, collapse_answer(config, last, genotype)]
