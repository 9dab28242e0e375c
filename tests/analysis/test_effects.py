"""Effects by pairs: against SciPy, brute force, closed forms and simulated truth."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from darts_jax.analysis.comparison import (
    holm,
    improvement,
    improvement_by_run,
    improvement_from_differences,
    improvement_over_mean,
)
from darts_jax.analysis.effects import Observation, effects
from darts_jax.analysis.intervals import (
    ANY,
    PERCENT,
    SHARE,
    MeasureRange,
    mean_interval,
)
from darts_jax.analysis.measures import column_range
from darts_jax.errors import InputError
from darts_jax.plots.effects import plot_effects
from darts_jax.reports import verdict
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.workflows import ablate as ablations
from darts_jax.workflows.ablate import Ablation, GridSearch
from darts_jax.workflows.reproduce import improvement_over_random

# Sixteen searches, seeds 0 to 3: held out accuracy, and skips of six edges.
ABLATION = {
    ("first_order", "softmax"): ([0.846, 0.871, 0.841, 0.910], [2, 3, 0, 1]),
    ("first_order", "gumbel_softmax"): ([0.540, 0.320, 0.679, 0.741], [1, 5, 1, 2]),
    ("exact", "softmax"): ([0.915, 0.915, 0.886, 0.922], [0, 2, 2, 1]),
    ("exact", "gumbel_softmax"): ([0.542, 0.371, 0.659, 0.794], [1, 3, 3, 3]),
}
CONVOLUTIONS = Genotype.from_nasbench201(
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+"
    "|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)


def searched(choice, seed, genotype=CONVOLUTIONS, **measured):
    """Makes the record of one epoch of a search that never ran."""
    epochs = pd.DataFrame([{"epoch": 1} | measured])
    return GridSearch(choice, seed, genotype, epochs)


def stored():
    return Ablation(
        tuple(
            searched(
                {"search.hypergradient": gradient, "search.relaxation": relaxation},
                seed,
                held_out_accuracy=accuracies[seed],
                discretized_accuracy=0.1,
                skips=skips[seed],
            )
            for (gradient, relaxation), (accuracies, skips) in ABLATION.items()
            for seed in range(4)
        )
    )


def grid(values, within=ANY, **options):
    """Effects of {(choice of a, choice of b, seed): value}."""
    observed = [
        Observation({"a": a, "b": b}, seed, value)
        for (a, b, seed), value in values.items()
    ]
    return effects(observed, within, **options)


def drawn(effect=0.0, levels=(0, 1), seeds=range(4), rng=None, noise=0.02):
    """A full factorial whose blocks differ far more than its effect."""
    rng = rng or np.random.default_rng(0)
    blocks = {(b, s): rng.normal(0, 1) for b in ("x", "y") for s in seeds}
    return {
        (a, b, s): blocks[b, s] + effect * a + rng.normal(0, noise)
        for a in levels
        for b in ("x", "y")
        for s in seeds
    }


# An ablation of four combinations


def test_an_ablation_by_pairs():
    found = stored().effects("held_out_accuracy")
    row = found.iloc[0]
    assert (row["value"], row["against"]) == ("exact", "first_order")
    told = [round(row[key], 3) for key in ("difference", "low", "high")]
    assert told == [0.032, 0.007, 0.057]
    assert row["p"] == pytest.approx(0.02, abs=0.002)
    assert (row["pairs"], row["comparisons"], row["note"]) == (8, 2, "")
    assert row["p_holm"] == row["p"]  # that of the other is the smaller one
    assert found.iloc[1]["p_holm"] == 2 * found.iloc[1]["p"]
    pd.testing.assert_frame_equal(found, stored().effects("held_out_accuracy"))


def test_its_pairs_by_brute_force():
    """All 256 ways in which the signs of eight differences may fall."""
    sides = [
        np.concatenate(
            [ABLATION[gradient, r][0] for r in ("softmax", "gumbel_softmax")]
        )
        for gradient in ("exact", "first_order")
    ]
    # Ten of them have a mean as far from 0; so few pairs make p no finer.
    assert by_signs(sides[0] - sides[1]) == 10 / 256
    row = stored().effects("held_out_accuracy").iloc[0]
    assert row["p"] < 0.05
    # Student's own interval, where accuracies would have no ends.
    student = stats.ttest_rel(*sides).confidence_interval()
    assert abs(row["low"] - student.low) < 1e-4
    assert abs(row["high"] - student.high) < 1e-4


def by_signs(differences):
    """The share of all choices of signs whose mean is at least as far from 0."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(differences))))
    means = np.abs(signs @ differences)
    return np.mean(means >= abs(differences.sum()) - 1e-12)


