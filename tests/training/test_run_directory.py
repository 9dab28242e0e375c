"""The parts of a run that touch the disk or the screen: nothing lost, nothing torn."""

import errno
import io
import json
import multiprocessing
import os
import platform
import shutil
import sys
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.engine import memory
from darts_jax.errors import InputError
from darts_jax.settings.config_files import load_config
from darts_jax.training import checkpoint, console
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.directory import (
    RunDirectory,
    atomic_write,
    load_architecture,
    open_run,
    save_architecture,
)
from darts_jax.training.metrics import MetricsLog, read_metrics
from darts_jax.types import TrainState


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Directories of runs


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


def test_atomic_write_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    atomic_write(path, "old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match=f"no room on disk for {path}"):
        atomic_write(path, b"new")
    assert contents(tmp_path) == {"summary.json": b"old"}


def test_architecture_round_trip_and_damage(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    rng = np.random.default_rng(0)
    alpha = {k: rng.normal(size=(3, 2)).astype("f4") for k in ("normal", "reduce")}
    save_architecture(run, 7, alpha)
    path = tmp_path / "architecture" / "epoch_0007.npz"
    loaded = load_architecture(path)
    assert loaded.keys() == alpha.keys()
    assert all(np.array_equal(loaded[k], alpha[k]) for k in alpha)

    whole = path.read_bytes()
    middle = whole.index(alpha["normal"].tobytes())
    for damaged in (b"", whole[:-30], flipped(whole, middle), b"text"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"epoch_0007.npz are damaged: [^\n]+$"):
            load_architecture(path)
    with pytest.raises(InputError, match="no architecture parameters at"):
        load_architecture(tmp_path / "none.npz")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# Checkpoints


def make_state(seed: int) -> TrainState:
    rng = np.random.default_rng(seed)
    weights = jnp.asarray(rng.normal(size=(9, 70)), jnp.float32)
    return TrainState(
        step=jnp.asarray(seed, jnp.int32),
        key=jax.random.key_data(jax.random.key(seed)),
        params={"cell.0": {"w": weights}, "none": {}},
        stats=[jnp.asarray([jnp.nan, -0.0, 1e-42, jnp.inf]), jnp.ones(2, jnp.bfloat16)],
        optimizer=(jnp.zeros(()), None, rng.normal(size=5)),  # NumPy: float64
    )


def assert_same_bits(tree: Any, other: Any) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        assert isinstance(a, np.ndarray) == isinstance(b, np.ndarray)
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def restored(store: Checkpoints) -> tuple[int, list[str]]:
    """Restores, checks the bits; the step and what was said."""
    said: list[str] = []
    found = store.restore_latest(make_state(0), said.append)
    assert found is not None
    step, state = found
    assert_same_bits(state, make_state(step))
    return step, said


def test_checkpoints_restore_bit_for_bit_and_keep_the_newest(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert store.restore_latest(make_state(0)) is None
    for step in (1, 2, 9, 10):
        store.save(step, make_state(step))
    assert store.steps() == [9, 10]
    assert {p.name for p in store.directory.iterdir()} == {"9", "10"}
    assert restored(store) == (10, [])
    store.save(10, make_state(10))
    assert restored(Checkpoints(store.directory, keep=2)) == (10, [])


def test_restored_state_can_be_donated(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=1)
    store.save(1, {"w": jnp.arange(1000.0)})
    found = store.restore_latest({"w": jnp.zeros(1000)})
    assert found is not None
    double = jax.jit(lambda s: jax.tree.map(lambda x: 2 * x, s), donate_argnums=0)
    np.testing.assert_array_equal(double(found[1])["w"], 2 * np.arange(1000.0))


def largest(folder: Path) -> Path:
    files = (p for p in (folder / "state").rglob("*") if p.is_file())
    return max(files, key=lambda p: p.stat().st_size)


def flip(folder: Path) -> None:
    path = largest(folder)
    path.write_bytes(flipped(path.read_bytes(), path.stat().st_size // 2))


def change_leaves(folder: Path) -> None:
    path = folder / "leaves.json"
    path.write_text(path.read_text().replace("70", "71"))


MANIFEST_BAD = "manifest.json is missing or unreadable"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda folder: os.truncate(largest(folder), 100), "has changed"),
        (flip, "has changed"),
        (lambda folder: largest(folder).unlink(), "is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), MANIFEST_BAD),
        (lambda folder: os.truncate(folder / "manifest.json", 60), MANIFEST_BAD),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "has changed"),
        (lambda folder: shutil.rmtree(folder / "state"), "is missing"),
        (change_leaves, "leaves.json has changed"),
    ],
)
def test_damaged_checkpoint_is_passed_over(
    tmp_path: Path, damage: Callable[[Path], None], what: str
) -> None:
    store = Checkpoints(tmp_path, keep=3)
    for step in (11, 12):
        store.save(step, make_state(step))
    damage(tmp_path / "12")
    step, (said,) = restored(store)
    assert step == 11
    assert said.startswith("checkpoint 12 is damaged (")
    assert said.endswith("; going on from 11")
    assert what in said
    assert "\n" not in said
    store.save(12, make_state(12))
    assert restored(store) == (12, [])


def test_going_back_forgets_what_came_after(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=3)
    for step in (2, 4, 6):
        store.save(step, make_state(step))
    flip(tmp_path / "4")
    flip(tmp_path / "6")
    step, said = restored(store)
    assert step == 2
    assert len(said) == 2
    store.save(3, make_state(3))
    assert store.steps() == [2, 3]


def test_nothing_whole_is_told_and_none(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=3)
    store.save(1, make_state(1))
    largest(tmp_path / "1").unlink()
    with pytest.warns(UserWarning, match=r"1 is damaged .*; no earlier one is whole"):
        assert store.restore_latest(make_state(0)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": jnp.zeros(())}, "step is int32[] there and float32[] here"),
        ({"params": {}}, "params.cell.0.w is float32[9, 70] there and absent here"),
    ],
)
def test_another_state_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    store = Checkpoints(tmp_path, keep=1)
    store.save(1, make_state(1))
    with pytest.raises(InputError) as caught:
        store.restore_latest(make_state(1).replace(**change))
    assert message in str(caught.value)


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=3)
    store.save(1, make_state(1))
    shutil.copytree(tmp_path / "1", tmp_path / ".tmp-2")
    assert store.steps() == [1]
    assert restored(Checkpoints(tmp_path, keep=3)) == (1, [])
    # Who only reads must spare what another process is writing.
    assert {p.name for p in tmp_path.iterdir()} == {"1", ".tmp-2"}
    store.clean()
    assert {p.name for p in tmp_path.iterdir()} == {"1"}


