"""Answers to a report's questions about a run, from its directory and its data."""

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.analysis.diagnostics import collapse_warnings, is_undecided
from darts_jax.analysis.intervals import MeasureRange
from darts_jax.analysis.measures import column_range
from darts_jax.bilevel.discretization import kinds_with_invalid_alpha, weight_reader
from darts_jax.cost.choices import count_macs_of, count_parameters_of
from darts_jax.cost.networks import network_cost
from darts_jax.data.dataset import EXAMPLES, KINDS
from darts_jax.engine.job import Score
from darts_jax.errors import InputError
from darts_jax.files import read_npz
from darts_jax.reports.verdict import (
    COLLAPSE,
    COST,
    DECIDED,
    RANDOM,
    RANDOM_CHOICES,
    RANKING,
    Answer,
    Told,
    answer_unknown,
    judge_against_all_cells,
    judge_against_random,
    judge_collapse,
    judge_decisions,
    judge_finite_alpha,
    judge_gap,
    judge_losses,
    judge_ranking,
    state_cost,
)
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.modules import ChoiceSpace, is_module
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.image_networks import make_network
from darts_jax.tasks.module.problem import Problem
from darts_jax.tasks.registry import get_score, load_data
from darts_jax.tasks.task import TaskData
from darts_jax.training.directory import RunDirectory
from darts_jax.training.loss_watch import WARNING
from darts_jax.training.metrics import read_metrics
from darts_jax.training.restore import blank_images
from darts_jax.training.search_result import SearchResult
from darts_jax.workflows.retrain_result import RetrainResult, read_retrained