@pytest.mark.parametrize("effect", [0.0, 0.25, 0.5])
def test_p_is_near_that_of_all_signs(effect):
    differences = np.random.default_rng(5).normal(effect, 0.5, 14)
    assert (
        abs(improvement_from_differences(differences).p - by_signs(differences)) < 0.01
    )


def test_every_interval_of_an_ablation_is_within_its_measure():
    ablation = stored()
    assert ablation.column_range("skips") == (0, 6)
    for measure in ("held_out_accuracy", "discretized_accuracy", "skips"):
        low, high = ablation.column_range(measure)
        table = ablation.table
        assert (table[f"{measure}_low"] >= low).all()
        assert (table[f"{measure}_high"] <= high).all()
        assert (table[f"{measure}_low"] <= table[measure]).all()
        assert (table[measure] <= table[f"{measure}_high"]).all()
        found = ablation.effects(measure)
        assert (found["low"] >= low - high).all()
        assert (found["high"] <= high - low).all()
    assert "all alike" in ablation.to_markdown()
    assert "(-" not in ablation.to_markdown()


# Pairs


def test_pairs_are_students_and_their_p_is_scipys():
    values = drawn(effect=0.03)
    row = grid(values).iloc[0]
    keys = [(b, s) for b in ("x", "y") for s in range(4)]
    sides = [[values[a, *key] for key in keys] for a in (1, 0)]
    told = stats.ttest_rel(*sides)
    interval = told.confidence_interval()
    want = np.subtract(*sides).mean(), interval.low, interval.high, told.pvalue
    got = row[["difference", "low", "high", "p"]].to_list()
    np.testing.assert_allclose(got, want, rtol=1e-9)
    # Welch's, of the same numbers, sees nothing.
    assert row["low"] > 0
    assert improvement(*sides).low < 0 < improvement(*sides).high


def test_a_pair_without_one_of_its_searches_counts_for_nothing():
    values = drawn(effect=0.03)
    whole = grid(values).iloc[0]
    for broken in (
        {k: v for k, v in values.items() if k != (1, "x", 2)},
        values | {(1, "x", 2): math.nan},
    ):
        row = grid(broken).iloc[0]
        keys = [(b, s) for b in ("x", "y") for s in range(4) if (b, s) != ("x", 2)]
        sides = [[values[a, *key] for key in keys] for a in (1, 0)]
        told = stats.ttest_rel(*sides)
        np.testing.assert_allclose(row["p"], told.pvalue, rtol=1e-9)
        assert row["pairs"] == 7 < whole["pairs"]
        assert row["note"] == "7 of 8 pairs are complete"


def test_a_seed_may_be_the_unit():
    values = drawn(effect=0.03)
    row = grid(values, unit="seed").iloc[0]
    means = [
        np.mean([values[1, b, s] - values[0, b, s] for b in ("x", "y")])
        for s in range(4)
    ]
    told = stats.ttest_1samp(means, 0)
    np.testing.assert_allclose(row["p"], told.pvalue, rtol=1e-9)
    np.testing.assert_allclose(row["low"], told.confidence_interval().low, rtol=1e-9)
    assert row["note"] == "by seed, of which there are 4"
    with pytest.raises(InputError, match="did you mean 'seed'"):
        grid(values, unit="sed")


