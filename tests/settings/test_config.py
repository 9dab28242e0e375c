"""Settings: what is accepted, what is refused, and what the refusal says."""

import json
from pathlib import Path

import pytest

from darts_jax.errors import InputError
from darts_jax.settings.config import (
    config_difference,
    config_to_json,
    default_config,
    get_setting,
    validate_config,
)
from darts_jax.settings.config_files import find_config, load_config, shipped_configs
from darts_jax.settings.methods import METHODS, published_config


def test_defaults_are_valid_and_locked() -> None:
    config = default_config()
    validate_config(config)
    with pytest.raises(AttributeError):
        config.search.epoch = 3


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("search.epochs=3", 3),
        ("data.name=cifar10", "cifar10"),
        ("data.directory=/a=b", "/a=b"),
        ("data.flip=True", True),
        ("retrain.flip=false", False),
        ("search.weights.clip=1", 1.0),
        ("search.weights.decay=1e-4", 1e-4),
    ],
)
def test_override_takes_the_type_of_the_default(override: str, value: object) -> None:
    key = override.partition("=")[0]
    node = load_config(None, [override])
    for name in key.split("."):
        node = node[name]
    assert node == value
    assert type(node) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "search.epoch=3",
            "unknown setting 'search.epoch'; did you mean 'search.epochs'?",
        ),
        ("search=3", "unknown setting 'search'"),
        ("search.epochs", "setting 'search.epochs' has no value"),
        ("search.epochs=many", "setting search.epochs is 'many'; want an integer"),
        ("search.epochs=2.5", "setting search.epochs is '2.5'; want an integer"),
        ("search.weights.clip=x", "setting search.weights.clip is 'x'; want a number"),
        ("data.flip=1", "setting data.flip is '1'; want true or false"),
        ("search.epochs=0", "setting search.epochs is 0; want at least 1"),
        ("search.batch_size=0", "search.batch_size is 0; want at least 1"),
        ("search.train_fraction=1", "train_fraction is 1.0; want between 0 and 1"),
        ("search.weights.learning_rate=-1", "learning_rate is -1.0; want 0 or more"),
        ("search.weights.learning_rate=nan", "is nan; want a finite number"),
        ("retrain.weights.learning_rate=inf", "is inf; want a finite number"),
        ("retrain.drop_path=1", "retrain.drop_path is 1.0; want in [0, 1)"),
        ("retrain.schedule=step", "want one of linear, cosine, exponential"),
        ("retrain.network=resnet", "want one of cifar, imagenet"),
        ("supernet.cells=0", "supernet.cells is 0; want at least 1"),
        ("supernet.partial_channels=3", "want a divisor of supernet.channels, 16"),
    ],
)
def test_refusals_say_what_would_be_right(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_round_trip(tmp_path: Path) -> None:
    config = load_config(None, ["search.epochs=3", "space=nasbench201"])
    path = tmp_path / "config.json"
    path.write_text(config_to_json(config))
    assert load_config(path) == config
    assert load_config(path, ["seed=1"]).seed == 1
    assert list(json.loads(path.read_text())) == sorted(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not readable JSON"),
        ("[]", "is not a JSON object"),
        ('{"search": {"epoch": 3}}', "did you mean 'search.epochs'?"),
        ('{"search": {"epochs": "3"}}', "search.epochs is '3'; want an integer"),
        ('{"search": {"epochs": true}}', "search.epochs is True; want an integer"),
        ('{"search": {"epochs": -3}}', "search.epochs is -3; want at least 1"),
    ],
)
def test_json_is_checked(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in str(caught.value)


_FILE = """
from darts_jax.settings.config import default_config

def get_config():
    config = default_config()
    {}
    return config
"""


def _write(path: Path, line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_FILE.format(line))
    return path


def test_python_file_by_path_and_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _write(tmp_path / "configs" / "small.py", "config.search.epochs = 3")
    (tmp_path / "small").mkdir()  # a directory of that name is no config
    assert load_config(path).search.epochs == 3
    assert load_config("small") == load_config(path)
    with pytest.raises(InputError, match="unknown config 'smal'; did you mean 'small'"):
        load_config("smal")
    with pytest.raises(InputError, match=r"no config file none.json$"):
        load_config("none.json")


def test_shipped_configs_are_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = shipped_configs()
    for path in shipped.glob("*.py"):
        assert path.stem not in METHODS  # so no two have one name
        assert find_config(path.stem) == path
    assert load_config("digits") == load_config(shipped / "digits.py")


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_found_by_name_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(method)
    assert config == load_config(f"methods/{method}") == published_config(method)
    assert config.data.name == "cifar10"
    settings = {**METHODS[method].choices, **METHODS[method].sizes}
    assert all(get_setting(config, key) == value for key, value in settings.items())


def test_own_configs_come_before_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = _write(tmp_path / "configs" / "digits.py", "config.search.epochs = 3")
    mine = _write(tmp_path / "configs" / "methods" / "gdas.py", "config.seed = 9")
    assert load_config("digits") == load_config(own)
    assert load_config("gdas") == load_config("methods/gdas") == load_config(mine)
    assert load_config("pc_darts").supernet.partial_channels == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "unknown config 'digit'; did you mean 'digits'?"),
        ("methods/gdaz", "unknown config 'methods/gdaz'; did you mean 'methods/gdas'?"),
        ("configs/digits", "'configs/digits'; did you mean 'digits'?"),
        ("zzz", "unknown config 'zzz'; known: breast_cancer, "),
        ("", "config . is a folder; want a file in it"),
        ("runs", "config runs is a folder; want a file in it"),
        ("configs/digits.py", "no config file configs/digits.py; did you mean the con"),
        ("x" * 999, "can't be read: File name too long"),
    ],
)
def test_unknown_names_are_told_what_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError) as caught:
        load_config(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no get_config"),
        ("get_config = dict", "defines no get_config"),
        ("def get_config(:", "failed: SyntaxError"),
        (_FILE.format("config.search.epoch = 3"), "failed: AttributeError"),
        (_FILE.format("config.search.epochs = 0"), "want at least 1"),
        (
            "from ml_collections import ConfigDict\n"
            "def get_config(): return ConfigDict({'sed': 3})",
            "unknown setting 'sed'; did you mean 'seed'?",
        ),
    ],
)
def test_python_file_is_checked(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_difference_names_each_setting() -> None:
    changed = load_config(None, ["search.epochs=3", "seed=7"])
    assert config_difference(default_config(), changed) == [
        "search.epochs: 50 -> 3",
        "seed: 0 -> 7",
    ]
    assert config_difference(changed, changed) == []
