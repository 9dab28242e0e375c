"""Fashion-MNIST, and the IDX format in which it is published."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.licences import LICENCES
from darts_jax.errors import InputError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist(directory: Path | None) -> Dataset:
    """Loads 60,000 + 10,000 gray images of 28x28 in 10 classes (Xiao et al., 2017).

    Args:
      directory: holds the four ``.gz`` files, itself or in its ``fashion-mnist/``;
        after it, Debian's package ``dataset-fashion-mnist`` is tried.

    Returns:
      The data set, with its official test images.

    Raises:
      InputError: the files are not found, or not what they should be.
    """
    given = [] if directory is None else [directory, directory / "fashion-mnist"]
    places = [*given, DEBIAN]
    marker = "train-images-idx3-ubyte.gz"
    place = next((p for p in places if (p / marker).is_file()), None)
    if place is None:
        raise InputError(
            f"fashion_mnist: no {marker} in {', '.join(map(str, places))}; "
            "apt-get install dataset-fashion-mnist, or name the directory that has it"
        )
    return from_arrays(
        read_idx(place / marker, rank=3),
        read_idx(place / "train-labels-idx1-ubyte.gz", rank=1),
        read_idx(place / "t10k-images-idx3-ubyte.gz", rank=3),
        read_idx(place / "t10k-labels-idx1-ubyte.gz", rank=1),
        name="fashion_mnist",
        class_names=CLASS_NAMES,
        licence=LICENCES["fashion_mnist"],
    )


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Reads a gzipped IDX file of unsigned bytes.

    Args:
      path: of the file.
      rank: number of axes that the file must have.

    Returns:
      uint8 [...].

    Raises:
      InputError: the file is missing, damaged or holds something else.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    magic = bytes([0, 0, 8, rank])  # 8: unsigned bytes
    if content[:4] != magic:
        raise InputError(
            f"{path} is no IDX file of bytes with {rank} axes: it starts with "
            f"{content[:4].hex() or 'nothing'}, not {magic.hex()}"
        )
    header = 4 * (1 + rank)
    shape = tuple(
        int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)
    )
    if len(content) != header + math.prod(shape):
        raise InputError(
            f"{path} holds {len(content)} bytes, must be {header + math.prod(shape)} "
            f"for the shape {shape}: truncated or damaged"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
