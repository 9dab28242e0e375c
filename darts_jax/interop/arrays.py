"""Files of named arrays: NumPy's, and PyTorch's where that is installed."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.errors import InputError
from darts_jax.files import open_place, seekable, write_atomically

# Under these names checkpoints keep the state dict beside other things.
_WRAPPERS = ("state_dict", "model")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file.

    Args:
      path: of an ``.npz``, or of a state dict that PyTorch saved (``.pt``, ``.pth``,
        ``.tar``), alone or as the entry ``state_dict`` or ``model`` of a checkpoint.
        Nothing but plain arrays is unpickled.

    Returns:
      Name -> array.

    Raises:
      InputError: no such file, another kind of file, a damaged one, one that holds
        more than arrays, or PyTorch is needed and not installed.
    """
    path = open_place(path)
    read, _ = _format(path)
    if not path.is_file():
        raise InputError(f"no file of arrays at {path}")
    try:
        return read(path)
    except InputError:
        raise
    # zipfile, numpy and torch answer flipped bits with a dozen kinds of exception.
    except Exception as error:
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"cannot read arrays from {path}: {told}") from None


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an ``.npz``, or a state dict as PyTorch saves it (``.pt``, ``.pth``).

    A reader sees the old file or the new one.

    Args:
      path: its suffix says which of them.
      arrays: name -> array.

    Raises:
      InputError: another suffix, no PyTorch, no room or no right to write.
    """
    path = open_place(path)
    _, encode = _format(path)
    write_atomically(path, encode(arrays))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(seekable(path), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(buffer, **named)
    return buffer.getvalue()


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    torch = _torch(path)
    tree = torch.load(path, map_location="cpu", weights_only=True)
    for name in _WRAPPERS:
        if isinstance(tree, Mapping) and isinstance(tree.get(name), Mapping):
            tree = tree[name]
    if not isinstance(tree, Mapping):
        raise InputError(f"{path} holds a {type(tree).__name__}, not a state dict")
    other = [str(k) for k, v in tree.items() if not isinstance(v, torch.Tensor)]
    if other:
        raise InputError(f"{path} holds no state dict: {other[0]} is no array")
    return {str(name): _to_numpy(torch, tensor) for name, tensor in tree.items()}


def _to_numpy(torch: Any, tensor: Any) -> np.ndarray:
    # NumPy has no bfloat16; its numbers are float32's.
    exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.asarray(exact.detach().numpy())


def _state_dict(arrays: Mapping[str, np.ndarray]) -> bytes:
    torch = _torch(None)
    buffer = io.BytesIO()
    # PyTorch warns of arrays that may not be written to, as JAX's are.
    tensors = {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _torch(path: Path | None) -> Any:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path or 'a state dict'} needs PyTorch, which is not installed; .npz "
            "does without: numpy.savez(path, **{k: v.numpy() for k, v in dict.items()})"
        ) from None
    return torch


_Read = Callable[[Path], dict[str, np.ndarray]]
_Encode = Callable[[Mapping[str, np.ndarray]], bytes]
_FORMATS: dict[str, tuple[_Read, _Encode]] = {
    ".npz": (_read_npz, _npz),
    **dict.fromkeys((".pt", ".pth", ".tar"), (_read_torch, _state_dict)),
}


def _format(path: Path) -> tuple[_Read, _Encode]:
    if path.suffix not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise InputError(f"{path} is no file of arrays that is known: {known}")
    return _FORMATS[path.suffix]