def test_pairs_of_a_seed_that_agree_are_told():
    """Seed 1 loses most by Gumbel's relaxation, by either hypergradient."""
    found = stored().effects("held_out_accuracy")
    sides = [
        [
            np.subtract(ABLATION[g, "gumbel_softmax"][0], ABLATION[g, "softmax"][0])[s]
            for g in ("first_order", "exact")
        ]
        for s in range(4)
    ]
    p = stats.f_oneway(*sides).pvalue
    assert found["note"].tolist() == [
        "",
        f"pairs of a seed agree (p {p:.2g}): see unit='seed'",
    ]
    by_seed = stored().effects("held_out_accuracy", unit="seed")
    assert (by_seed["high"] - by_seed["low"])[1] > 1.5 * (found["high"] - found["low"])[
        1
    ]


def test_one_seed_has_the_pairs_of_its_other_settings():
    values = drawn(effect=0.03, seeds=[5])
    row = grid(values).iloc[0]
    assert (row["pairs"], "one seed" in row["note"]) == (2, True)
    assert row["low"] < row["difference"] < row["high"]
    by_seed = grid(values, unit="seed").iloc[0]
    assert math.isnan(by_seed["low"])
    assert by_seed["difference"] == pytest.approx(row["difference"])


def test_one_pair_has_no_interval_and_none_no_difference():
    row = grid({(0, "x", 0): 1.0, (1, "x", 0): 3.0}).iloc[0]
    assert (row["difference"], row["pairs"]) == (2.0, 1)
    assert math.isnan(row["low"])
    assert math.isnan(row["p"])
    assert row["note"] == "one pair has no interval"
    row = grid({(0, "x", 0): 1.0, (1, "x", 0): math.nan}).iloc[0]
    assert math.isnan(row["difference"])
    assert row["note"] == "0 and 1 searches: nothing to compare"


def test_sides_without_pairs_are_welchs_and_say_so():
    first, second = [1.0, 2.0, 4.0], [5.0, 6.5]
    values = {(0, "x", s): v for s, v in enumerate(first)}
    values |= {(1, "x", 10 + s): v for s, v in enumerate(second)}
    row = grid(values).iloc[0]
    told = stats.ttest_ind(second, first, equal_var=False)
    interval = told.confidence_interval()
    got = row[["low", "high", "p"]].to_list()
    want = interval.low, interval.high, told.pvalue
    np.testing.assert_allclose(got, want, rtol=1e-9)
    assert (row["pairs"], row["note"]) == (0, "unpaired: 2 and 3 searches")


def test_an_interaction_widens_the_interval_of_its_mean():
    """The mean of an effect that turns round with another setting shows nothing."""
    values = {
        (a, b, s): 0.5 + (0.1 if b == "x" else -0.1) * a + 0.001 * s * (a + 1)
        for a in (0, 1)
        for b in ("x", "y")
        for s in range(4)
    }
    row = grid(values, SHARE).iloc[0]
    assert row["difference"] == pytest.approx(0.0015)
    assert row["low"] < -0.05
    assert row["high"] > 0.05


def test_many_levels_are_many_comparisons():
    values = drawn(effect=0.03, levels=(0, 1, 2, 3))
    found = grid(values)
    # Three of a, one of b.
    assert found["comparisons"].tolist() == [4] * 4
    by_scipy = [
        stats.ttest_rel(*([v for k, v in values.items() if k[0] == a] for a in (i, 0)))
        for i in (1, 2, 3)
    ]
    want = [told.pvalue for told in by_scipy]
    np.testing.assert_allclose(found["p"][:3], want, rtol=1e-8)
    every = grid(values, every_pair=True)
    assert len(every) == 6 + 1
    assert (every["comparisons"] == 7).all()
    assert every[["value", "against"]].iloc[-2].tolist() == [3, 2]
    assert (every["p_holm"] >= every["p"]).all()


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.5], [0.2], [0.9, 0.6], []])
def test_holm_by_its_definition(p):
    """It rejects the smallest p-values while each is below 0.05 / how many are left."""
    for level in np.linspace(0.001, 0.999, 400):
        rejected = set()
        for rank, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] > level / (len(p) - rank):
                break
            rejected.add(i)
        assert rejected == {i for i, q in enumerate(holm(p)) if q <= level}


