"""The schema: each entry is whole, and all that is made of it follows a new one."""

import math

import pytest

from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.settings.combinations import EXCLUSIONS
from darts_jax.settings.config import default_config, flatten, with_overrides
from darts_jax.settings.config_files import load_config
from darts_jax.settings.reference import explain_settings, settings_table
from darts_jax.settings.scalars import search_scalars, training_scalars
from darts_jax.settings.schema import (
    SCHEMA,
    all_settings,
    population_settings,
    scheduled_settings,
)
from darts_jax.settings.setting import OneOf, Range, Registered, Scheduled, Setting
from darts_jax.spaces import SPACES

DEFAULTS = dict(flatten(default_config()))


@pytest.mark.parametrize("key", all_settings())
def test_an_entry_says_what_the_setting_is(key):
    setting = all_settings()[key]
    assert setting.help.endswith(".")
    assert setting.help[0].isupper()
    assert len(setting.help) < 150
    assert DEFAULTS[key] == setting.default
    setting.values.require(key, setting.default)


@pytest.mark.parametrize(
    ("values", "words", "inside", "outside"),
    [
        (Range(least=1), "at least 1", [1, 9], [0, -1]),
        (Range(least=0), "0 or more", [0, 0.5], [-0.1]),
        (Range(above=0), "above 0", [1e-9], [0]),
        (Range(least=0, below=1), "in [0, 1)", [0, 0.9], [1, -0.1]),
        (Range(least=0.0, most=1.0), "in [0, 1]", [0, 1], [1.1, -0.1]),
        (Range(above=0, most=1), "in (0, 1]", [1, 0.1], [0, 1.1]),
        (Range(above=0, below=0.5), "between 0 and 0.5", [0.1], [0, 0.5]),
        (Range(least=8, most=16), "8 to 16", [8, 16], [7, 17]),
        (Range(least=0, below=2**31), "in [0, 2**31)", [2**31 - 1], [2**31]),
        (OneOf(("a", "b")), "one of a, b", ["a"], ["c", ""]),
        (OneOf((1, 3, 0)), "1, 3 or 0", [3], [2]),
        (Registered({"f": math.sin}, ("no",)), "one of no, f", ["f", "no"], ["g"]),
        (Scheduled(Range(least=0)), "a schedule of 0 or more", ["0", "0:1"], ["1:-1"]),
        (Scheduled(Range(above=0)), "a schedule above 0", ["1:2"], ["0", "0:1"]),
        (Scheduled(), "a schedule", ["-1:2"], []),
    ],
)
def test_a_kind_of_values_is_its_definition_and_says_it(values, words, inside, outside):
    assert str(values) == words
    for value in inside:
        values.require("some.key", value)
    for value in outside:
        with pytest.raises(InputError):
            values.require("some.key", value)


def test_a_new_scheduled_scalar_is_one_entry(monkeypatch):
    key = "search.sharpness"
    values = Scheduled(Range(above=0))
    entry = Setting("2:1", "Power of the mixture.", values, scalar="sharpness")
    monkeypatch.setitem(SCHEMA, key, entry)
    config = default_config()
    assert config.search.sharpness == "2:1"
    with pytest.raises(InputError, match=r"sharpness is 0; want a schedule above 0"):
        with_overrides(config, [f"{key}=0"])
    changed = with_overrides(config, [f"{key}=5:1", "search.epochs=4"])
    rates = [search_scalars(changed.search, epoch)["sharpness"] for epoch in range(4)]
    assert rates == [5, 4, 3, 2]
    assert key in scheduled_settings()
    assert key in population_settings()
    assert "Power of the mixture." in explain_settings(config)
    assert f"| `{key}` | `2:1` | Power of the mixture. |" in settings_table()


def test_members_differ_in_scalars_of_the_step_and_in_what_it_starts_from():
    known = population_settings()
    besides = {
        "seed",
        "search.weights.final_learning_rate",
        "search.architecture.init_scale",
    }
    search = {key for key in all_settings() if key.startswith("search.")}
    scalars = {key for key in search if all_settings()[key].scalar}
    assert set(known) == scalars | besides
    assert set(scheduled_settings()) <= scalars


def test_scalars_are_a_tree_of_numbers():
    config = with_overrides(default_config(), ["search.terms.entropy=0:1"])
    for scalars in (
        search_scalars(config.search, 3),
        training_scalars(config.retrain, 3),
    ):
        assert all(isinstance(value, float) for _, value in flatten(scalars))
    assert search_scalars(config.search, 5)["terms"] == {"entropy": 0.1}


@pytest.mark.parametrize("space", ["darts_1d", "mobile_small_1d"])
def test_kernels_along_one_axis_are_not_entangled(space):
    with pytest.raises(InputError, match="are windows along one axis: want false"):
        load_config(None, [f"space={space}", "supernet.entangled=true"])


def test_exclusions_name_settings_that_there_are():
    for exclusion in EXCLUSIONS:
        assert set(exclusion.settings) <= DEFAULTS.keys(), exclusion.reason


def test_the_command_line_explains_every_setting(capsys):
    given = ["settings", "--explain", "--config.search.temperature=3:1"]
    assert main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(all_settings())
    line = lines.index(
        "search.temperature=3:1   a schedule above 0; members of a population may "
        "differ in it"
    )
    assert lines[line + 1] == "    Temperature of the relaxation."
    (task,) = (line for line in lines if line.startswith("task="))
    assert "one of classification, regression, language, detection" in task
    (space,) = (line for line in lines if line.startswith("space="))
    assert f"one of {', '.join(SPACES)};" in space
