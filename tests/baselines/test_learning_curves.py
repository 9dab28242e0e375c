"""Learning curves continued, beside curves whose formula is known."""

import numpy as np
import pytest

from darts_jax.baselines import EXTRAPOLATIONS

EPOCHS = np.array([1.0, 3, 9, 27])


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("power_law", lambda x: 93 - 40 * x**-0.7),
        ("best_family", lambda x: 93 - 40 * x**-0.7),
        ("best_family", lambda x: 91 - 30 * np.exp(-0.15 * x)),
        ("best_family", lambda x: 95 - 20 / np.log(1 + x)),
    ],
)
def test_a_curve_of_the_family_is_continued_to_its_value(name, curve):
    found = EXTRAPOLATIONS[name](EPOCHS, curve(EPOCHS), 200)
    assert found == pytest.approx(curve(200.0), abs=0.02)


def test_noise_moves_the_end_a_little():
    rng = np.random.default_rng(0)
    epochs = np.arange(1.0, 31)
    for _ in range(5):
        scores = 93 - 40 * epochs**-0.7 + rng.normal(0, 0.3, 30)
        found = EXTRAPOLATIONS["power_law"](epochs, scores, 200)
        assert found == pytest.approx(93 - 40 * 200**-0.7, abs=1)


@pytest.mark.parametrize("name", list(EXTRAPOLATIONS))
def test_few_or_equal_scores_are_taken_as_they_are(name):
    extrapolate = EXTRAPOLATIONS[name]
    assert extrapolate(EPOCHS[:2], np.array([50.0, 60]), 200) == 60
    assert extrapolate(EPOCHS, np.full(4, 60.0), 200) == pytest.approx(60)


def test_a_falling_curve_is_not_taken_to_rise():
    falling = np.array([90.0, 80, 70, 60])
    assert EXTRAPOLATIONS["power_law"](EPOCHS, falling, 200) == pytest.approx(75)
