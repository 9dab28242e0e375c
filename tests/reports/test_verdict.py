"""Conclusions: drawn by their thresholds, and told with their evidence."""

import numpy as np
import pytest

from darts_jax.analysis.comparison import improvement, improvement_by_run
from darts_jax.analysis.intervals import PERCENT
from darts_jax.reports import verdict
from darts_jax.reports.verdict import BAD, FACT, GOOD, UNKNOWN, UNSURE

CELLS = np.arange(100, dtype=np.float32)


@pytest.mark.parametrize(
    ("own", "random", "tone", "place"),
    [
        (90.0, [80.0] * 19, GOOD, "number 1 of 20"),
        (90.0, [80.0, 70.0, 60.0], UNSURE, "number 1 of 4"),
        (90.0, [80.0] * 18 + [90.0], UNSURE, "number 2 of 20"),
        (70.0, [60.0, 90.0, 90.0], BAD, "number 3 of 4"),
        (80.0, [80.0], BAD, "number 2 of 2"),
    ],
)
def test_one_search_has_a_place_among_random_cells(own, random, tone, place):
    answer = verdict.judge_against_random([own], random)
    assert answer.tone == tone
    assert place in answer.evidence
    assert f"{own - np.mean(random):+.2f} points" in answer.evidence


@pytest.mark.parametrize(
    ("searched", "random", "tone"),
    [
        ([95.0, 95.1, 95.2], [90.0, 90.5, 91.0], GOOD),
        ([90.0, 90.5, 91.0], [95.0, 95.1, 95.2], BAD),
        ([90.0, 95.0], [91.0, 93.0], UNSURE),
    ],
)
def test_searches_have_an_interval(searched, random, tone):
    beside = [[one] for one in random]
    answer = verdict.judge_against_random(searched, random, beside=beside)
    assert answer.tone == tone
    assert str(improvement_by_run(searched, beside, PERCENT)) in answer.evidence
    assert f"{len(searched)} pairs" in answer.evidence
    apart = verdict.judge_against_random(searched, random)
    assert str(improvement(searched, random, PERCENT)) in apart.evidence
    assert "unpaired" in apart.evidence


@pytest.mark.parametrize(
    ("found", "tone", "told"),
    [
        ([95.0], GOOD, "number 5 of all 100 cells"),
        ([94.0], UNSURE, "as good in 6% of draws"),
        ([10.0], BAD, "number 90 of all"),
        ([90.0, 92.0, 91.0], GOOD, "mean of 91.00 %"),
        ([10.0, 90.0], UNSURE, "95 % interval"),
        ([10.0, 11.0], BAD, "mean of 49.50 %, the best 99.00 %"),
    ],
)
def test_a_table_places_a_cell_among_all(found, tone, told):
    answer = verdict.judge_against_all_cells(found, CELLS, "a table")
    assert answer.tone == tone
    assert told in answer.evidence


def test_a_tables_float32_is_its_own_equal():
    cells = np.array([93.1, 93.2], np.float32)
    answer = verdict.judge_against_all_cells([float(cells[1])], cells, "a table")
    assert "number 1 of all 2" in answer.evidence


@pytest.mark.parametrize(
    ("kendall", "tone", "told"),
    [
        (0.6, GOOD, "80% of cases"),
        (0.45, UNSURE, "72% of cases"),
        (0.3, BAD, "65% of cases"),
        (-0.5, BAD, "25% of cases"),
        (float("nan"), UNKNOWN, "all the same"),
    ],
)
def test_tau_is_the_share_of_pairs_in_order(kendall, tone, told):
    answer = verdict.judge_ranking(kendall, 1.25, 15625, 50, "a table")
    assert answer.tone == tone
    assert told in answer.evidence


def test_a_gap_speaks_against_a_ranking_never_for_it():
    bad = verdict.judge_gap(0.9, 0.7, "no truth", "darts-jax score a")
    assert (bad.tone, bad.command) == (BAD, "darts-jax score a")
    open_ = verdict.judge_gap(0.9, 0.89, "no truth", "darts-jax score a")
    assert (open_.tone, open_.command) == (UNKNOWN, "darts-jax score a")
    assert open_.evidence.startswith("No truth.")


def test_a_collapse_is_told_by_its_signs():
    skips = {"normal": (1, 8), "reduce": (5, 8)}
    well = verdict.judge_collapse([], skips)
    assert well.tone == GOOD
    ill = verdict.judge_collapse(["reduce cell: 5 of 8", "normal cell: none"], skips)
    assert (ill.tone, ill.words) == (BAD, "2 signs of trouble")
    assert "Reduce cell: 5 of 8." in ill.evidence
    assert "5 of 8 kept edges of the reduce cell" in ill.evidence
    chain = verdict.judge_collapse([], {})
    assert (chain.tone, chain.figure) == (GOOD, "")
    assert chain.evidence.startswith("A path crosses each cell")


def test_costs_are_told_in_words_and_exactly():
    answer = verdict.state_cost(3_345_678, 530_000_000, "a network")
    assert answer.tone == FACT
    assert answer.words == "3.35 million parameters, 530 million multiply-accumulates"
    assert "3,345,678" in answer.evidence
    assert verdict.state_cost(999, None, "a network").words == "999 parameters"
