"""Conclusions from measurements: the first questions of a reader, with answers.

Each function draws one conclusion from measured numbers, with its evidence in words.
The thresholds are the constants here, and docs/report.md states them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from darts_jax.analysis.comparison import improvement, improvement_by_run
from darts_jax.analysis.intervals import PERCENT, MeasureRange, mean_interval

CHANCE = 0.05
"""Largest chance of a random cell to do as well as a search that beats them."""

ORDERED = 0.8
"""Least share of the pairs of paths that a trusted ranking orders rightly."""

HARDLY_ORDERED = 0.65
"""Largest share of the pairs that a ranking which is not trusted orders rightly."""

LOST = 0.1
"""Largest loss of accuracy of a genotype that the supernet trained."""

# Tones of an answer.
GOOD = "good"
BAD = "bad"
UNSURE = "unsure"
UNKNOWN = "unknown"
FACT = "fact"

RANDOM = "Did it beat random cells?"
RANDOM_CHOICES = "Did it beat random choices?"
DECIDED = "Did it decide?"
COLLAPSE = "Did it collapse?"
RANKING = "Is the supernet's ranking to be trusted?"
COST = "What does the architecture cost?"
LOSS = "Did the losses stay within reason?"
NUMBERS = "Are its architecture parameters numbers?"


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer to a question, with its evidence.

    Attributes:
      question: the question.
      tone: GOOD, BAD, UNSURE, UNKNOWN or FACT.
      words: the answer, a few words.
      evidence: its evidence, in plain sentences.
      command: command line that would make the answer known.
      figure: one number that stands for the evidence where room is short.
    """

    question: str
    tone: str
    words: str
    evidence: str
    command: str = ""
    figure: str = ""


@dataclasses.dataclass(frozen=True)
class Told:
    """Words for the scores of networks.

    Attributes:
      measure: name of the score.
      unit: of the numbers that people are shown.
      more_is_better: whether a larger number is a better one.
      within: range of the numbers.
      networks: what a search finds.
      random: networks beside it.
      one_random: one of these.
      question: whether that beats random ones.
      examples: what a network is tested on.
    """

    measure: str = "accuracy"
    unit: str = "%"
    more_is_better: bool = True
    within: MeasureRange = PERCENT
    networks: str = "cells"
    random: str = "random cells"
    one_random: str = "one random cell"
    question: str = RANDOM
    examples: str = "images"

    @property
    def form(self) -> str:
        """The format of the numbers."""
        return ".2f" if self.unit == "%" else ".4g"

    @property
    def direction(self) -> str:
        """A remark where less is better."""
        return "" if self.more_is_better else ", of which less is better"

    def number(self, value: float) -> str:
        """Returns a score with its unit.

        Args:
          value: as people are shown it.
        """
        return f"{value:{self.form}} {self.unit}".rstrip()

    def difference(self, value: float) -> str:
        """Returns a difference of scores with its unit.

        Args:
          value: as people are shown it.
        """
        unit = "points" if self.unit == "%" else self.unit
        return f"{value:+{self.form}} {unit}".rstrip()

    def merit(self, value: float) -> float:
        """Returns a score or a difference with a sign by which more is better.

        Args:
          value: as people are shown it.
        """
        return value if self.more_is_better else -value


_CELLS = Told()


def answer_unknown(question: str, because: str, command: str = "") -> Answer:
    """Makes the answer to a question that the measurements do not answer.

    Args:
      question: the question.
      because: why it is not known, without a full stop.
      command: command line that would make it known.
    """
    evidence = f"{because[:1].upper()}{because[1:]}."
    return Answer(question, UNKNOWN, "Not known", evidence, command)


