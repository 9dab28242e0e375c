"""Effects of the settings of a grid, from pairs of searches that differ in one."""

import dataclasses
import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from darts_jax.analysis.comparison import (
    Improvement,
    holm,
    improvement,
    improvement_from_differences,
)
from darts_jax.analysis.intervals import MeasureRange, clip_to_range
from darts_jax.errors import unknown_name_error

UNITS = ("pair", "seed")
"""Choices of what is one independent observation of a difference."""

Block = tuple[Hashable, tuple[tuple[str, Hashable], ...]]
"""A seed, and the values of all settings but one."""


@dataclasses.dataclass(frozen=True)
class Observation:
    """A search and its result.

    Attributes:
      choice: setting -> value, for all that was varied but the seed.
      seed: the seed.
      value: the result; NaN where the search failed or did not measure it.
    """

    choice: Mapping[str, Any]
    seed: int
    value: float


def effects(
    searches: Sequence[Observation],
    within: MeasureRange,
    unit: str = "pair",
    every_pair: bool = False,
) -> pd.DataFrame:
    """Computes how much each value of a setting differs from the first one.

    A pair is two searches with the same seed and the same value of every other
    setting: the effect of these on both drops out of their difference. The result is
    the mean over pairs, so over the seeds and over the values of the other settings; a
    search whose partner failed is left out. Where there are fewer than two pairs, and
    two searches or more on either side, the sides are compared unpaired.

    Args:
      searches: the searches of the grid, one or more.
      within: range of the measure; intervals lie within the range of differences.
      unit: ``pair`` takes pairs as independent. ``seed`` takes the mean over a seed's
        pairs as one observation: right also where a seed moves all its pairs alike,
        and mostly wider, as there are fewer seeds than pairs. Where pairs of a seed
        agree more than by chance (p below 0.05 in an analysis of variance of the
        differences by seed), the note of ``pair`` says so.
      every_pair: compares each value with every one before it in the grid.

    Returns:
      A row for each comparison. Columns: ``setting``, ``value``, ``against``,
      ``difference``, ``low`` and ``high`` (95 %, of this comparison alone), ``p``,
      ``p_holm`` (adjusted for all rows), ``comparisons`` (how many rows there are),
      ``pairs`` (0: unpaired) and ``note`` (remarks). A number is NaN where it is not
      known, as the interval of a single pair.

    Raises:
      InputError: no such unit.
    """
    if unit not in UNITS:
        raise unknown_name_error("unit", unit, UNITS)
    rows = [
        {"setting": key, "value": value, "against": against}
        | _compare(searches, key, value, against, within, unit)
        for key in searches[0].choice
        for value, against in _value_pairs(searches, key, every_pair)
    ]
    adjusted = holm([row["p"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row |= {"p_holm": p, "comparisons": len(rows)}
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    "setting",
    "value",
    "against",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "comparisons",
    "pairs",
    "note",
]


def _value_pairs(
    searches: Sequence[Observation], key: str, every_pair: bool
) -> Iterator[tuple[Any, Any]]:
    values = list(dict.fromkeys(one.choice[key] for one in searches))
    if every_pair:
        yield from ((b, a) for a, b in itertools.combinations(values, 2))
    else:
        yield from ((value, values[0]) for value in values[1:])


def _compare(
    searches: Sequence[Observation],
    key: str,
    value: Any,
    against: Any,
    within: MeasureRange,
    unit: str,
) -> dict[str, Any]:
    own = _select_side(searches, key, value)
    other = _select_side(searches, key, against)
    blocks = [block for block in own if block in other]
    known = [b for b in blocks if math.isfinite(own[b]) and math.isfinite(other[b])]
    if len(known) < 2:
        return _compare_unpaired(own, other, known, within)
    sides = [clip_to_range([side[b] for b in known], within) for side in (own, other)]
    differences = sides[0] - sides[1]
    notes = []
    seeds = [seed for seed, _ in known]
    if unit == "seed":
        differences = _seed_means(differences, seeds)
        notes.append(f"by seed, of which there are {differences.size}")
    elif (p := _agreement_p(differences, seeds)) < 0.05:
        notes.append(f"pairs of a seed agree (p {p:.2g}): see unit='seed'")
    every = max(len(own), len(other))
    if len(known) < every:
        notes.append(f"{len(known)} of {every} pairs are complete")
    if not differences.any():
        notes.append("no difference in any pair")
    if len(set(seeds)) == 1:
        notes.append("one seed: pairs differ in other settings alone")
    if differences.size < 2:
        found = _without_interval(float(differences.mean()))
    else:
        found = improvement_from_differences(differences, within)
    return _row(found, len(known), notes)


def _seed_means(differences: np.ndarray, seeds: Sequence[Hashable]) -> np.ndarray:
    """Returns one mean of each seed's differences."""
    own = _number_seeds(seeds)
    return np.bincount(own, differences) / np.bincount(own)


def _agreement_p(differences: np.ndarray, seeds: Sequence[Hashable]) -> float:
    """Returns the p-value of the hypothesis that the pairs of a seed do not agree.

    It is the F test of a one-way analysis of variance; 1 where there are too few pairs.
    """
    own = _number_seeds(seeds)
    means = _seed_means(differences, seeds)
    between = means.size - 1
    within = differences.size - means.size
    inner = float(((differences - means[own]) ** 2).sum())
    whole = float(((differences - differences.mean()) ** 2).sum())
    if not (between and within and inner > 0):
        return 1.0
    return float(fdtrc(between, within, (whole - inner) / between / (inner / within)))


def _number_seeds(seeds: Sequence[Hashable]) -> np.ndarray:
    """Returns the number of each pair's seed, from 0."""
    places = {seed: place for place, seed in enumerate(dict.fromkeys(seeds))}
    return np.array([places[seed] for seed in seeds])


def _select_side(
    searches: Sequence[Observation], key: str, value: Any
) -> dict[Block, float]:
    """Returns the results of the searches with one value of a setting."""
    return {
        (one.seed, tuple((k, v) for k, v in one.choice.items() if k != key)): one.value
        for one in searches
        if one.choice[key] == value
    }


def _compare_unpaired(
    own: Mapping[Block, float],
    other: Mapping[Block, float],
    known: Sequence[Block],
    within: MeasureRange,
) -> dict[str, Any]:
    """Returns the row of two sides that share at most one pair."""
    sides = [
        clip_to_range([v for v in side.values() if math.isfinite(v)], within)
        for side in (own, other)
    ]
    counts = " and ".join(str(side.size) for side in sides)
    if min(side.size for side in sides) > 1:
        found = improvement(sides[0].tolist(), sides[1].tolist(), within)
        return _row(found, 0, [f"unpaired: {counts} searches"])
    if known:
        (block,) = known
        found = _without_interval(own[block] - other[block])
        return _row(found, 1, ["one pair has no interval"])
    if all(side.size for side in sides):
        found = _without_interval(float(sides[0].mean() - sides[1].mean()))
        return _row(found, 0, [f"unpaired: {counts} searches have no interval"])
    return _row(
        _without_interval(math.nan), 0, [f"{counts} searches: nothing to compare"]
    )


def _without_interval(difference: float) -> Improvement:
    return Improvement(difference, math.nan, math.nan)


def _row(found: Improvement, pairs: int, notes: Sequence[str]) -> dict[str, Any]:
    numbers = dataclasses.asdict(found)
    return numbers | {"pairs": pairs, "note": "; ".join(notes)}