COMPARED = 8
"""Number of random genotypes that a report advises to train."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """Scores of paths by `score`, with the truth beside them.

    Attributes:
      accuracy: accuracy of each path with shared weights.
      truth: true accuracy of each path, in percent.
      summary: content of ``scores.json``.
    """

    accuracy: np.ndarray
    truth: np.ndarray
    summary: Mapping[str, Any]


class Data:
    """Data of settings, where they are at hand.

    Attributes:
      config: the settings.
      found: the data; None where they are not at hand.
      missing: why there are none.
    """

    def __init__(self, config: ConfigDict, given: TaskData | None = None) -> None:
        """Loads the data.

        Args:
          config: the settings.
          given: data in place of those that the settings name.
        """
        self.config = config
        self.missing = ""
        self.found: TaskData | None = given
        if given is None:
            try:
                self.found = load_data(config)
            except InputError as error:
                self.missing = str(error)


def read_data(
    run: RunDirectory, config: ConfigDict, given: TaskData | None = None
) -> Data:
    """Returns the data of a run, or what it remembers of them.

    Args:
      run: the directory of the run.
      config: its settings.
      given: data in place of these.
    """
    if given is None and not is_module(config.space):
        given = blank_images(run)
    return Data(config, given)


def told_by(config: ConfigDict) -> Told:
    """Returns the words for the scores of a run's networks.

    Args:
      config: settings of the run.
    """
    score = get_score(config)
    least, most = column_range(f"test_{score.name}")
    told = Told(
        score.words,
        score.unit,
        score.more_is_better,
        MeasureRange(score.scaled(least), score.scaled(most)),
        examples=EXAMPLES[KINDS[get_space(config.space).macro.axes]][1],
    )
    if not is_module(config.space):
        return told
    return dataclasses.replace(
        told,
        networks="choices",
        random="random networks",
        one_random="one random network",
        question=RANDOM_CHOICES,
        examples="examples",
    )


def search_answers(found: SearchResult, data: Data) -> list[Answer]:
    """Returns the answers about one search.

    Args:
      found: the search.
      data: its data.
    """
    retrained = read_retrained(found.run.path)
    last = found.records[-1] if found.records else {}
    return [
        *loss_answers(found.run),
        *_numbers_answers(found),
        random_answer(found.config, found.run.path, [found.known], retrained, last),
        _search_collapse(found),
        ranking_answer(found.run, found.config, last, found.known is not None),
        cost_answer(found.config, data, found.genotype, retrained),
    ]


def loss_answers(run: RunDirectory) -> list[Answer]:
    """Returns one answer where a recorded loss is beyond reason, else none.

    Args:
      run: the directory of the run.
    """
    warnings: dict[str, list[str]] = {}
    for record in read_metrics(run.metrics):
        if record.get(WARNING):
            warnings.setdefault(str(record["verb"]), []).append(str(record[WARNING]))
    return [judge_losses(warnings)] if warnings else []


def _numbers_answers(found: SearchResult) -> list[Answer]:
    """Returns one answer where architecture parameters are no numbers, else none."""
    lost = found.epochs_without_numbers()
    count = len(next(iter(found.alpha.values())))
    return [judge_finite_alpha(lost, count)] if lost else []


def _search_collapse(found: SearchResult) -> Answer:
    question = DECIDED if is_module(found.config.space) else COLLAPSE
    alpha = {kind: found.alpha[kind][-1] for kind in found.space.cells}
    if kinds_with_invalid_alpha(found.space, alpha):
        return answer_unknown(question, "the last epoch's parameters are no numbers")
    return collapse_answer(found.config, alpha, found.genotype)


def retrained_answers(
    found: RetrainResult, config: ConfigDict, data: Data
) -> list[Answer]:
    """Returns the answers about a retrained network without its search.

    Args:
      found: the retraining.
      config: its settings.
      data: its data.
    """
    because = "there is no search in this directory"
    path = found.run.path
    genotype = found.network.genotype
    known = known_accuracies(config)
    of_table = known.accuracy(genotype) if known else None
    question = DECIDED if is_module(config.space) else COLLAPSE
    return [
        *loss_answers(found.run),
        random_answer(config, path, [of_table], found, {}),
        answer_unknown(question, because),
        answer_unknown(RANKING, because),
        cost_answer(config, data, genotype, found),
    ]


def random_answer(
    config: ConfigDict,
    run: Path,
    accuracies: Sequence[float | None],
    retrained: RetrainResult | None,
    last: Mapping[str, Any],
) -> Answer:
    """Compares a search with random networks: in a benchmark, else as trained.

    Args:
      config: settings of the search.
      run: its directory.
      accuracies: accuracy of each genotype in the benchmark, in percent; None where
        no benchmark knows it.
      retrained: the retraining, if there is one.
      last: the last epoch's record.
    """
    by_table = table_answer(config, accuracies)
    if by_table is not None:
        return by_table
    told = told_by(config)
    if retrained is not None and retrained.baselines:
        scaled = retrained.measure.scaled
        random = [scaled(network.score) for network in retrained.baselines]
        own = [scaled(score) for score in retrained.scores]
        what = f"trainings of the searched {told.networks.removesuffix('s')}"
        return judge_against_random(own, random, told, what)
    if is_module(config.space):
        because = "no network of random choices was trained by the same recipe"
        if retrained is None:
            because = "no network was trained from scratch"
        calls = (
            f'config = darts_jax.load_config("{run / "config.json"}", '
            f'["baseline.random_genotypes={COMPARED}"])\n'
            f'darts_jax.retrain(config, "{run}", dataset=problem)'
        )
        return answer_unknown(told.question, because, calls)
    recorded = last.get("benchmark_accuracy")
    if recorded is not None:
        because = (
            f"a benchmark gave the genotype {recorded:.2f} %, but its table is not at "
            "hand to tell what other cells have"
        )
        return answer_unknown(RANDOM, because)
    count = f"--config.baseline.random_genotypes={COMPARED}"
    settings = ["--config", str(run / "config.json"), count]
    if retrained is None:
        because = "no network was trained from scratch"
        command = ["darts-jax", "retrain", *settings, "--run", str(run)]
    else:
        because = "no random cell was trained by the same recipe"
        other = ["--genotype", str(run), "--run", f"{run}-random"]
        command = ["darts-jax", "retrain", *settings, *other]
    return answer_unknown(RANDOM, because, shlex.join(command))


def table_answer(
    config: ConfigDict, accuracies: Sequence[float | None]
) -> Answer | None:
    """Compares searched cells with all cells of a benchmark, where one knows them.

    Args:
      config: settings of the searches.
      accuracies: accuracy of each cell in the benchmark, in percent; None where no
        benchmark knows it.
    """
    known = known_accuracies(config)
    finite = [a for a in accuracies if a is not None and math.isfinite(a)]
    if known is None or not finite:
        return None
    return judge_against_all_cells(finite, known.cells, known.title)


def collapse_answer(
    config: ConfigDict, alpha: Mapping[str, np.ndarray], genotype: Genotype
) -> Answer:
    """Says whether a search collapsed, or decided, by the last epoch's parameters.

    Args:
      config: settings of the search.
      alpha: kind -> architecture parameters [edge, op].
      genotype: their genotype.
    """
    read = weight_reader(config.search.relaxation)
    space = get_space(config.space)
    if isinstance(space, ChoiceSpace):
        weights = {kind: read(cell, alpha[kind]) for kind, cell in space.cells.items()}
        named = {
            d.name: dict(zip(d.options, map(float, weights[d.name][0]), strict=True))
            for d in space.decisions
        }
        cells = space.cells
        undecided = [k for k, own in weights.items() if is_undecided(cells[k], own)]
        return judge_decisions(named, undecided)
    warnings = collapse_warnings(space, dict(alpha), genotype, read)
    counted = {
        kind: (cell.skips, len(cell.choices))
        for kind, cell in genotype.cells.items()
        if not space.cells[kind].is_chain
    }
    return judge_collapse(warnings, counted)


def ranking_answer(
    run: RunDirectory, config: ConfigDict, last: Mapping[str, Any], has_truth: bool
) -> Answer:
    """Says whether a supernet ranks truly: by `score`, else by its discretisation gap.

    Args:
      run: the directory of the search.
      config: its settings.
      last: the last epoch's record.
      has_truth: whether a benchmark knows the space's architectures.
    """
    score = get_score(config)
    scored = read_scores(run)
    if scored is not None:
        summary = scored.summary
        return judge_ranking(
            kendall=float(summary["kendall"]),
            regret=float(summary["regret"]["1"]),
            paths=int(summary["paths"]),
            epoch=int(summary["epoch"]),
            title=str(summary["truth"]),
        )
    command = shlex.join(["darts-jax", "score", str(run.path)]) if has_truth else ""
    because = "its paths were not compared with the truth"
    if not has_truth:
        because = "no benchmark at hand knows this space's architectures"
    soft = last.get(f"held_out_{score.name}")
    hard = last.get(f"discretized_{score.name}")
    if soft is None or hard is None:
        return answer_unknown(RANKING, because, command)
    return judge_gap(soft, hard, because, command, told_by(config))


def read_scores(run: RunDirectory) -> Scored | None:
    """Reads the scores of paths, if `score` ran and a benchmark knew the truth.

    Args:
      run: the directory of the search.

    Raises:
      InputError: a file is damaged.
    """
    path = run.path / "scores.json"
    try:
        summary = json.loads(path.read_text())
        if isinstance(summary, dict) and "kendall" not in summary:
            return None
        float(summary["kendall"]), float(summary["regret"]["1"])
        int(summary["paths"]), int(summary["epoch"]), str(summary["truth"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged; darts-jax score makes it anew") from None
    arrays = path.with_suffix(".npz")
    damaged = f"{arrays} is damaged; darts-jax score makes it anew"
    read = read_npz(arrays, damaged, damaged)
    if not {"accuracy", "truth"} <= read.keys():
        raise InputError(damaged)
    return Scored(read["accuracy"], read["truth"], summary)


def cost_answer(
    config: ConfigDict, data: Data, genotype: Genotype, retrained: RetrainResult | None
) -> Answer:
    """Counts the cost of the network that ``config.retrain`` describes.

    Args:
      config: the settings.
      data: their data; without them the parameters of ``retrained`` count.
      genotype: the genotype.
      retrained: the retraining, if there is one.
    """
    if is_module(config.space):
        return _module_cost(data, genotype, retrained)
    settings = config.retrain
    network = (
        f"the network that the settings train from scratch on {config.data.name} "
        f"(retrain.cells {settings.cells}, retrain.channels {settings.channels})"
    )
    because = f"the size of the data is not known: {data.missing}"
    if data.found is not None:
        try:
            net = make_network(config, data.found, genotype).clone(auxiliary=False)
            counted = network_cost(net, data.found.image_shape)
            one, _ = EXAMPLES[KINDS[net.macro.axes]]
            return state_cost(int(counted.parameters), int(counted.macs), network, one)
        # Of operations that this process does not have, or images too small.
        except InputError as error:
            because = str(error)
    if retrained is not None:
        return state_cost(retrained.network.parameters, None, network)
    return answer_unknown(COST, because)


def _module_cost(
    data: Data, genotype: Genotype, retrained: RetrainResult | None
) -> Answer:
    """Counts the cost of a user's network, whose module may be out of reach."""
    what = "the network with its choices made"
    if isinstance(data.found, Problem):
        network = data.found.network
        choices = network.named(genotype)
        parameters = count_parameters_of(network, choices)
        return state_cost(parameters, count_macs_of(network, choices), what, "example")
    if retrained is not None:
        return state_cost(retrained.network.parameters, None, what)
    because = "the network is in Python: darts_jax.report(run, dataset=problem) counts"
    return answer_unknown(COST, because)


