"""CIFAR-10 from an archive of JPEG files, decoded once for each user."""

import contextlib
import hashlib
import io
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.licences import LICENCES
from darts_jax.errors import InputError, first_line
from darts_jax.files import seekable, user_cache_directory

ARCHIVE = "cifar10_jpeg_q75.npz"
NOTE = (
    "CIFAR-10 (JPEG q75 copy): lossy (RMSE about 8 of 255), "
    "so error rates are not comparable with published ones"
)


def load_archive(path: Path) -> Dataset:
    """Loads CIFAR-10 from ``cifar10_jpeg_q75.npz``, in its official order.

    The archive holds ``{train,test}_jpeg`` (uint8: the files back to back),
    ``{train,test}_length`` (of each file), ``{train,test}_label`` and
    ``class_names``. Decoded images are kept under ``$XDG_CACHE_HOME/darts_jax``.

    Args:
      path: of the archive.

    Returns:
      The data set, whose note says that its images are lossy.

    Raises:
      InputError: the archive lacks an array or holds what is no JPEG image.
    """
    try:
        stem = f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        with np.load(seekable(path), allow_pickle=False) as archive:
            images = {
                split: _cached_images(archive, split, f"{stem}-{split}.npy")
                for split in ("train", "test")
            }
            return from_arrays(
                images["train"],
                archive["train_label"],
                images["test"],
                archive["test_label"],
                name="cifar10",
                class_names=archive["class_names"].tolist(),
                note=NOTE,
                licence=LICENCES["cifar10"],
            )
    except InputError:
        raise
    except Exception as error:  # a damaged zip raises half a dozen types
        raise InputError(f"cannot read {path}: {first_line(error)}") from error


def decode_jpegs(files: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Decodes JPEG images of one size.

    Args:
      files: uint8, the files back to back.
      lengths: integers [n], the bytes of each.

    Returns:
      uint8 [n, height, width, 3].

    Raises:
      InputError: the lengths do not add up, or a file is no image of that size.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    if not len(ends) or ends[-1] != len(files):
        raise InputError(
            f"JPEG lengths add up to {int(ends[-1]) if len(ends) else 0}, "
            f"must be {len(files)}"
        )
    first = _decode(files[: ends[0]], 0)
    images = np.empty((len(ends), *first.shape), np.uint8)

    def decode(index: int) -> None:
        start = ends[index] - lengths[index]
        image = _decode(files[start : ends[index]], index)
        if image.shape != first.shape:
            raise InputError(
                f"JPEG {index} is {image.shape}, must be {first.shape} as the first"
            )
        images[index] = image

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(decode, range(len(ends))):
            pass
    return images


def _decode(file: np.ndarray, index: int) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file.tobytes()), formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # damaged files raise half a dozen types
        raise InputError(
            f"JPEG {index} cannot be decoded: {first_line(error)}"
        ) from None


def _cached_images(
    archive: "np.lib.npyio.NpzFile", split: str, name: str
) -> np.ndarray:
    cached = user_cache_directory(name)
    if cached.is_file():
        return np.load(cached, allow_pickle=False)
    images = decode_jpegs(archive[f"{split}_jpeg"], archive[f"{split}_length"])
    # In a read-only home every start decodes anew, which takes a minute.
    with contextlib.suppress(OSError):
        _save_atomically(cached, images)
    return images


def _save_atomically(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, array)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
