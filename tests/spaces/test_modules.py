"""The choices of a user's network, written and read without the network."""

import json

import pytest

import darts_jax
from darts_jax.errors import InputError
from darts_jax.spaces.modules import (
    Decision,
    Measured,
    choices_of,
    module_space,
    read_space,
    register_recorded,
    write_space,
)

MIDDLE = Decision("middle", ("block", "skip_connect"))
RATE = Decision(
    "rate", ("0.0", "0.2"), ((("middle", frozenset({"block"})),),), "ValueChoice"
)
SPACE = module_space("kept", (MIDDLE, RATE))
RMSE = Measured("rmse", more_is_better=False, scale=10.0, unit="cm")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "space.json").write_text(write_space(SPACE, RMSE))
    yield tmp_path
    darts_jax.SPACES.pop("kept", None)


def test_what_is_written_is_read(folder):
    space, measured = read_space(folder)
    assert (space.name, space.decisions) == ("kept", (MIDDLE, RATE))
    assert measured == RMSE
    assert read_space(folder.parent) is None
    assert RATE.condition == "middle = block"
    assert not RATE.is_reached({"middle": "skip_connect"})


def test_a_genotype_is_read_beside_its_choices(folder):
    choices = {"middle": "block", "rate": "0.2"}
    path = folder / "genotype.json"
    path.write_text(json.dumps({"space": "kept", "choices": choices}))
    assert choices_of(darts_jax.read_genotype(folder)) == choices
    assert register_recorded(folder) == RMSE  # Known by now, and the same.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"choices": []}, "want choices"),
        ({"measure": {}}, "KeyError"),
        ({"space": "darts"}, "the name of another space"),
        ({"choices": None}, "is damaged"),
    ],
)
def test_damage_is_told_in_a_line(folder, change, words):
    path = folder / "space.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=words) as caught:
        register_recorded(folder)
    assert "\n" not in str(caught.value)


def test_other_choices_of_the_name_are_refused(folder):
    other = Decision("rate", ("0.0", "0.5"), RATE.within, "ValueChoice")
    darts_jax.SPACES["kept"] = module_space("kept", (MIDDLE, other))
    with pytest.raises(InputError, match=r"'rate' of 0\.0, 0\.2, here of 0\.0, 0\.5"):
        register_recorded(folder)
