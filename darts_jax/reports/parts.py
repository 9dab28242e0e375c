"""Parts that reports of all kinds share, from what lies in run directories."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from darts_jax.data.dataset import Dataset
from darts_jax.html import details, facts, heading, paragraph, table
from darts_jax.plots.history_plots import HistoryPlots
from darts_jax.reports.evidence import Data, network_rows, read_scores, test_column
from darts_jax.reports.figures import Figures
from darts_jax.reports.page import Section
from darts_jax.reports.recipe import commands, settings_of
from darts_jax.reports.sections import (
    Picture,
    environment,
    gallery,
    pictures,
    reproduction,
    settings,
)
from darts_jax.settings.methods import METHODS, method_of
from darts_jax.training.directory import RunDirectory, read_versions
from darts_jax.training.evaluation import read_evaluation
from darts_jax.training.search_result import SearchResult
from darts_jax.training.stages import make_stages
from darts_jax.workflows.retrain_result import RetrainResult, read_retrained

Plots = Mapping[str, tuple[str, str]]
# Column of a history -> its plot, and what to see in it.
CURVES: Plots = {
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
DIAGNOSTICS: Plots = {
    "entropy": (
        "plot_entropy",
        "How undecided the edges are: 1 is not at all, 0 is decided.",
    ),
    "skips": ("plot_skips", "Skip connections in the genotype: many are a collapse."),
    "discretization_gap": (
        "plot_gap",
        "Accuracy that the supernet loses by keeping its genotype alone.",
    ),
    "eigenvalue": (
        "plot_eigenvalue",
        "Top eigenvalue of the validation loss by the architecture: a steep rise "
        "foretells a collapse (Zela et al., 2020).",
    ),
}


def recorded(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of all that some record has a value of."""
    return {k for record in records for k, value in record.items() if value is not None}


def curves(
    title: str,
    found: HistoryPlots,
    columns: Collection[str],
    plots: Plots,
    more: Sequence[Picture],
    figures: Figures,
) -> Section:
    """A plot of each column that was recorded, and more pictures behind."""
    shown = [
        Picture(getattr(found, plot)(), caption)
        for column, (plot, caption) in plots.items()
        if column in columns
    ]
    if not shown and not more:
        return Section(title, paragraph("No epoch's record is kept in this directory."))
    return pictures(title, [*shown, *more], figures)


def name_of(run: RunDirectory) -> str:
    """Its directory's."""
    return run.path.resolve().name


def about_search(found: SearchResult) -> dict[str, Any]:
    """What to know of a search before anything else."""
    config = found.config
    planned = sum(stage.config.search.epochs for stage in make_stages(config))
    done = len(next(iter(found.alpha.values())))
    finished = found.run.genotype.exists()
    epochs = f"{done}" if finished else f"unfinished, {done} of {planned}"
    return about(config) | {"epochs": epochs, "seed": config.seed}


def about(config: ConfigDict) -> dict[str, Any]:
    """Space, method and data of settings."""
    name = method_of(config)
    method = METHODS[name].title if name else "a combination of its own"
    return {"space": config.space, "method": method, "data": config.data.name}


def background(run: RunDirectory, config: ConfigDict, data: Data) -> list[Section]:
    """What a run rests on: settings, machines, data, commands."""
    verbs = read_versions(run)
    return [
        settings(settings_of(config)),
        _data(config, data),
        environment(verbs),
        reproduction(commands(run, config, verbs)),
    ]


def networks(found: RetrainResult, figures: Figures) -> Section:
    """The searched network beside the random ones."""
    rows = network_rows(found)
    lead = "Each was trained from scratch by the same recipe, and tested once."
    note = paragraph(found.note, "lead") if found.note else ""
    body = table(rows, "Networks trained from scratch") + note
    if not found.baselines:
        return Section("Retrained network", body, lead)
    kinds = [row | {"group": str(row["network"]).split()[0]} for row in rows]
    drawn = gallery([_front(kinds, test_column(found.measure))], figures)
    return Section("Beside random cells", body + drawn, lead)


