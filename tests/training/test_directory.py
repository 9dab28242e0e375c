"""Files of a run are whole or absent, and damage is noticed."""

import os
from pathlib import Path

import numpy as np
import pytest

from darts_jax.errors import InputError
from darts_jax.training.directory import (
    RunDirectory,
    atomic_write,
    load_architecture,
    save_architecture,
)
from tests.support.files import contents, flipped, full_disk


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
