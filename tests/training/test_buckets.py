"""Run directories, data and results in a bucket of a server of the real protocol."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.files import append_to_file, open_place, read_npz, write_atomically
from darts_jax.training import lock
from darts_jax.training.checkpoint import Checkpoints
from darts_jax.training.checkpoint_store import MANIFEST
from darts_jax.training.lock import run_lock
from darts_jax.training.lock_file import NAME
from tests.support import small_runs
from tests.support.bucket import serve_bucket


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with serve_bucket("places") as place:
        yield place


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()} if place.exists() else set()


def test_files_are_whole_and_appended_to(bucket: str) -> None:
    place = open_place(f"{bucket}/files")
    write_atomically(place / "a.json", b"old")
    write_atomically(place / "a.json", b"new")
    for line in (b"one\n", b"two\n"):
        append_to_file(place / "deep" / "log.jsonl", line)
    assert (place / "a.json").read_text() == "new"
    assert (place / "deep" / "log.jsonl").read_text() == "one\ntwo\n"
    # A path that has lost one of its slashes is that place all the same.
    again = open_place(Path(f"{bucket}/files/a.json"))
    assert again == place / "a.json"
    with pytest.raises(InputError, match="nothing there"):
        read_npz(place / "b.npz", "nothing there", "damaged")
    with pytest.raises(InputError, match="cannot write s3://absent/a"):
        write_atomically(open_place("s3://absent/a"), b"")
    with pytest.raises(InputError, match="names no bucket; want s3://BUCKET/PATH"):
        open_place("s3://")


def test_one_process_writes_in_a_run_directory(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place(f"{bucket}/locked")
    other = dataclasses.asdict(lock.Holder.here()) | {"host": "elsewhere", "pid": 1}
    with run_lock(place):
        with pytest.raises(InputError, match="is being written by process"):
            lock._Lock(place)
        assert names(place) == {NAME}
    assert names(place) == set()
    (place / NAME).write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"process 1 on elsewhere .* last seen"):
        lock._Lock(place)
    monkeypatch.setattr(lock, "SILENCE", -1.0)
    with run_lock(place):
        assert json.loads((place / NAME).read_text())["pid"] != 1
    assert names(place) == set()


def test_of_many_at_once_one_gets_the_lock(bucket: str) -> None:
    place = open_place(f"{bucket}/raced")
    barrier = threading.Barrier(4)

    def take(_: int) -> "lock._Lock | None":
        barrier.wait()
        try:
            return lock._Lock(place)
        except InputError:
            return None

    with ThreadPoolExecutor(4) as pool:
        taken = [held for held in pool.map(take, range(4)) if held]
    assert len(taken) == 1
    taken[0].require()
    taken[0].release()


def test_a_holder_in_a_bucket_gives_signs_of_life(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.05)
    place = open_place(f"{bucket}/beating")
    with run_lock(place):
        before = (place / NAME).stat().st_mtime  # whole seconds
        end = time.monotonic() + 20
        while (place / NAME).stat().st_mtime == before and time.monotonic() < end:
            time.sleep(0.1)
        assert (place / NAME).stat().st_mtime > before


def state(step: int) -> dict[str, Any]:
    return {"weights": jnp.arange(5.0) * step, "step": np.int32(step)}


def test_checkpoints_are_whole_or_absent(bucket: str) -> None:
    place = open_place(f"{bucket}/checkpoints")
    store = Checkpoints(place, keep=2)
    assert store.restore_latest(state(0)) is None
    store.clean()
    for step in (1, 2, 10):
        store.save(step, state(step))
    assert store.steps() == [2, 10]
    assert names(place) == {"2", "10"}
    found = store.restore_latest(state(0))
    assert found is not None
    assert found[0] == 10
    assert (
        np.asarray(found[1]["weights"]).tobytes()
        == np.asarray(state(10)["weights"]).tobytes()
    )
    # Killed while it was written: there is no manifest yet.
    (place / "11" / "state" / "d").write_bytes(b"half")
    assert store.steps() == [2, 10]
    store.clean()
    assert names(place) == {"2", "10"}
    # Damage is noticed, and the one before is taken.
    manifest = place / "10" / MANIFEST
    manifest.write_text(manifest.read_text().replace("a", "b"))
    said: list[str] = []
    again = store.restore_latest(state(0), said.append)
    assert again is not None
    assert again[0] == 2
    assert "checkpoint 10 is damaged" in said[0]


def test_data_in_a_bucket_are_those_on_disk(bucket: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(12) % 2
    for i, image in enumerate(images):
        part = "train" if i < 8 else "test"
        folder = tmp_path / "set" / part / f"class_{labels[i]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    np.savez(
        tmp_path / "set.npz",
        train_images=images[:8],
        train_labels=labels[:8],
        test_images=images[8:],
        test_labels=labels[8:],
    )
    there = open_place(f"{bucket}/data")
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            (there / path.relative_to(tmp_path).as_posix()).write_bytes(
                path.read_bytes()
            )
    for name in ("folder:{}/set", "npz:{}/set.npz"):
        here = darts_jax.load_dataset(name.format(tmp_path))
        remote = darts_jax.load_dataset(name.format(there))
        for field in ("train_images", "train_labels", "test_images", "test_labels"):
            np.testing.assert_array_equal(getattr(here, field), getattr(remote, field))


@pytest.mark.usefixtures("tiny")
def test_the_interface_takes_a_bucket(bucket: str, tmp_path: Path) -> None:
    place = f"{bucket}/runs/a"
    data = small_runs.images()
    found = darts_jax.search(small_runs.config(), place, data)
    on_disk = darts_jax.search(small_runs.config(), tmp_path / "a", data)
    assert found.genotype == on_disk.genotype
    assert darts_jax.load_run(place).genotype == found.genotype
    for name in ("architecture/epoch_0002.npz", "genotype.png", "genotype.svg"):
        there = open_place(f"{place}/{name}").read_bytes()
        assert there == (tmp_path / "a" / name).read_bytes()
    told = main(["draw", place, "--out", f"{bucket}/drawn"])
    assert told == 0
    assert "drawn.svg" in names(open_place(bucket))
