"""A run directory is opened by its own settings alone, and else left untouched."""

import json
import os
from pathlib import Path

import jax
import pytest

from darts_jax.errors import InputError
from darts_jax.settings.config_files import load_config
from darts_jax.training.opening import open_run
from tests.support.files import contents


def test_run_is_created_and_reopened(tmp_path: Path) -> None:
    config = load_config(None, ["search.epochs=3"])
    run = open_run(tmp_path / "deep" / "run", config, "search")
    assert load_config(run.config) == config
    facts = json.loads(run.versions.read_text())["search"]
    assert facts["jax"] == jax.__version__
    assert {"python", "platform", "flax", "optax", "device", "seed"} <= facts.keys()
    before = contents(run.path)
    assert open_run(run.path, config, "search") == run
    assert contents(run.path) == before
    open_run(run.path, config, "retrain")
    assert set(json.loads(run.versions.read_text())) == {"search", "retrain"}


def test_the_precision_is_recorded_and_refused_where_there_is_none(
    tmp_path: Path,
) -> None:
    run = open_run(tmp_path / "run", load_config(), "search")
    facts = json.loads(run.versions.read_text())["search"]
    assert facts["precision"] == "float32"  # a CPU's
    with pytest.raises(InputError, match="want default, highest on cpu"):
        open_run(tmp_path / "other", load_config(None, ["precision=pytorch"]), "search")
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match="precision: default -> highest"):
        open_run(run.path, load_config(None, ["precision=highest"]), "retrain")


@pytest.mark.parametrize("verb", ["search", "retrain", "other"])
def test_other_settings_are_refused_untouched(tmp_path: Path, verb: str) -> None:
    run = open_run(tmp_path / "run", load_config(), "search")
    before = contents(run.path)
    with pytest.raises(InputError) as caught:
        open_run(run.path, load_config(None, ["search.epochs=3"]), verb)
    assert str(caught.value) == (
        f"run directory {run.path} holds another config (search.epochs: 50 -> 3); "
        "choose another --run, or the old settings"
    )
    assert contents(run.path) == before


def test_settings_bind_once_a_verb_has_used_them(tmp_path: Path) -> None:
    path = tmp_path / "run"
    open_run(path, load_config(), "search")
    short = load_config(None, ["retrain.epochs=3", "checkpoint.keep=1"])
    run = open_run(path, short, "retrain")
    assert load_config(run.config) == short
    with pytest.raises(InputError, match=r"retrain.epochs: 3 -> 600"):
        open_run(path, load_config(), "search")


def test_foreign_directories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        open_run(tmp_path, load_config(), "search")
    assert contents(tmp_path) == {"thesis.tex": b"precious"}
    with pytest.raises(InputError, match=r"cannot write .*: Not a directory"):
        open_run(tmp_path / "thesis.tex", load_config(), "search")


def test_unwritable_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(tmp_path / "run", load_config(), "search")
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root
    with pytest.raises(InputError, match=r"cannot write .*: Permission denied"):
        open_run(run.path, load_config(), "search")
