"""Image files sorted into one folder for each class."""

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.stream import StreamedDataset, from_sources
from darts_jax.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp")

# A file's place below the data set's folder, and its label. A million of them must fit
# in memory, where a `Path` each would take the most.
Labelled = tuple[str, int]


def load_folder(path: Path) -> Dataset:
    """A data set from ``path/train/CLASS/*.png`` and ``path/test/CLASS/*.png``.

    Without these two, ``path/CLASS/*.png`` is split: the files of each class are
    ordered by the SHA-256 of ``CLASS/FILE`` and every fifth is a test image. Training
    images of all classes stand in the order of that hash, so that any first part of
    them is a fair sample. Images are gray if all files are, otherwise RGB.

    Raises:
      InputError: folders are missing, classes differ, or an image cannot be read or
        has another size than the first.
    """
    class_names, train, test = _list(path)
    images = _read_all([path / file for file, _ in train + test])
    return from_arrays(
        images[: len(train)],
        np.array([label for _, label in train]),
        images[len(train) :],
        np.array([label for _, label in test]),
        name=path.resolve().name,
        class_names=class_names,
    )


def stream_folder(path: Path, image_shape: tuple[int, int, int]) -> StreamedDataset:
    """The same images in the same order, each read when it is needed.

    Args:
      image_shape: height, width and channels that every image is brought to.

    Raises:
      InputError: folders are missing, or classes differ.
    """
    class_names, train, test = _list(path)
    return from_sources(
        _Files.of(path, train),
        _Files.of(path, test),
        name=path.resolve().name,
        class_names=class_names,
        image_shape=image_shape,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Files:
    """Files by number, for a stream."""

    path: Path
    files: list[str]
    labels: np.ndarray

    @classmethod
    def of(cls, path: Path, labelled: Sequence[Labelled]) -> "_Files":
        labels = np.array([label for _, label in labelled], np.int32)
        return cls(path, [file for file, _ in labelled], labels)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Path, int]:
        return self.path / self.files[index], int(self.labels[index])


def _list(path: Path) -> tuple[list[str], list[Labelled], list[Labelled]]:
    if not path.is_dir():
        raise InputError(f"folder:{path} is no directory; wanted one folder per class")
    halves = [half for half in ("train", "test") if (path / half).is_dir()]
    if len(halves) == 1:
        raise InputError(
            f"folder:{path} has {halves[0]}/ only; wanted train/ and test/"
        )
    if halves:
        class_names = _class_names(path / "train")
        _check_classes(path, class_names)
        train = _files(path, "train/", class_names)
        test = _files(path, "test/", class_names)
    else:
        class_names = _class_names(path)
        train, test = _split(_files(path, "", class_names))
    if not train or not test:
        raise InputError(
            f"folder:{path} holds {len(train)} train and {len(test)} test images; "
            f"both are needed (files that end in {', '.join(SUFFIXES)})"
        )
    return class_names, train, test


def _class_names(path: Path) -> list[str]:
    names = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if not names:
        raise InputError(f"{path} has no sub-folders; wanted one for each class")
    return names


def _check_classes(path: Path, class_names: Sequence[str]) -> None:
    odd = set(_class_names(path / "test")) - set(class_names)
    if odd:
        raise InputError(
            f"folder:{path} has test/{min(odd)}/ and no train/{min(odd)}/; "
            "both must have the same classes"
        )


def _files(path: Path, half: str, class_names: Sequence[str]) -> list[Labelled]:
    found = [
        (f"{half}{name}/{file.name}", label)
        for label, name in enumerate(class_names)
        for file in (path / half / name).glob("*")
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    return sorted(found, key=_hash)


def _hash(item: Labelled) -> bytes:
    class_and_file = "/".join(item[0].split("/")[-2:])
    return hashlib.sha256(class_and_file.encode()).digest()


def _split(files: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    by_class = sorted(files, key=lambda item: item[1])  # stable: by hash within
    chosen = set(by_class[::5])
    return (
        [item for item in files if item not in chosen],
        [item for item in files if item in chosen],
    )


def _read_all(files: Sequence[Path]) -> np.ndarray:
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_read, files))
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise InputError(
                f"{file} is {image.shape[:2]} (height, width), must be "
                f"{images[0].shape[:2]} like {files[0]}"
            )
    channels = 1 if all(image.ndim == 2 for image in images) else 3
    stacked = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for row, image in zip(stacked, images, strict=True):
        row[:] = image if image.ndim == 3 else image[..., None]
    return stacked


def _read(file: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(
                    f"{file} has mode {image.mode}, must have 8 bits a channel"
                )
            return np.asarray(image if image.mode == "L" else image.convert("RGB"))
    except OSError as error:
        raise InputError(f"cannot read the image {file}: {error}") from None