def judge_against_random(
    searched: Sequence[float],
    random: Sequence[float],
    told: Told = _CELLS,
    what: str = "",
    beside: Sequence[Sequence[float]] = (),
) -> Answer:
    """Compares searched networks with random ones, all trained by one recipe.

    Two searches or more have an interval: of the differences between each and the mean
    of the random cells that its own run trained, where two runs or more have such, or
    else Welch's (1947). A single search has a place among the random cells: a random
    cell would be among the first ``r`` of ``n`` with chance ``r / n``.

    Args:
      searched: test scores of the searched networks, as people are shown them.
      random: test scores of all random networks.
      told: words for them.
      what: name of what ``searched`` are results of, where they are several.
      beside: for each searched network, where each is from a run of its own, the
        scores of the random ones that this run trained, with its seed and data.
    """
    what = what or f"searched {told.networks}"
    mean = float(np.mean(random))
    if min(len(searched), len(random)) > 1:
        if beside:
            found = improvement_by_run(searched, beside, told.within)
        else:
            found = improvement(searched, random, told.within)
        ends = sorted(map(told.merit, (found.low, found.high)))
        tone, words = _judge_interval(*ends)
        points = "points" if told.unit == "%" else told.unit or "in all"
        evidence = (
            f"{len(searched)} {what} against {len(random)} {told.random}, "
            f"trained alike: a difference of {found.describe(told.form)} {points} of "
            f"test {told.measure}{told.direction}."
        )
        if found.pairs:
            evidence += " A pair is a search and the mean of its own run's random ones."
        figure = told.difference(found.difference)
        return Answer(told.question, tone, words, evidence, figure=figure)
    (own, *_) = searched
    place = 1 + sum(told.merit(other) >= told.merit(own) for other in random)
    count = len(random) + 1
    tone, words = _judge_chance(place / count, told.merit(own) > told.merit(mean))
    of = told.one_random if count == 2 else f"{count - 1} {told.random}"
    evidence = (
        f"{told.number(own)} test {told.measure}{told.direction}, "
        f"{told.difference(own - mean)} from the mean of {of} trained alike "
        f"({told.number(mean)}). It is number {place} of {count}; by luck alone one is "
        f"that good in {place / count:.0%} of cases."
    )
    if tone == UNSURE:
        evidence += f" More {told.random}, or more seeds of the search, would tell."
    figure = f"{told.number(own)}, number {place} of {count}"
    return Answer(told.question, tone, words, evidence, figure=figure)


def judge_against_all_cells(
    found: Sequence[float], cells: Float[np.ndarray, " cell"], title: str
) -> Answer:
    """Compares searched cells with all cells of a space, in a benchmark.

    Args:
      found: accuracy of one search's cell, or of several seeds' cells, in percent.
      cells: accuracy of every cell of the space, in percent.
      title: name of the accuracy.
    """
    mean = float(np.mean(cells))
    best = float(np.max(cells))
    beside = (
        f"All {len(cells):,} cells have a mean of {mean:.2f} %, the best {best:.2f} %"
    )
    if len(found) > 1:
        center, low, high = mean_interval(found, PERCENT)
        tone, words = _judge_interval(low - mean, high - mean)
        evidence = (
            f"{len(found)} searches have a mean of {center:.2f} % (95 % interval "
            f"{low:.2f} to {high:.2f}). {beside} ({title})."
        )
        return Answer(RANDOM, tone, words, evidence, figure=f"{center:.2f} %")
    own = found[0]
    # Tables hold float32, and what was read from one is its float64.
    as_good = np.float32(own) <= cells.astype(np.float32)
    place = 1 + int(np.sum(np.float32(own) < cells.astype(np.float32)))
    share = float(np.mean(as_good))
    tone, words = _judge_chance(share, share < 0.5)
    evidence = (
        f"{own:.2f} %: number {place:,} of all {len(cells):,} cells; a cell drawn at "
        f"random is as good in {_format_percent(share)} of draws. {beside} ({title}). "
        "This is one search: another seed may end elsewhere."
    )
    figure = f"{own:.2f} %, number {place:,} of {len(cells):,}"
    return Answer(RANDOM, tone, words, evidence, figure=figure)