def test_holm_counts_what_has_no_p():
    got = holm([0.01, math.nan])
    assert got[0] == 0.02
    assert math.isnan(got[1])


# Ranges


@pytest.mark.parametrize(
    "within", [SHARE, PERCENT, MeasureRange(0.0, 6.0), MeasureRange(low=0.0)]
)
def test_no_interval_leaves_its_range_and_p_agrees_with_it(within):
    rng = np.random.default_rng(1)
    width = within.high if math.isfinite(within.high) else 5.0
    for _ in range(300):
        count = int(rng.integers(2, 7))
        shape = rng.uniform(0.05, 3, 2)
        sides = [rng.beta(*shape, count) * width for _ in range(2)]
        mean, low, high = mean_interval(sides[0], within)
        assert within.low <= low <= mean <= high <= within.high
        for found in (
            improvement(*sides, within),
            improvement(*(dict(enumerate(side)) for side in sides), within),
        ):
            assert -width <= found.low or not within.is_bounded
            assert found.high <= width or not within.is_bounded
            assert found.low <= found.difference <= found.high
            assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_an_interval_by_the_delta_methods_definition():
    values = np.array([0.91, 0.97, 0.88, 0.99])
    odds = np.log(values.mean() / (1 - values.mean()))
    slope = 1 / (values.mean() * (1 - values.mean()))
    half = stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2 * slope
    want = [1 / (1 + np.exp(-(odds + x))) for x in (-half, half)]
    _, *got = mean_interval(values.tolist(), SHARE)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    # Percents are the same, a hundred times.
    np.testing.assert_allclose(
        mean_interval((100 * values).tolist(), PERCENT)[1:], 100 * np.array(want)
    )


@pytest.mark.parametrize("count", [2, 4, 9])
def test_what_is_all_alike_has_clopper_and_pearsons_interval(count):
    exact = stats.binomtest(count, count).proportion_ci(method="exact")
    ones = mean_interval([1.0] * count, SHARE)
    np.testing.assert_allclose(ones, (1.0, exact.low, 1.0), rtol=1e-12)
    zeros = mean_interval([0.0] * count, MeasureRange(0.0, 6.0))
    np.testing.assert_allclose(zeros, (0.0, 0.0, 6 * (1 - exact.low)), rtol=1e-12)
    # Inside, what is left may lie at either end.
    half = mean_interval([0.5] * count, SHARE)
    q = exact.low
    np.testing.assert_allclose(half, (0.5, q / 2, 1 - q / 2), rtol=1e-12)
    # A measure without ends has nothing to bound it by.
    assert mean_interval([0.5] * count) == (0.5, 0.5, 0.5)


def test_no_difference_in_any_pair():
    same = {s: 0.5 + 0.1 * s for s in range(4)}
    found = improvement(same, same, SHARE)
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.low == -found.high < 0
    values = {(a, "x", s): 0.1 * s for a in (0, 1) for s in range(4)}
    row = grid(values, SHARE).iloc[0]
    assert row["note"] == "no difference in any pair"
    # Rounding is no spread.
    shifted = {s: v + 0.1 for s, v in same.items()}
    constant = improvement(shifted, same, SHARE)
    assert constant.high - constant.low > 1
    unbounded = improvement_from_differences(np.full(3, 2.0))
    assert (unbounded.low, unbounded.high) == (2.0, 2.0)
    assert math.isnan(unbounded.p)
    apart = improvement([1.0, 1.0], [0.0, 0.0, 0.0], SHARE)
    assert -1 <= apart.low < 0 < apart.difference == apart.high == 1


@pytest.mark.parametrize("value", [-0.1, 1.1, 90.0])
def test_a_result_outside_its_range_is_told(value):
    for broken in (
        lambda: mean_interval([0.5, value], SHARE),
        lambda: improvement([0.5, value], [0.5, 0.6], SHARE),
        lambda: improvement({0: 0.5, 1: value}, {0: 0.5, 1: 0.6}, SHARE),
    ):
        with pytest.raises(InputError, match="is not between 0 and 1"):
            broken()
    assert mean_interval([0.5, 1 + 1e-9], SHARE)[2] <= 1