def test_column(measure: Score) -> str:
    """Returns the name of the column of scores in `network_rows`.

    Args:
      measure: the score.
    """
    return f"test {measure.title}"


def network_rows(found: RetrainResult) -> list[dict[str, Any]]:
    """Returns a row for each network that was trained, the best first.

    Args:
      found: the retraining.
    """
    column = test_column(found.measure)
    has_cells = not is_module(found.network.genotype.space)
    named = [("searched", found.network)]
    named += [(f"random {i + 1}", other) for i, other in enumerate(found.baselines)]
    rows = [
        {
            "network": name,
            column: found.measure.scaled(network.score),
            "parameters": network.parameters,
            **({"skip connections": network.skips} if has_cells else {}),
        }
        for name, network in named
    ]
    return sorted(rows, key=lambda row: -found.measure.merit(float(row[column])))


def group_answer(group: Mapping[str, SearchResult]) -> Answer | None:
    """Says whether a method beats random cells, by several seeds of it; else None.

    Args:
      group: name -> search; they differ in their seed alone.
    """
    # One seed twice is one search twice.
    searches = list({one.config.seed: one for one in group.values()}.values())
    if len(searches) < 2:
        return None
    by_table = table_answer(searches[0].config, [one.known for one in searches])
    if by_table is None:
        retrained = [read_retrained(one.run.path) for one in searches]
        trained = [one for one in retrained if one is not None]
        scaled = get_score(searches[0].config).scaled
        beside = [[scaled(b.score) for b in one.baselines] for one in trained]
        random = [score for own in beside for score in own]
        if len(trained) < 2 or len(random) < 2:
            return None
        searched = [scaled(one.score) for one in trained]
        told = told_by(searches[0].config)
        by_table = judge_against_random(searched, random, told, beside=beside)
    question = by_table.question.replace("Did it", f"Did {', '.join(group)}")
    return dataclasses.replace(by_table, question=question)
