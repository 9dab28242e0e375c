"""Sections of a page, from results and from what lies in run directories."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from darts_jax.data.dataset import EXAMPLES, Dataset
from darts_jax.data.identity import read_identity
from darts_jax.engine.job import Score
from darts_jax.html import Table
from darts_jax.plots.history_plots import HistoryPlots
from darts_jax.reports.answers import Data, network_rows, read_scores, test_column
from darts_jax.reports.choices import choices_table, examples_section, python_section
from darts_jax.reports.commands import list_settings, reproduction_commands
from darts_jax.reports.content import (
    Answers,
    Block,
    Code,
    Details,
    Facts,
    Gallery,
    Heading,
    Paragraph,
    Picture,
    Section,
)
from darts_jax.reports.verdict import Answer
from darts_jax.settings.methods import METHODS, method_of
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.modules import is_module
from darts_jax.tasks.registry import get_score
from darts_jax.training.directory import RunDirectory, read_versions
from darts_jax.training.evaluation import read_evaluation
from darts_jax.training.search_result import SearchResult
from darts_jax.training.stages import make_stages
from darts_jax.workflows.retrain_result import RetrainResult, read_retrained

Plots = Mapping[str, tuple[str, str]]
"""Column of a history -> the plot method for it, and a caption."""

CURVE_PLOTS: Plots = {
    "loss": ("plot_losses", "Losses by epoch."),
    "held_out_accuracy": (
        "plot_accuracies",
        "Accuracies of the supernet by epoch, and of its genotype's operations alone.",
    ),
    "held_out_balanced_accuracy": (
        "plot_balanced_accuracies",
        "Balanced accuracies, the mean recall of the classes, of the supernet by "
        "epoch, and of its genotype's operations alone.",
    ),
    "benchmark_accuracy": (
        "plot_truth",
        "What the benchmark knows of the genotype of each epoch.",
    ),
}
"""Plots of losses and accuracies."""

DIAGNOSTIC_PLOTS: Plots = {
    "entropy": (
        "plot_entropy",
        "How undecided the edges are: 1 is not at all, 0 is decided.",
    ),
    "skips": ("plot_skips", "Skip connections in the genotype: many are a collapse."),
    "discretization_gap": (
        "plot_gap",
        "What the supernet loses of its score by keeping its genotype alone.",
    ),
    "eigenvalue": (
        "plot_eigenvalue",
        "Top eigenvalue of the validation loss by the architecture: a steep rise "
        "foretells a collapse (Zela et al., 2020).",
    ),
}
"""Plots of the state of a search."""


def curve_plots(config: ConfigDict) -> Plots:
    """Returns the plots of losses and scores of a run.

    Args:
      config: its settings.
    """
    column = f"held_out_{get_score(config).name}"
    if column in CURVE_PLOTS:
        return CURVE_PLOTS
    caption = "The supernet's score by epoch, and that of its genotype alone."
    return {**CURVE_PLOTS, column: ("plot_scores", caption)}


def diagnostic_plots(config: ConfigDict) -> Plots:
    """Returns the plots of the state of a search.

    Args:
      config: its settings.
    """
    if not is_module(config.space):
        return DIAGNOSTIC_PLOTS
    # Not every network has such options.
    return {k: plot for k, plot in DIAGNOSTIC_PLOTS.items() if k != "skips"}


def describe_search(found: SearchResult) -> dict[str, Any]:
    """Returns the facts about a search that a reader should know first.

    Args:
      found: the search.
    """
    config = found.config
    planned = sum(stage.config.search.epochs for stage in make_stages(config))
    done = len(next(iter(found.alpha.values())))
    finished = found.run.genotype.exists()
    epochs = f"{done}" if finished else f"unfinished, {done} of {planned}"
    return describe_settings(config) | {"epochs": epochs, "seed": config.seed}


def describe_settings(config: ConfigDict) -> dict[str, Any]:
    """Returns space, method and data of settings.

    Args:
      config: the settings.
    """
    name = method_of(config)
    method = METHODS[name].title if name else "a combination of its own"
    return {"space": config.space, "method": method, "data": config.data.name}


def recorded_columns(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """Returns the names of all that some record has a value of.

    Args:
      records: column -> value for each epoch.
    """
    return {k for record in records for k, value in record.items() if value is not None}


# The verdict


def verdict_section(answers: Sequence[Answer]) -> Section:
    """Makes the section of the answers about one run, each with its evidence.

    Args:
      answers: the answers.
    """
    return Section("Verdict", [Answers(answers)])


def verdicts_section(
    of_groups: Sequence[Answer], named: Mapping[str, Sequence[Answer]], lead: str
) -> Section:
    """Makes the section of the answers about several searches.

    Args:
      of_groups: answers about searches that differ in their seed alone.
      named: name of a search -> the answers about it.
      lead: a sentence that stands before them.
    """
    rows = [
        {"search": name, **{answer.question: answer for answer in answers}}
        for name, answers in named.items()
    ]
    blocks: list[Block] = [Answers(of_groups)] if of_groups else []
    blocks.append(Table(rows, "The verdict on every search"))
    blocks += [
        Details(f"The evidence for {name}", [Answers(answers)])
        for name, answers in named.items()
    ]
    return Section("Verdict", blocks, lead)


# Pictures


def cells_section(
    genotype: Genotype,
    pictures: Sequence[Picture],
    weights: Mapping[str, Any] | None = None,
) -> Section:
    """Makes the section of what was found: cells, or the choices of a user's network.

    Args:
      genotype: that was found.
      pictures: of it.
      weights: kind -> weights after the last epoch [edge, op], where they are shown.
    """
    if not is_module(genotype.space):
        return pictures_section("Cells", pictures)
    lead = (
        "From input to output; what lies within an option is asked for where that is "
        "taken."
    )
    blocks: list[Block] = [Gallery(pictures), choices_table(genotype, weights)]
    return Section("Choices", blocks, lead)


def pictures_section(
    title: str, pictures: Sequence[Picture], lead: str = ""
) -> Section:
    """Makes a section of pictures alone.

    Args:
      title: its title.
      pictures: the pictures.
      lead: a sentence that stands before them.
    """
    return Section(title, [Gallery(pictures)], lead)


def curves_section(
    title: str,
    found: HistoryPlots,
    columns: Collection[str],
    plots: Plots,
    more: Sequence[Picture] = (),
) -> Section:
    """Makes a section with a plot of each column that was recorded.

    Args:
      title: its title.
      found: the result whose history is plotted.
      columns: names of the recorded columns.
      plots: the plots.
      more: pictures behind the plots.
    """
    shown = [
        Picture(getattr(found, plot)(), caption)
        for column, (plot, caption) in plots.items()
        if column in columns
    ]
    if not shown and not more:
        none = "No epoch's record is kept in this directory."
        return Section(title, [Paragraph(none)])
    return pictures_section(title, [*shown, *more])


def truth_sections(run: RunDirectory) -> list[Section]:
    """Makes the section of the supernet's scores beside the truth, if `score` ran.

    Args:
      run: the directory of the search.
    """
    from darts_jax.plots.scatter import draw_scatter

    scored = read_scores(run)
    if scored is None:
        return []
    picture = Picture(
        draw_scatter(scored.accuracy, scored.truth, str(scored.summary["truth"])),
        "Every path of the supernet: its accuracy with shared weights, and the truth.",
    )
    protocol = str(scored.summary.get("protocol", ""))
    lead = f"{protocol[:1].upper()}{protocol[1:]}."
    return [pictures_section("Supernet against truth", [picture], lead)]


# Networks trained from scratch


def networks_section(found: RetrainResult) -> Section:
    """Makes the section of the retrained network, beside random ones.

    Args:
      found: the retraining.
    """
    rows = network_rows(found)
    lead = "Each was trained from scratch by the same recipe, and tested once."
    blocks: list[Block] = [Table(rows, "Networks trained from scratch")]
    if found.note:
        blocks.append(Paragraph(found.note, "lead"))
    if not found.baselines:
        return Section("Retrained network", blocks, lead)
    grouped = [row | {"group": str(row["network"]).split()[0]} for row in rows]
    blocks.append(Gallery([_plot_front(grouped, found.measure)]))
    random = "choices" if is_module(found.network.genotype.space) else "cells"
    return Section(f"Beside random {random}", blocks, lead)


def class_sections(run: RunDirectory) -> list[Section]:
    """Makes the section of the retrained network's results by class, if kept.

    Args:
      run: the directory of the retraining.
    """
    found = read_evaluation(run)
    if found is None:
        return []
    from darts_jax.plots.confusion import plot_confusion

    rows = found.rows()
    count = len(found.names)
    lead = (
        f"The retrained network on {int(found.confusion.sum()):,} test images of "
        f"{found.data}: accuracy {100 * found.accuracy:.2f} %, balanced accuracy, the "
        f"mean recall of the classes, {100 * found.balanced_accuracy:.2f} %."
    )
    if len(rows) < count:
        lead += f" Of {count} classes the table has the {len(rows)} of least recall."
    picture = Picture(
        plot_confusion(found.confusion, found.names),
        "Confusion matrix: each row is a true class, shared out among the classes that "
        "its images are taken for.",
    )
    blocks: list[Block] = [Table(rows, "Results by class"), Gallery([picture])]
    return [Section("Results by class", blocks, lead)]


def cost_sections(searches: Mapping[str, SearchResult]) -> list[Section]:
    """Makes the section of accuracy against cost, if any search was retrained.

    Args:
      searches: name -> search.
    """
    every = {name: read_retrained(one.run.path) for name, one in searches.items()}
    trained = {name: one for name, one in every.items() if one is not None}
    if not trained:
        return []
    measure = next(iter(trained.values())).measure
    rows = [
        row | {"group": name}
        for name, one in trained.items()
        if one.measure.title == measure.title
        for row in network_rows(one)
    ]
    words = f"{measure.words[:1].upper()}{measure.words[1:]}"
    return [pictures_section(f"{words} against cost", [_plot_front(rows, measure)])]


def _plot_front(rows: Sequence[Mapping[str, Any]], measure: Score) -> Picture:
    import pandas as pd

    from darts_jax.plots.front import plot_front

    column = test_column(measure)
    caption = (
        f"Parameters and test {measure.words} of every network; the steps are the best."
    )
    points = pd.DataFrame(rows)
    figure = plot_front(points, "parameters", column, "network", measure.more_is_better)
    return Picture(figure, caption)


# Settings, data, environment, commands


def background_sections(
    run: RunDirectory, config: ConfigDict, data: Data
) -> list[Section]:
    """Makes the sections of a run's settings, data, environment and commands.

    Args:
      run: the directory of the run.
      config: its settings.
      data: its data.
    """
    versions = read_versions(run)
    known = read_identity(run.data) if is_module(config.space) else None
    if is_module(config.space):
        again = python_section(run, versions)
    else:
        again = _commands_section(reproduction_commands(run, config, versions))
    return [
        _settings_section(config),
        examples_section(known) if known else _data_section(config, data),
        _environment_section(versions),
        again,
    ]


def all_backgrounds_section(
    runs: Mapping[str, tuple[RunDirectory, ConfigDict, Data]],
) -> Section:
    """Makes one section of the settings, data, environment and commands of many runs.

    Args:
      runs: name -> directory, settings and data.
    """
    blocks = []
    for name, (run, config, data) in runs.items():
        inner: list[Block] = []
        for section in background_sections(run, config, data):
            inner += [Heading(section.title), *section.blocks]
        blocks.append(Details(name, inner))
    lead = "Of each search by itself."
    return Section("Settings, environment, commands", blocks, lead)


def differences_section(configs: Mapping[str, ConfigDict]) -> Section:
    """Makes the section of the settings in which searches differ.

    Args:
      configs: name -> settings.
    """
    every = {name: list_settings(config) for name, config in configs.items()}
    rows = []
    for same in zip(*every.values(), strict=True):
        if len({str(setting.value) for setting in same}) > 1:
            values = dict(zip(every, (setting.value for setting in same), strict=True))
            rows.append({"setting": same[0].name, **values})
    title = "Where their settings differ"
    if not rows:
        return Section(title, [Paragraph("In nothing.")])
    return Section(title, [Table(rows, title)])


def genotypes_section(genotypes: Mapping[str, str]) -> Section:
    """Makes the section of genotypes as JSON.

    Args:
      genotypes: name -> JSON.
    """
    codes = {name: Code(json, f"JSON: {name}") for name, json in genotypes.items()}
    blocks: list[Block] = list(codes.values())
    if len(codes) > 1:
        blocks = [Details(name, [code]) for name, code in codes.items()]
    lead = "As JSON: retrain, draw and cost take a file of it. One click selects all."
    return Section("Genotype", blocks, lead)


def _settings_section(config: ConfigDict) -> Section:
    every = list_settings(config)
    changed = [
        {
            "setting": setting.name,
            "value": _format_literal(setting.value),
            "default": _format_literal(setting.default),
        }
        for setting in every
        if setting.is_changed
    ]
    rows = [{"setting": s.name, "value": _format_literal(s.value)} for s in every]
    first: Block = Paragraph("Every setting is the default.")
    if changed:
        first = Table(changed, "Settings that differ from the defaults")
    whole = Details(f"All {len(rows)} settings", [Table(rows, "All settings")])
    lead = f"{len(changed)} of {len(rows)} differ from the defaults."
    return Section("Settings", [first, whole], lead)


def _data_section(config: ConfigDict, data: Data) -> Section:
    found = data.found
    if found is None:
        return Section("Data", [Paragraph(f"{config.data.name}: {data.missing}")])
    values: dict[str, Any] = {"set": found.name, "classes": found.classes}
    if isinstance(found, Dataset) and found.has_numbers:
        mean, deviation = found.target_scale
        values = {
            "set": found.name,
            "predicted": found.class_names[0],
            "mean and deviation": f"{mean:.4g}, {deviation:.4g}",
        }
    one, several = EXAMPLES[found.kind]
    values |= {
        one: "x".join(map(str, found.image_shape)),
        f"training {several}": found.train_size,
    }
    if isinstance(found, Dataset):
        values[f"test {several}"] = len(found.test_labels)
    blocks: list[Block] = [Facts(values)]
    if found.note:
        blocks.append(Paragraph(found.note))
    return Section("Data", blocks)


def _environment_section(versions: Mapping[str, Mapping[str, Any]]) -> Section:
    names = dict.fromkeys(name for facts in versions.values() for name in facts)
    rows = [
        {"": name, **{verb: str(f.get(name, "-")) for verb, f in versions.items()}}
        for name in names
    ]
    return Section("Environment", [Table(rows, "What each verb ran on")])


def _commands_section(commands: Mapping[str, str]) -> Section:
    blocks: list[Block] = []
    for purpose, command in commands.items():
        blocks += [Paragraph(f"{purpose}:"), Code(command, purpose)]
    lead = (
        "The same settings and versions on the same kind of device give the same bits."
    )
    return Section("How to reproduce", blocks, lead)


def _format_literal(value: Any) -> str:
    """Formats a value as a command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "(empty)"