@pytest.mark.parametrize(
    ("column", "columns", "within"),
    [
        ("held_out_accuracy", (), SHARE),
        ("discretized_balanced_accuracy", (), SHARE),
        ("held_out_ap_50", (), SHARE),
        ("benchmark_accuracy", (), PERCENT),
        ("held_out_perplexity", (), MeasureRange(low=1.0)),
        ("entropy", (), SHARE),
        ("skips", (), MeasureRange(low=0.0)),
        ("discretization_gap", ["held_out_accuracy"], MeasureRange(-1.0, 1.0)),
        ("discretization_gap", ["held_out_perplexity"], ANY),
        ("held_out_beauty", (), ANY),
    ],
)
def test_what_a_measure_can_be(column, columns, within):
    assert column_range(column, columns) == within


def test_skips_end_at_the_edges_that_are_kept():
    assert column_range("skips", (), [None, CONVOLUTIONS]) == (0, 6)
    assert get_space(CONVOLUTIONS.space)


# Coverage: intervals hold the truth as often as they say.


def simulated(draw, truth, within, count, times=3000):
    """Returns how often the interval of a mean holds the truth, and that by t would."""
    rng = np.random.default_rng(2)
    held = {"ours": 0, "student": 0}
    for _ in range(times):
        values = draw(rng, count)
        for name, range_ in (("ours", within), ("student", ANY)):
            _, low, high = mean_interval(values, range_)
            held[name] += low <= truth <= high
    return {name: times_held / times for name, times_held in held.items()}


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng, n: rng.beta(9, 1, n), 0.9),
        (lambda rng, n: rng.beta(0.5, 0.5, n), 0.5),
        (lambda rng, n: rng.binomial(6, 0.05, n) / 6, 0.05),
    ],
    ids=["near 1", "at both ends", "mostly 0"],
)
@pytest.mark.parametrize("count", [4, 8])
def test_intervals_near_an_end_cover_where_students_do_not(draw, truth, count):
    held = simulated(draw, truth, SHARE, count, times=1500)
    assert held["ours"] > 0.92
    assert held["ours"] > held["student"]


def test_paired_effects_cover_and_find_what_welch_cannot():
    rng = np.random.default_rng(3)
    held, found, by_welch, times = 0, 0, 0, 1500
    for _ in range(times):
        block = rng.beta(5, 2, 8)
        sides = [
            dict(enumerate(block * 0.9 + shift + rng.normal(0, 0.015, 8)))
            for shift in (0.04, 0.01)
        ]
        paired = improvement(*sides, SHARE)
        apart = improvement(*([*side.values()] for side in sides), SHARE)
        held += paired.low <= 0.03 <= paired.high
        found += paired.low > 0 or paired.high < 0
        by_welch += apart.low > 0 or apart.high < 0
    assert abs(held / times - 0.95) < 4 * math.sqrt(0.95 * 0.05 / times)
    assert found / times > 0.9
    assert by_welch / times < 0.05


def test_a_seed_as_unit_covers_where_a_seed_moves_its_pairs_alike():
    rng = np.random.default_rng(4)
    held, times = {"pair": 0, "seed": 0}, 400
    for _ in range(times):
        own = rng.normal(0, 0.05, 5)  # what the effect is at each seed
        values = {
            (a, b, s): (0.1 + own[s]) * a + rng.normal(0, 0.01)
            for a in (0, 1)
            for b in ("x", "y", "z", "u")
            for s in range(5)
        }
        for unit in held:
            row = grid(values, unit=unit).iloc[0]
            held[unit] += row["low"] <= 0.1 <= row["high"]
    assert abs(held["seed"] / times - 0.95) < 4 * math.sqrt(0.95 * 0.05 / times)
    assert held["pair"] / times < 0.85


# Those that use it


