"""A bucket without a driver is refused in one line, on every verb."""

import sys
from pathlib import Path

import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.errors import InputError
from darts_jax.files import open_place, write_atomically
from darts_jax.training.directory import RunDirectory

BUCKET = "gs://bucket/run"
REFUSED = r"^gs://bucket/run needs a driver that is not installed"
VERBS = (
    ["search", "--run", BUCKET],
    ["search", "--run=a", "--from", BUCKET],
    ["run", "--run", BUCKET],
    ["retrain", "--run", BUCKET],
    ["evaluate", "--run", BUCKET],
    ["population", "--grid=seed=0,1", "--run", BUCKET],
    ["front", "--targets=1", "--run", BUCKET],
    ["baseline", "--by=random", "--on=table", "--run", BUCKET],
    ["baseline", "--by=random", "--on=paths", "--run=a", "--supernet", BUCKET],
    ["select", BUCKET, "--rule=argmax"],
    ["select", "a", "--rule=argmax", "--out", BUCKET],
    ["diagnose", BUCKET],
    ["score", BUCKET],
    ["export", BUCKET, "--out=a"],
    ["export", "a", "--out", BUCKET],
    ["report", "a", BUCKET],
    ["report", "a", "--out", BUCKET],
    ["reproduce", "list", "--runs", BUCKET],
    ["reproduce", "list", "--results", BUCKET],
    ["ledger", "--out", BUCKET],
    ["convert", "nasbench201", BUCKET],
    ["cost", BUCKET],
    ["cost", "DARTS_V2", "--table", BUCKET],
    ["draw", "DARTS_V2", "--out", BUCKET],
    ["settings", "--config", BUCKET],
    ["search", "--run=a", "--config.data.directory=" + BUCKET],
    ["search", "--run=a", "--config.data.name=folder:" + BUCKET],
    ["search", "--run=a", f"--config.data.name=stream:folder:{BUCKET}@32"],
    ["search", "--run=a", "--config.compilation_cache=" + BUCKET],
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes Google's driver away, where it is installed."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)


def test_every_verb_refuses_a_bucket(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("darts_jax.engine.compilation.cache_folder", lambda: None)
    for verb in VERBS:
        assert main(verb) == 2, verb
        line = capsys.readouterr().err
        assert line.startswith(f"darts-jax: {BUCKET} needs a driver"), verb
        assert line.count("\n") == 1
        assert "pip install 'darts-jax[gcs]'" in line
    assert not list(tmp_path.iterdir())


def test_python_refuses_a_bucket_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = darts_jax.default_config()
    calls = (
        lambda: darts_jax.search(config, BUCKET),
        lambda: darts_jax.load_run(BUCKET),
        lambda: darts_jax.compare([BUCKET]),
        lambda: darts_jax.ablate(config, {}, run=BUCKET, seeds=[0]),
        lambda: darts_jax.load_dataset("npz:" + BUCKET),
        lambda: use_compilation_cache(BUCKET),
    )
    monkeypatch.setattr("darts_jax.engine.compilation.cache_folder", lambda: None)
    for call in calls:
        with pytest.raises(InputError, match=REFUSED):
            call()
    # A path has lost one of the slashes.
    for call in (open_place, RunDirectory, lambda path: write_atomically(path, b"")):
        with pytest.raises(InputError, match=REFUSED):
            call(Path(BUCKET))
    with pytest.raises(InputError, match="no storage is known by nowhere://"):
        open_place("nowhere://bucket/run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("runs/a", "runs/a"),
        ("C:/runs", "C:/runs"),
        ("a:b/c", "a:b/c"),
        ("file:///runs/a%20b", "/runs/a b"),
        ("file://localhost/runs", "/runs"),
        (Path("file:///runs"), "/runs"),
    ],
)
def test_local_places(place: str | Path, path: str) -> None:
    assert open_place(place) == Path(path)
    assert RunDirectory(Path(place)).path.name == Path(path).name
