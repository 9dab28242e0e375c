"""Files of arrays: NumPy's always, PyTorch's where it is installed."""

import argparse
import sys

import numpy as np
import pytest

from darts_jax.errors import InputError
from darts_jax.interop import read_arrays, write_arrays

ARRAYS = {
    "stem.0.weight": np.arange(12, dtype=np.float32).reshape(2, 3, 1, 2) / 7,
    "cells.0.edges.1<-0.3.op.1.weight": np.float32([np.pi, -0.0]),
}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_an_archive_there_and_back_of_the_same_bytes(tmp_path):
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    write_arrays(first, ARRAYS)
    write_arrays(str(second), read_arrays(str(first)))
    assert first.read_bytes() == second.read_bytes()
    assert_same(read_arrays(second), ARRAYS)
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz"}


def test_a_state_dict_there_and_back(tmp_path):
    torch = pytest.importorskip(
        "torch", reason="PyTorch, which is compared with, is not installed"
    )
    path = tmp_path / "weights.pt"
    write_arrays(path, ARRAYS)
    assert_same(read_arrays(path), ARRAYS)
    loaded = torch.load(path, weights_only=True)
    np.testing.assert_array_equal(loaded["stem.0.weight"], ARRAYS["stem.0.weight"])


def test_checkpoints_that_wrap_a_state_dict(tmp_path):
    torch = pytest.importorskip(
        "torch", reason="PyTorch, which is compared with, is not installed"
    )
    state = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    for wrapper in ("state_dict", "model"):
        path = tmp_path / f"{wrapper}.pth.tar"
        torch.save({"epoch": 3, wrapper: state}, path)
        assert_same(read_arrays(path), ARRAYS)
    path = tmp_path / "half.pt"
    half = torch.tensor([1.5, -2.25], dtype=torch.bfloat16)
    torch.save({"x": half}, path, _use_new_zipfile_serialization=False)
    assert_same(read_arrays(path), {"x": np.float32([1.5, -2.25])})


def told(path):
    with pytest.raises(InputError) as error:
        read_arrays(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_archives_that_cannot_be_read_are_told_in_one_line(tmp_path):
    assert told(tmp_path / "none.npz") == f"no file of arrays at {tmp_path}/none.npz"
    assert ".npz, .pt, .pth, .tar" in told(tmp_path / "weights.h5")
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"PK\x03\x04 and nothing more")
    assert "cannot read arrays from" in told(damaged)
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, x=np.array([{}], dtype=object))
    assert "allow_pickle=False" in told(pickled)


def test_state_dicts_that_cannot_be_read_are_told_in_one_line(tmp_path):
    torch = pytest.importorskip(
        "torch", reason="PyTorch, which is compared with, is not installed"
    )
    path = tmp_path / "checkpoint.pt"
    torch.save({"args": argparse.Namespace(seed=1)}, path)
    assert "cannot read arrays from" in told(path)  # nothing of it was unpickled
    torch.save({"epoch": 3, "weights": torch.zeros(2)}, path)
    assert "holds no state dict: epoch is no array" in told(path)
    torch.save([torch.zeros(2)], path)
    assert "holds a list, not a state dict" in told(path)


def test_a_state_dict_without_pytorch_is_told(tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "needs PyTorch, which is not installed; .npz" in told(path)
    with pytest.raises(InputError, match="needs PyTorch"):
        write_arrays(path, ARRAYS)
    assert path.read_bytes() == b""


def test_what_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*No such file or directory"):
        write_arrays(tmp_path / "none" / "a.npz", ARRAYS)
