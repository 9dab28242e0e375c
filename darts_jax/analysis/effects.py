"""What each setting of a grid does, by pairs of searches that differ in it alone."""

import dataclasses
import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from darts_jax.analysis.comparison import Improvement, by_differences, holm, improvement
from darts_jax.analysis.intervals import Range, inside
from darts_jax.errors import unknown_name

UNITS = ("pair", "seed")
"""What counts as one independent observation of a difference."""

Block = tuple[Hashable, tuple[tuple[str, Hashable], ...]]  # seed, other settings


@dataclasses.dataclass(frozen=True)
class Observed:
    """One search and what was measured of it.

    Attributes:
      choice: setting -> value, of all that was varied but the seed.
      value: NaN where the search failed or did not measure it.
    """

    choice: Mapping[str, Any]
    seed: int
    value: float


def effects(
    searches: Sequence[Observed],
    within: Range,
    unit: str = "pair",
    every_pair: bool = False,
) -> pd.DataFrame:
    """Returns the difference that each value makes, beside the first of its setting.

    A pair are two searches with the same seed and the same value of every other
    setting: what these do to both drops out of their difference. The difference told
    is the mean over pairs, so over the seeds and over the other settings' values; a
    search whose partner failed counts for nothing. Where there are fewer than two
    pairs, and two searches or more on either side, the sides are compared unpaired.

    Args:
      within: what the measure can be; intervals lie within what differences can be.
      unit: ``pair`` takes pairs as independent. ``seed`` takes the mean over a seed's
        pairs as one observation: right also where a seed moves all its pairs alike,
        and mostly wider, as there are fewer seeds than pairs. Where pairs of a seed
        agree more than chance has it (p below 0.05 in an analysis of variance of the
        differences by seed), the note of ``pair`` says so.
      every_pair: compares each value with every one before it in the grid.

    Returns:
      A row for each comparison. Columns: ``setting``, ``value``, ``against``,
      ``difference``, ``low`` and ``high`` (95 %, of this comparison alone), ``p``,
      ``p_holm`` (adjusted for all rows), ``comparisons`` (how many rows there are),
      ``pairs`` (0: unpaired) and ``note``: what is out of the ordinary. A number is NaN
      where it cannot be told, as the interval of a single pair.

    Raises:
      InputError: no such unit.
    """
    if unit not in UNITS:
        raise unknown_name("unit", unit, UNITS)
    rows = [
        {"setting": key, "value": value, "against": against}
        | _compared(searches, key, value, against, within, unit)
        for key in searches[0].choice
        for value, against in _comparisons(searches, key, every_pair)
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


def _comparisons(
    searches: Sequence[Observed], key: str, every_pair: bool
) -> Iterator[tuple[Any, Any]]:
    values = list(dict.fromkeys(one.choice[key] for one in searches))
    if every_pair:
        yield from ((b, a) for a, b in itertools.combinations(values, 2))
    else:
        yield from ((value, values[0]) for value in values[1:])


def _compared(
    searches: Sequence[Observed],
    key: str,
    value: Any,
    against: Any,
    within: Range,
    unit: str,
) -> dict[str, Any]:
    own, other = (_side(searches, key, v) for v in (value, against))
    blocks = [block for block in own if block in other]
    known = [b for b in blocks if math.isfinite(own[b]) and math.isfinite(other[b])]
    if len(known) < 2:
        return _without_pairs(own, other, known, within)
    sides = [inside([side[b] for b in known], within) for side in (own, other)]
    differences, notes = sides[0] - sides[1], []
    seeds = [seed for seed, _ in known]
    if unit == "seed":
        differences = _means(differences, seeds)
        notes.append(f"by seed, of which there are {differences.size}")
    elif (p := _agreeing(differences, seeds)) < 0.05:
        notes.append(f"pairs of a seed agree (p {p:.2g}): see unit='seed'")
    every = max(len(own), len(other))
    if len(known) < every:
        notes.append(f"{len(known)} of {every} pairs are complete")
    if not differences.any():
        notes.append("no difference in any pair")
    if len(set(seeds)) == 1:
        notes.append("one seed: pairs differ in other settings alone")
    if differences.size < 2:
        found = _only(float(differences.mean()))
    else:
        found = by_differences(differences, within)
    return _row(found, len(known), notes)


def _means(differences: np.ndarray, seeds: Sequence[Hashable]) -> np.ndarray:
    """Returns one mean of each seed's differences."""
    own = _numbered(seeds)
    return np.bincount(own, differences) / np.bincount(own)


def _agreeing(differences: np.ndarray, seeds: Sequence[Hashable]) -> float:
    """Returns the p-value of pairs of a seed being no nearer than those of others.

    That is the F test of a one-way analysis of variance; 1 where there are too few.
    """
    own, means = _numbered(seeds), _means(differences, seeds)
    between, within = means.size - 1, differences.size - means.size
    inner = float(((differences - means[own]) ** 2).sum())
    whole = float(((differences - differences.mean()) ** 2).sum())
    if not (between and within and inner > 0):
        return 1.0
    return float(fdtrc(between, within, (whole - inner) / between / (inner / within)))


def _numbered(seeds: Sequence[Hashable]) -> np.ndarray:
    places = {seed: place for place, seed in enumerate(dict.fromkeys(seeds))}
    return np.array([places[seed] for seed in seeds])


def _side(searches: Sequence[Observed], key: str, value: Any) -> dict[Block, float]:
    return {
        (one.seed, tuple((k, v) for k, v in one.choice.items() if k != key)): one.value
        for one in searches
        if one.choice[key] == value
    }


def _without_pairs(
    own: Mapping[Block, float],
    other: Mapping[Block, float],
    known: Sequence[Block],
    within: Range,
) -> dict[str, Any]:
    """Returns the row of sides that share at most one pair."""
    sides = [
        inside([v for v in side.values() if math.isfinite(v)], within)
        for side in (own, other)
    ]
    counts = " and ".join(str(side.size) for side in sides)
    if min(side.size for side in sides) > 1:
        found = improvement(sides[0].tolist(), sides[1].tolist(), within)
        return _row(found, 0, [f"unpaired: {counts} searches"])
    if known:
        (block,) = known
        found = _only(own[block] - other[block])
        return _row(found, 1, ["one pair has no interval"])
    if all(side.size for side in sides):
        found = _only(float(sides[0].mean() - sides[1].mean()))
        return _row(found, 0, [f"unpaired: {counts} searches have no interval"])
    return _row(_only(math.nan), 0, [f"{counts} searches: nothing to compare"])


def _only(difference: float) -> Improvement:
    return Improvement(difference, math.nan, math.nan)


def _row(found: Improvement, pairs: int, notes: Sequence[str]) -> dict[str, Any]:
    told = dataclasses.asdict(found)
    return told | {"pairs": pairs, "note": "; ".join(notes)}