def judge_collapse(
    warnings: Sequence[str], skips: Mapping[str, tuple[int, int]]
) -> Answer:
    """Says whether a search collapsed, by the known signs.

    Args:
      warnings: warnings of `diagnostics.collapse_warnings`.
      skips: kind -> number of skip connections and of kept edges, for those cells in
        which many skip connections are a sign.
    """
    counted = "; ".join(
        f"{skip} of {kept} kept edges of the {kind} cell are skip connections"
        for kind, (skip, kept) in skips.items()
    )
    evidence = ""
    few = ""
    figure = ""
    if skips:
        evidence = f"{counted[:1].upper()}{counted[1:]}. "
        few = "Skips hold less than half of every cell, "
        total = sum(skip for skip, _ in skips.values())
        kept = sum(count for _, count in skips.values())
        figure = f"{total} of {kept} edges are skips"
    if not warnings:
        sound = (
            f"{few}a path crosses each cell, none does not prevail, and an edge's "
            "operations do not all weigh the same."
        )
        evidence += sound[:1].upper() + sound[1:]
        return Answer(COLLAPSE, GOOD, "No sign of it", evidence, figure=figure)
    signs = "One sign" if len(warnings) == 1 else f"{len(warnings)} signs"
    sentence = " ".join(f"{line[:1].upper()}{line[1:]}." for line in warnings)
    words = f"{signs} of trouble"
    return Answer(COLLAPSE, BAD, words, f"{sentence} {evidence}".strip(), figure=figure)


def judge_decisions(
    weights: Mapping[str, Mapping[str, float]], undecided: Sequence[str]
) -> Answer:
    """Says whether a search decided, by the weights of the options of every choice.

    Args:
      weights: name of a choice -> option -> its weight after the last epoch.
      undecided: names of the choices whose options weigh the same to within chance.
    """
    strongest = {name: max(own, key=lambda o: own[o]) for name, own in weights.items()}
    listed = ", ".join(
        f"{name} {option} {weights[name][option]:.2f}"
        for name, option in strongest.items()
        if len(weights[name]) > 1
    )
    evidence = f"The strongest options weigh: {listed}."
    figure = f"{len(weights) - len(undecided)} of {len(weights)} choices"
    if not undecided:
        return Answer(DECIDED, GOOD, "Yes", evidence, figure=figure)
    words = "No" if len(undecided) == len(weights) else "Not everywhere"
    evidence = (
        f"The options of {', '.join(undecided)} weigh the same to within chance; "
        f"search longer or at a higher learning rate. {evidence}"
    )
    return Answer(DECIDED, BAD, words, evidence, figure=figure)


def judge_losses(warnings: Mapping[str, Sequence[str]]) -> Answer:
    """Returns the answer for losses that grew beyond reason, though finite.

    Args:
      warnings: name of what was trained -> warnings of its epochs, in order; one or
        more.
    """
    sentences = []
    for name, lines in warnings.items():
        more = f" ({len(lines)} epochs in all)" if len(lines) > 1 else ""
        sentences.append(f"{name}{more}: {lines[0]}.")
    evidence = " ".join(sentences)
    return Answer(LOSS, BAD, "No", evidence, figure=", ".join(warnings))


def judge_finite_alpha(epochs: Sequence[int], count: int) -> Answer:
    """Returns the answer for a search whose architecture parameters are no numbers.

    Args:
      epochs: epochs, from 1, after which they are NaN or infinite.
      count: number of all epochs.
    """
    evidence = (
        f"After {_name_epochs(epochs)} of {count} they are NaN or infinite, so no "
        "genotype can be read off them, and their pictures are left out. A smaller "
        "search.architecture.learning_rate may help."
    )
    return Answer(NUMBERS, BAD, "No", evidence, figure=_name_epochs(epochs))