def test_full_disk_leaves_earlier_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Checkpoints(tmp_path, keep=1)
    store.save(1, make_state(1))
    before = contents(tmp_path)

    def full_tensorstore(*_: Any) -> None:
        raise ValueError("RESOURCE_EXHAUSTED: ...\n No space left on device [28]")

    for name, failure in (("sync_to_disk", full_disk), ("_orbax", full_tensorstore)):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, failure)
            with pytest.raises(InputError, match="no room on disk for checkpoint 2 in"):
                store.save(2, make_state(2))
    assert contents(tmp_path) == before


# Metrics


def test_metrics_resume_without_duplicates(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    log = MetricsLog(run, "search")
    for step in (1, 2, 3):
        log.write(step, {"loss": 1 / step, "genotype": "text"})
    log = MetricsLog(run, "retrain")
    log.write(9, {"loss": 0.5})
    log = MetricsLog(run, "search")
    log.truncate_after(1)
    log.write(2, {"loss": 0.25})
    assert read_metrics(run.metrics) == [
        {"verb": "search", "step": 1, "loss": 1.0, "genotype": "text"},
        {"verb": "retrain", "step": 9, "loss": 0.5},
        {"verb": "search", "step": 2, "loss": 0.25},
    ]
    assert len(list((run.events / "search").iterdir())) == 2
    assert len(list((run.events / "retrain").iterdir())) == 1


def test_torn_last_line(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_metrics(run.metrics) == []
    run.metrics.write_bytes(b'{"step": 1}\n{"step": 2, "lo\xc3')
    assert read_metrics(run.metrics) == [{"step": 1}]
    log = MetricsLog(run, "search")
    log.write(2, {"loss": 1.0})
    assert [record["step"] for record in read_metrics(run.metrics)] == [1, 2]
    run.metrics.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"line 2 of .* is not a JSON record"):
        read_metrics(run.metrics)


def test_metrics_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match=f"no room on disk for {run.metrics}"):
        MetricsLog(run, "search").write(1, {"loss": 1.0})


# Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show_progress() -> None:
    with console.show_progress(4, "search") as bar:
        for epoch in (1, 2):
            bar.advance(2, 128, loss=1.5, accuracy=0.25)
            bar.end_epoch(epoch, 2, accuracy=0.5)


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_progress()
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("search 1/2  loss 1.5000  accuracy 0.5000  images/s ")
    assert second.endswith("  0:00:00 left")


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    show_progress()
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("search: 100%")
    assert "loss=1.5000, accuracy=0.5000, images/s=" in last


def test_notebook_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not console.is_in_notebook()
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    module = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)  # type: ignore[arg-type]
    assert console.is_in_notebook()


def test_table_aligns_numbers_right() -> None:
    rows = [{"name": "darts", "acc": 0.97123, "n": 12}, {"name": "random", "n": 7}]
    assert console.format_table(rows, ["name", "acc", "n"]) == (
        "name       acc   n\n"
        "------  ------  --\n"
        "darts   0.9712  12\n"
        "random           7\n"
    )
    assert console.format_table([], ["a"]) == "a\n-\n"


def resident():
    """Kilobytes that this process holds."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only it is asked")
def test_freed_memory_is_given_back():
    chunks = [bytes(1000) for _ in range(200_000)]
    kept, held = chunks[::2000], resident()
    del chunks
    memory.give_back()
    assert resident() < held - 100_000
    assert len(kept) == 100


def given_back():
    """Kilobytes less once 200 MB of blocks are freed, the last one of them held."""
    blocks = [bytearray(b"x") * 2**20 for _ in range(200)]
    last, held = blocks[-1], resident()
    del blocks
    return held - resident(), last


def frugal_and_usual():
    with memory.frugal():
        frugal, _ = given_back()
    usual, _ = given_back()
    return frugal, usual


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only it is asked")
def test_a_frugal_library_keeps_nothing_of_some_size():
    """In a process of its own: what another test has freed would serve the blocks."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        frugal, usual = pool.submit(frugal_and_usual).result()
    assert frugal > 150_000
    assert usual < 50_000
