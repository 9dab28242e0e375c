"""What a reader asks first, answered in words with the evidence, or not at all.

Every function is given what was measured and draws one conclusion; its thresholds are
the constants here, and docs/report.md states them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from darts_jax.analysis.comparison import improvement, improvement_by_run
from darts_jax.analysis.intervals import PERCENT, mean_interval

CHANCE = 0.05
"""A search beats random cells if one of them does as well no more often than this."""

ORDERED = 0.8
"""A ranking is trusted if it orders this share of the pairs of paths rightly."""

HARDLY_ORDERED = 0.65
"""One that orders no more than this is not."""

LOST = 0.1
"""Of the accuracy: a genotype that loses more was not what the supernet trained."""

GOOD, BAD, UNSURE, UNKNOWN, FACT = "good", "bad", "unsure", "unknown", "fact"

RANDOM = "Did it beat random cells?"
COLLAPSE = "Did it collapse?"
RANKING = "Is the supernet's ranking to be trusted?"
COST = "What does the architecture cost?"
LOSS = "Did the losses stay within reason?"
NUMBERS = "Are its architecture parameters numbers?"


@dataclasses.dataclass(frozen=True)
class Answer:
    """One line of the verdict.

    Attributes:
      tone: whether the answer is welcome: of GOOD, BAD, UNSURE, UNKNOWN, FACT.
      words: the answer itself, a few words.
      evidence: what it rests on, in plain sentences.
      command: what would make it known.
      figure: the one number to show where there is no room for the evidence.
    """

    question: str
    tone: str
    words: str
    evidence: str
    command: str = ""
    figure: str = ""


def unknown(question: str, because: str, command: str = "") -> Answer:
    """An honest blank."""
    evidence = f"{because[:1].upper()}{because[1:]}."
    return Answer(question, UNKNOWN, "Not known", evidence, command)


def beats_random(
    searched: Sequence[float],
    random: Sequence[float],
    measure: str = "accuracy",
    what: str = "searched cells",
    beside: Sequence[Sequence[float]] = (),
) -> Answer:
    """Answers by test accuracies in percent of networks trained by one recipe.

    Two searches or more have an interval: of the differences between each and the mean
    of the random cells that its own run trained, where two runs or more have such, or
    else Welch's (1947). One has its place among the random cells: were it one of them,
    it would be in the first ``r`` of ``n`` with chance ``r / n``.

    Args:
      random: all random cells.
      measure: which accuracy that is.
      what: names what ``searched`` are results of, where they are several.
      beside: for each searched cell, where each is of a run of its own, those of the
        random cells that this run trained, with its seed and on its data.
    """
    mean = float(np.mean(random))
    if min(len(searched), len(random)) > 1:
        if beside:
            found = improvement_by_run(searched, beside, PERCENT)
        else:
            found = improvement(searched, random, PERCENT)
        tone, words = _by_interval(found.low, found.high)
        evidence = (
            f"{len(searched)} {what} against {len(random)} random cells, "
            f"trained alike: a difference of {found} points of test {measure}."
        )
        if found.pairs:
            evidence += " A pair is a search and the mean of its own run's random ones."
        figure = f"{found.difference:+.2f} points"
        return Answer(RANDOM, tone, words, evidence, figure=figure)
    (own, *_) = searched
    place = 1 + sum(other >= own for other in random)
    count = len(random) + 1
    tone, words = _by_chance(place / count, own > mean)
    of = "one random cell" if count == 2 else f"{count - 1} random cells"
    evidence = (
        f"{own:.2f} % test {measure}, {own - mean:+.2f} points from the mean of {of} "
        f"trained alike ({mean:.2f} %). It is number {place} of {count}; by luck alone "
        f"one is that high in {place / count:.0%} of cases."
    )
    if tone == UNSURE:
        evidence += " More random cells, or more seeds of the search, would tell."
    figure = f"{own:.2f} %, number {place} of {count}"
    return Answer(RANDOM, tone, words, evidence, figure=figure)


def beats_all_cells(
    found: Sequence[float], cells: Float[np.ndarray, " cell"], title: str
) -> Answer:
    """By a benchmark that knows every cell of the space, in percent.

    Args:
      found: accuracies of one search's cell, or of several seeds'.
      title: which accuracy that is.
    """
    mean, best = float(np.mean(cells)), float(np.max(cells))
    beside = (
        f"All {len(cells):,} cells have a mean of {mean:.2f} %, the best {best:.2f} %"
    )
    if len(found) > 1:
        center, low, high = mean_interval(found, PERCENT)
        tone, words = _by_interval(low - mean, high - mean)
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
    tone, words = _by_chance(share, share < 0.5)
    evidence = (
        f"{own:.2f} %: number {place:,} of all {len(cells):,} cells; a cell drawn at "
        f"random is as good in {_percent(share)} of draws. {beside} ({title}). This is "
        "one search: another seed may end elsewhere."
    )
    figure = f"{own:.2f} %, number {place:,} of {len(cells):,}"
    return Answer(RANDOM, tone, words, evidence, figure=figure)


def collapsed(warnings: Sequence[str], skips: Mapping[str, tuple[int, int]]) -> Answer:
    """By the known signs, and the skips among the kept edges.

    Args:
      warnings: of `diagnostics.collapse_warnings`.
      skips: kind -> how many skip connections, of how many kept edges; of those cells
        of which many of them are a sign.
    """
    counted = "; ".join(
        f"{skip} of {kept} kept edges of the {kind} cell are skip connections"
        for kind, (skip, kept) in skips.items()
    )
    evidence, few, figure = "", "", ""
    if skips:
        evidence = f"{counted[:1].upper()}{counted[1:]}. "
        few = "Skips hold less than half of every cell, "
        total, kept = (sum(column) for column in zip(*skips.values(), strict=True))
        figure = f"{total} of {kept} edges are skips"
    if not warnings:
        sound = (
            f"{few}a path crosses each cell, none does not prevail, and an edge's "
            "operations do not all weigh the same."
        )
        evidence += sound[:1].upper() + sound[1:]
        return Answer(COLLAPSE, GOOD, "No sign of it", evidence, figure=figure)
    signs = "One sign" if len(warnings) == 1 else f"{len(warnings)} signs"
    told = " ".join(f"{line[:1].upper()}{line[1:]}." for line in warnings)
    words = f"{signs} of trouble"
    return Answer(COLLAPSE, BAD, words, f"{told} {evidence}".strip(), figure=figure)


def wild_losses(warnings: Mapping[str, Sequence[str]]) -> Answer:
    """Returns the answer for losses that grew beyond reason, though finite.

    Args:
      warnings: what was trained -> what was said of its epochs, in order; one or more.
    """
    told = []
    for name, lines in warnings.items():
        more = f" ({len(lines)} epochs in all)" if len(lines) > 1 else ""
        told.append(f"{name}{more}: {lines[0]}.")
    return Answer(LOSS, BAD, "No", " ".join(told), figure=", ".join(warnings))


def lost_numbers(epochs: Sequence[int], count: int) -> Answer:
    """Returns the answer for a search whose architecture parameters are no numbers.

    Args:
      epochs: those, from 1, after which they are NaN or infinite.
      count: of all epochs.
    """
    evidence = (
        f"After {_epochs(epochs)} of {count} they are NaN or infinite, so no genotype "
        "can be read off them, and their pictures are left out. A smaller "
        "search.architecture.learning_rate may help."
    )
    return Answer(NUMBERS, BAD, "No", evidence, figure=_epochs(epochs))


def ranks_truly(
    kendall: float, regret: float, paths: int, epoch: int, title: str
) -> Answer:
    """By the supernet's scores of its paths beside the truth.

    Args:
      kendall: tau-b of scores and truth; ``(1 + tau) / 2`` of the pairs, those without
        ties, are in their true order.
      regret: points of accuracy by which the path it puts first misses the best.
    """
    share = (1 + kendall) / 2
    if not math.isfinite(share):
        return unknown(RANKING, "its scores are all the same")
    tone, words = UNSURE, "With care"
    if share >= ORDERED:
        tone, words = GOOD, "Yes"
    elif share <= HARDLY_ORDERED:
        tone, words = BAD, "No"
    evidence = (
        f"Kendall's tau over {paths:,} paths is {kendall:.2f} after epoch {epoch}: of "
        f"two cells it puts the truly better one first in {share:.0%} of cases, where "
        f"a coin has 50 %. The path it puts first is {regret:.2f} "
        f"points below the best of them ({title})."
    )
    return Answer(RANKING, tone, words, evidence, figure=f"tau {kendall:.2f}")


def keeps_accuracy(
    supernet: float,
    genotype: float,
    because: str,
    command: str = "",
    measure: str = "accuracy",
) -> Answer:
    """By what the supernet loses without all that the genotype drops.

    A small loss says that the supernet trained what it found, not that it ranks.

    Args:
      supernet: held-out accuracy in [0, 1].
      genotype: of the same weights with the genotype's operations alone.
      because: why nothing better is known.
      measure: which accuracy that is.
    """
    of = "" if measure == "accuracy" else f" {measure}"
    told = (
        f"the supernet has {supernet:.1%}{of} on held-out images, and {genotype:.1%} "
        "with the genotype's operations alone"
    )
    if supernet - genotype > LOST:
        evidence = (
            f"The discretisation gap is large: {told}. What its weights say is not "
            "what the genotype does."
        )
        figure = f"a gap of {100 * (supernet - genotype):.0f} points"
        return Answer(RANKING, BAD, "Hardly", evidence, command, figure)
    return unknown(RANKING, f"{because}. As a hint, {told}", command)


def costs(parameters: int, macs: int | None, network: str) -> Answer:
    """Of the network that is trained from scratch, without an auxiliary head.

    Args:
      macs: multiply-accumulates on one image.
      network: its sizes, in words.
    """
    words = f"{_engineer(parameters)} parameters"
    if macs is None:
        return Answer(
            COST, FACT, words, f"{parameters:,} trainable scalars: {network}."
        )
    words += f", {_engineer(macs)} multiply-accumulates"
    evidence = (
        f"{parameters:,} trainable scalars and {macs:,} multiply-accumulates for one "
        f"image: {network}."
    )
    return Answer(COST, FACT, words, evidence)


def _by_interval(low: float, high: float) -> tuple[str, str]:
    if low > 0:
        return GOOD, "Yes"
    return (BAD, "No, it did worse") if high < 0 else (UNSURE, "Not shown")


def _by_chance(chance: float, is_above: bool) -> tuple[str, str]:
    if chance <= CHANCE:
        return GOOD, "Yes"
    return (UNSURE, "Not shown") if is_above else (BAD, "No")


def _epochs(epochs: Sequence[int]) -> str:
    if len(epochs) == 1:
        return f"epoch {epochs[0]}"
    return f"{len(epochs)} epochs, {epochs[0]} to {epochs[-1]},"


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.01 else f"{share:.0%}"


def _engineer(count: float) -> str:
    for size, unit in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
