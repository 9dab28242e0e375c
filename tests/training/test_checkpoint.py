"""Checkpoints restore bit for bit; damaged ones are passed over."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from darts_jax.errors import InputError
from darts_jax.training import checkpoint
from darts_jax.training.checkpoint import Checkpoints, read_newest
from darts_jax.types import TrainState
from tests.support.files import contents, flipped, full_disk


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

    for name, failure in (
        ("sync_to_disk", full_disk),
        ("write_arrays", full_tensorstore),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, failure)
            with pytest.raises(InputError, match="no room on disk for checkpoint 2 in"):
                store.save(2, make_state(2))
    assert contents(tmp_path) == before


def hold_back(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Keeps the writing thread from writing until the event is set."""
    go = threading.Event()
    write = checkpoint.write_arrays

    def write_later(*given: Any) -> None:
        assert go.wait(30)
        write(*given)

    monkeypatch.setattr(checkpoint, "write_arrays", write_later)
    return go


def test_a_state_may_be_donated_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = hold_back(monkeypatch)
    store = Checkpoints(tmp_path, keep=1)
    state = {"w": jnp.arange(1000.0), "host": np.arange(3)}
    store.start_saving(1, state)
    double = jax.jit(lambda x: 2 * x, donate_argnums=0)
    for _ in range(3):
        state["w"] = double(state["w"])
    state["host"] *= 2
    assert not any(tmp_path.glob("[0-9]*"))
    threading.Timer(0.2, go.set).start()
    assert store.steps() == [1]  # which waits
    store.finish_saving()
    arrays = read_newest(tmp_path, pytest.fail)
    assert arrays is not None
    np.testing.assert_array_equal(arrays[1]["w"], np.arange(1000.0))
    np.testing.assert_array_equal(arrays[1]["host"], np.arange(3))


def test_another_reader_waits_for_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = hold_back(monkeypatch)
    with Checkpoints(tmp_path) as store:
        store.start_saving(3, make_state(3))
        threading.Timer(0.2, go.set).start()
        assert restored(Checkpoints(tmp_path)) == (3, [])


def test_a_failure_meanwhile_is_told_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, make_state(1))
    before = contents(tmp_path)
    monkeypatch.setattr(checkpoint, "write_arrays", full_disk)
    message = "no room on disk for checkpoint 2 in"
    store.start_saving(2, make_state(2))
    assert store.steps() == [1]
    assert store.has_failed()
    with pytest.raises(InputError, match=message):
        store.start_saving(3, make_state(3))
    assert not store.has_failed()
    with pytest.raises(InputError, match=message), store:
        store.start_saving(2, make_state(2))

    def fail_otherwise() -> None:
        with store:
            store.start_saving(2, make_state(2))
            raise KeyError

    with pytest.raises(KeyError):
        fail_otherwise()
    assert contents(tmp_path) == before


def test_nothing_appears_that_is_not_confirmed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)

    def refuse() -> None:
        raise InputError("taken over")

    store.start_saving(1, make_state(1), refuse)
    with pytest.raises(InputError, match="taken over"):
        store.finish_saving()
    assert contents(tmp_path) == {}


def test_the_layout_on_disk_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """Restores what is written here by hand: arrays, their shapes, all digests."""
    folder = tmp_path / "7"
    arrays = {
        "state.params.cell.w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "totals.count": np.float32(4).reshape(()),
    }
    folder.mkdir()
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", arrays)
    leaves = {"state.params.cell.w": "float32[2, 3]", "totals.count": "float32[]"}
    (folder / "leaves.json").write_text(json.dumps(leaves))
    digests = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }
    manifest = {name: digest.hexdigest() for name, digest in digests.items()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    like = {
        "state": {"params": {"cell": {"w": jnp.zeros((2, 3))}}},
        "totals": {"count": jnp.zeros(())},
    }
    newest = Checkpoints(tmp_path).restore_latest(like, pytest.fail)
    assert newest is not None
    step, tree = newest
    assert step == 7
    np.testing.assert_array_equal(
        tree["state"]["params"]["cell"]["w"], arrays["state.params.cell.w"]
    )
    assert tree["totals"]["count"] == 4
    Checkpoints(tmp_path, keep=2).save(8, tree)
    names = {"state", "leaves.json", "manifest.json"}
    assert {path.name for path in (tmp_path / "8").iterdir()} == names
    assert json.loads((tmp_path / "8" / "leaves.json").read_text()) == leaves