def test_common_seeds_are_pairs_and_said_so():
    first = {0: 0.9, 1: 0.7, 2: 0.8}
    second = {1: 0.68, 2: 0.79, 3: 0.1, 0: 0.87}
    found = improvement(first, second)
    told = stats.ttest_rel([0.9, 0.7, 0.8], [0.87, 0.68, 0.79])
    assert found.pairs == 3
    np.testing.assert_allclose(found.p, told.pvalue)
    assert str(found).endswith(", 3 pairs)")
    apart = improvement(first, {7: 0.1, 8: 0.2})
    assert apart.pairs == 0
    assert str(apart).endswith(", unpaired)")
    assert apart == improvement([*first.values()], [0.1, 0.2])


def test_runs_are_compared_with_their_own_random_genotypes():
    searches = [91.0, 81.0, 71.0]
    beside = [[90.0, 88.0], [79.0], [70.0, 68.0, 69.0]]
    found = improvement_by_run(searches, beside, PERCENT)
    assert found.pairs == 3
    assert found.difference == pytest.approx(2.0)
    pooled = [other for run in beside for other in run]
    assert improvement(searches, pooled, PERCENT).low < 0
    answer = verdict.judge_against_random([91.0, 81.1, 71.0], pooled, beside=beside)
    assert answer.tone == verdict.GOOD
    assert "3 pairs" in answer.evidence
    alone = verdict.judge_against_random(
        searches, beside[0], beside=[beside[0], [], []]
    )
    assert "unpaired" in alone.evidence
    rows = [
        {"result": own, "random": others}
        for own, others in zip(searches, beside, strict=True)
    ]
    assert improvement_over_random(rows, None) == found


def test_a_known_mean_has_no_error_of_its_own():
    found = improvement_over_random([{"result": r} for r in (71.0, 99.0, 55.0)], 87.0)
    mean, low, high = mean_interval([71.0, 99.0, 55.0], PERCENT)
    assert (found.low, found.high) == (low - 87, high - 87)
    assert found.difference == mean - 87
    assert found.high < 100 - 87
    with pytest.raises(InputError, match="2 or more"):
        improvement_over_mean([1.0], 2.0)


def test_a_search_that_failed_counts_for_nothing():
    """Parameters that are no numbers still have an accuracy: that of chance."""
    ablation = stored()
    first, *others = ablation.searches
    lost = Ablation((GridSearch(first.choice, 0, None, first.epochs), *others))
    row = lost.table.iloc[0]
    assert (row["seeds"], row["failed"]) == (3, 1)
    assert row["held_out_accuracy"] == pytest.approx(np.mean([0.871, 0.841, 0.910]))
    assert "| 3 (1 more failed) |" in lost.to_markdown()
    row = lost.effects("held_out_accuracy").iloc[0]
    assert row["pairs"] == 7
    assert row["note"] == "7 of 8 pairs are complete"


@pytest.mark.parametrize(
    ("grid", "seeds", "says"),
    [
        ({"search.relaxation": ["softmax"]}, [0, 1, 0], "seeds has 0 twice"),
        ({"search.clip": [1, 2, 1]}, [0], "search.clip has 1 twice"),
    ],
)
def test_a_search_is_not_counted_twice(tmp_path, grid, seeds, says, monkeypatch):
    monkeypatch.setattr(ablations, "open_grid", pytest.fail)
    with pytest.raises(InputError, match=says):
        ablations.ablate(None, grid, seeds, tmp_path)


def test_effects_are_drawn_with_how_many_they_are():
    figure = stored().plot_effects("held_out_accuracy")
    told = figure.get_label()
    assert "hypergradient exact against first_order +3.2 (+0.65" in told
    assert "8 pairs" in told
    shown = [text.get_text() for text in figure.texts]
    assert any("2 comparisons" in text for text in shown)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert low < -40
    assert high > 5
    one = grid({(0, "x", 0): 1.0, (1, "x", 0): 3.0})
    told = plot_effects(one, "entropy").get_label()
    assert "+2, 1 pair *" in told
    assert told.endswith("* one pair has no interval")