def judge_ranking(
    kendall: float, regret: float, paths: int, epoch: int, title: str
) -> Answer:
    """Says whether a supernet's scores of its paths are in their true order.

    Args:
      kendall: Kendall's tau-b of scores and truth; ``(1 + tau) / 2`` of the pairs
        without ties are in their true order.
      regret: points of accuracy by which the path with the best score misses the best.
      paths: number of paths.
      epoch: epoch of the supernet.
      title: name of the truth.
    """
    share = (1 + kendall) / 2
    if not math.isfinite(share):
        return answer_unknown(RANKING, "its scores are all the same")
    if share >= ORDERED:
        tone = GOOD
        words = "Yes"
    elif share <= HARDLY_ORDERED:
        tone = BAD
        words = "No"
    else:
        tone = UNSURE
        words = "With care"
    evidence = (
        f"Kendall's tau over {paths:,} paths is {kendall:.2f} after epoch {epoch}: of "
        f"two cells it puts the truly better one first in {share:.0%} of cases, where "
        f"a coin has 50 %. The path it puts first is {regret:.2f} "
        f"points below the best of them ({title})."
    )
    return Answer(RANKING, tone, words, evidence, figure=f"tau {kendall:.2f}")


def judge_gap(
    supernet: float,
    genotype: float,
    because: str,
    command: str = "",
    told: Told = _CELLS,
) -> Answer:
    """Says whether a supernet keeps its accuracy with the genotype's operations alone.

    A small loss shows that the supernet trained what it found, not that it ranks truly.

    Args:
      supernet: held-out score of the supernet; in [0, 1] where the unit is %.
      genotype: held-out score of the same weights with the genotype's operations
        alone.
      because: why nothing better is known.
      command: command line that would make it known.
      told: words for the score.
    """
    of = "" if told.measure == "accuracy" else f" {told.measure}"
    is_share = told.unit == "%"
    soft, hard = (
        f"{value:.1%}" if is_share else told.number(value)
        for value in (supernet, genotype)
    )
    alone = "operations" if told.networks == "cells" else told.networks
    sentence = (
        f"the supernet has {soft}{of} on held-out {told.examples}, and {hard} "
        f"with the genotype's {alone} alone"
    )
    if is_share and supernet - genotype > LOST:
        evidence = (
            f"The discretisation gap is large: {sentence}. What its weights say is not "
            "what the genotype does."
        )
        figure = f"a gap of {100 * (supernet - genotype):.0f} points"
        return Answer(RANKING, BAD, "Hardly", evidence, command, figure)
    return answer_unknown(RANKING, f"{because}. As a hint, {sentence}", command)


def state_cost(
    parameters: int, macs: int | None, network: str, example: str = "image"
) -> Answer:
    """States the cost of the network that is trained from scratch.

    Args:
      parameters: number of trainable scalars, without an auxiliary head.
      macs: multiply-accumulates for one example; None where they are not known.
      network: the network and its sizes, in words.
      example: what the network takes, in words.
    """
    words = f"{_format_count(parameters)} parameters"
    if macs is None:
        return Answer(
            COST, FACT, words, f"{parameters:,} trainable scalars: {network}."
        )
    words += f", {_format_count(macs)} multiply-accumulates"
    evidence = (
        f"{parameters:,} trainable scalars and {macs:,} multiply-accumulates for one "
        f"{example}: {network}."
    )
    return Answer(COST, FACT, words, evidence)


def _judge_interval(low: float, high: float) -> tuple[str, str]:
    if low > 0:
        return GOOD, "Yes"
    return (BAD, "No, it did worse") if high < 0 else (UNSURE, "Not shown")


def _judge_chance(chance: float, is_above: bool) -> tuple[str, str]:
    if chance <= CHANCE:
        return GOOD, "Yes"
    return (UNSURE, "Not shown") if is_above else (BAD, "No")


def _name_epochs(epochs: Sequence[int]) -> str:
    if len(epochs) == 1:
        return f"epoch {epochs[0]}"
    return f"{len(epochs)} epochs, {epochs[0]} to {epochs[-1]},"


def _format_percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.01 else f"{share:.0%}"


def _format_count(count: float) -> str:
    for size, unit in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