def by_class(run: RunDirectory, figures: Figures) -> list[Section]:
    """Returns the results of the retrained network by class, where they are kept."""
    found = read_evaluation(run)
    if found is None:
        return []
    from darts_jax.plots.confusion import plot_confusion

    rows, count = found.rows(), len(found.names)
    lead = (
        f"The retrained network on {int(found.confusion.sum()):,} test images of "
        f"{found.data}: accuracy {100 * found.accuracy:.2f} %, balanced accuracy, the "
        f"mean recall of the classes, {100 * found.balanced_accuracy:.2f} %."
    )
    if len(rows) < count:
        lead += f" Of {count} classes the table has the {len(rows)} of least recall."
    drawn = Picture(
        plot_confusion(found.confusion, found.names),
        "Confusion matrix: each row is a true class, shared out among the classes that "
        "its images are taken for.",
    )
    body = table(rows, "Results by class") + gallery([drawn], figures)
    return [Section("Results by class", body, lead)]


def against_cost(
    searches: Mapping[str, SearchResult], figures: Figures
) -> list[Section]:
    """What was trained from scratch, where any was."""
    every = {name: read_retrained(one.run.path) for name, one in searches.items()}
    trained = {name: one for name, one in every.items() if one is not None}
    if not trained:
        return []
    column = test_column(next(iter(trained.values())).measure)
    rows = [
        row | {"group": name}
        for name, one in trained.items()
        if test_column(one.measure) == column
        for row in network_rows(one)
    ]
    return [pictures("Accuracy against cost", [_front(rows, column)], figures)]


def truth(run: RunDirectory, figures: Figures) -> list[Section]:
    """The supernet's scores beside what is true, where `score` has been."""
    from darts_jax.plots.scatter import draw_scatter

    scored = read_scores(run)
    if scored is None:
        return []
    told = scored.summary
    picture = Picture(
        draw_scatter(scored.accuracy, scored.truth, str(told["truth"])),
        "Every path of the supernet: its accuracy with shared weights, and the truth.",
    )
    protocol = str(told.get("protocol", ""))
    lead = f"{protocol[:1].upper()}{protocol[1:]}."
    return [pictures("Supernet against truth", [picture], figures, lead)]


def differences(configs: Mapping[str, ConfigDict]) -> Section:
    """The settings in which searches differ."""
    every = {name: settings_of(config) for name, config in configs.items()}
    rows = []
    for same in zip(*every.values(), strict=True):
        if len({str(setting.value) for setting in same}) > 1:
            values = (s.value for s in same)
            rows.append(
                {"setting": same[0].name, **dict(zip(every, values, strict=True))}
            )
    title = "Where their settings differ"
    if not rows:
        return Section(title, paragraph("In nothing."))
    return Section(title, table(rows, title))


def of_each(runs: Mapping[str, tuple[RunDirectory, ConfigDict, Data]]) -> Section:
    """What every one of several runs rests on, on demand."""
    body = "".join(
        details(name, "".join(_nested(s) for s in background(*parts)))
        for name, parts in runs.items()
    )
    return Section("Settings, environment, commands", body, "Of each search by itself.")


def _front(rows: Sequence[Mapping[str, Any]], column: str) -> Picture:
    import pandas as pd

    from darts_jax.plots.front import plot_front

    measure = column.removesuffix(" %")
    caption = f"Parameters and {measure} of every network; the steps are the best."
    drawn = plot_front(pd.DataFrame(rows), "parameters", column, "network")
    return Picture(drawn, caption)


def _nested(section: Section) -> str:
    return heading(section.title) + section.body


def _data(config: ConfigDict, data: Data) -> Section:
    if data.found is None:
        return Section("Data", paragraph(f"{config.data.name}: {data.missing}"))
    found = data.found
    told: dict[str, Any] = {
        "set": found.name,
        "classes": found.classes,
        "image": "x".join(map(str, found.image_shape)),
        "training images": found.train_size,
    }
    if isinstance(found, Dataset):
        told["test images"] = len(found.test_labels)
    note = paragraph(found.note) if found.note else ""
    return Section("Data", facts(told) + note)
