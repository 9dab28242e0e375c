"""Image files sorted into one folder for each class."""

import collections
import dataclasses
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from darts_jax.buckets import BucketEntry, is_in_bucket, list_bucket
from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.reading import (
    PLAIN,
    Reading,
    format_size,
    read_picture,
    scale_picture,
)
from darts_jax.data.stream import StreamedDataset, from_sources, imagenet_statistics
from darts_jax.errors import DataWarning, InputError

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".gif", ".webp"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".tif", ".tiff"),
)
TRAIN = ("train", "training")
TEST = ("test", "testing")
VALIDATION = ("val", "valid", "validation")
"""Names of the folders of a set that is split, in lower or upper case."""

# Put beside people's files by systems, as is all that begins with a dot.
_JUNK = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")
_NAMED = 5  # classes and endings that a message names

# Path of a file below the data set's folder, and its label. A million of them must fit
# in memory, of which a `Path` each would take most.
Labelled = tuple[str, int]

_Entry = os.DirEntry[str] | BucketEntry


def load_folder(path: Path, reading: Reading = PLAIN) -> Dataset:
    """Loads ``path/train/CLASS/*.png`` and ``path/test/CLASS/*.png``.

    Files may lie in sub-folders of a class. Without ``test``, ``path/val`` is tested
    on. Without any of them, ``path/CLASS/*.png`` is split: the files of each class are
    ordered by the SHA-256 of ``CLASS/FILE`` and every fifth is a test image. Training
    images of all classes stand in the order of that hash, so that any first part of
    them is a fair sample. Images are gray if all files are, otherwise RGB. A
    `DataWarning` and the data set's ``note`` name the files that are left out.

    Args:
      path: the folder.
      reading: how images are read.

    Returns:
      The data set, under the folder's name.

    Raises:
      InputError: folders are missing, classes differ or have no training images, or an
        image cannot be read or has another size than the first.
    """
    found = _find(path, reading)
    files = [path / file for file, _ in (*found.train, *found.test)]
    images = _read_all(files, reading)
    return from_arrays(
        images[: len(found.train)],
        np.array([label for _, label in found.train]),
        images[len(found.train) :],
        np.array([label for _, label in found.test]),
        name=path.resolve().name,
        class_names=found.class_names,
        note=found.note,
    )


def stream_folder(
    path: Path, image_shape: tuple[int, int, int], reading: Reading = PLAIN
) -> StreamedDataset:
    """Opens the images of `load_folder` in the same order, each read when needed.

    If unreadable files are to be left out, every file is read once here.

    Args:
      path: the folder.
      image_shape: height, width and channels that every image is brought to.
      reading: how images are read.

    Returns:
      The stream, with the mean and deviation of ImageNet.

    Raises:
      InputError: as `load_folder`, but for the images themselves.
    """
    found = _find(path, reading)
    mean, std = imagenet_statistics(image_shape[2])
    return from_sources(
        _Files.of_list(path, found.train),
        _Files.of_list(path, found.test),
        name=path.resolve().name,
        class_names=found.class_names,
        image_shape=image_shape,
        mean=mean,
        std=std,
        note=found.note,
        reading=reading,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Files:
    """Files and labels by number, for a stream."""

    path: Path
    files: list[str]
    labels: np.ndarray

    @classmethod
    def of_list(cls, path: Path, labelled: Sequence[Labelled]) -> "_Files":
        labels = np.array([label for _, label in labelled], np.int32)
        return cls(path, [file for file, _ in labelled], labels)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Path, int]:
        return self.path / self.files[index], int(self.labels[index])


@dataclasses.dataclass(frozen=True)
class _Found:
    """Files of a data set, and a note on them for reports."""

    class_names: list[str]
    train: list[Labelled]
    test: list[Labelled]
    note: str


def _find(path: Path, reading: Reading) -> _Found:
    if not _is_folder(path):
        raise InputError(f"folder:{path} is no directory; wanted one folder per class")
    halves, notes = _find_halves(path)
    left_out: collections.Counter[str] = collections.Counter()
    if halves:
        class_names = _class_names(path / halves[0])
        _check_classes(path, halves, class_names)
        train, test = (_files(path, f"{h}/", class_names, left_out) for h in halves)
    else:
        class_names = _class_names(path)
        train, test = _split(_files(path, "", class_names, left_out))
    if reading.skip_unreadable:
        bad = _find_unreadable(path, [file for file, _ in (*train, *test)], reading)
        train, test = (
            [item for item in part if item[0] not in bad] for part in (train, test)
        )
        notes += _describe_unreadable(bad)
    if left_out:
        counts = (f"{count} {what}" for what, count in left_out.most_common())
        notes.append(f"of the files left out {_join_some(counts)}")
    if not train or not test:
        raise InputError(
            f"folder:{path} holds {len(train)} train and {len(test)} test images; "
            f"both are needed (files that end in {', '.join(SUFFIXES)})"
            + "".join(f"; {line}" for line in notes)
        )
    notes += _check_counts(path, class_names, halves, train, test, notes)
    if notes:
        warnings.warn(f"folder:{path}: {'; '.join(notes)}", DataWarning, stacklevel=4)
    return _Found(class_names, train, test, "; ".join(notes))


def _find_halves(path: Path) -> tuple[list[str], list[str]]:
    """Finds the folders to train and to test on, if any, with notes on the others."""
    folders = _folders(path)

    def called(names: Sequence[str]) -> list[str]:
        return [folder for folder in folders if folder.lower() in names]

    trains, tests, validations = map(called, (TRAIN, TEST, VALIDATION))
    if not trains or not (tests or validations):
        lone = [folder for folder in folders if folder in ("train", "test")]
        if not lone:
            return [], []
        hint = f"; folder:{path}/train is split by itself" if "train" in lone else ""
        raise InputError(
            f"folder:{path} has {lone[0]}/ only; wanted train/ and test/ (or val/)"
            f"{hint}"
        )
    halves = [trains[0], (tests or validations)[0]]
    notes = [] if tests else [f"tested on {halves[1]}/, as there is no test/"]
    unused = [folder for folder in folders if folder not in halves]
    if unused:
        notes.append(f"not used: {_join_some(f'{folder}/' for folder in unused)}")
    return halves, notes


def _entries(path: Path) -> list[_Entry]:
    """Lists the entries of a folder by name, without those that systems put there."""
    try:
        if is_in_bucket(path):
            entries: list[_Entry] = list(list_bucket(path))
        else:
            with os.scandir(path) as scanned:
                entries = list(scanned)
        return sorted(
            (e for e in entries if e.name[0] != "." and e.name not in _JUNK),
            key=lambda entry: entry.name,
        )
    except OSError as error:
        raise InputError(f"cannot list {path}: {error.strerror or error}") from None


def _folders(path: Path) -> list[str]:
    return [entry.name for entry in _entries(path) if _is_folder(entry)]


def _class_names(path: Path) -> list[str]:
    names = _folders(path)
    if not names:
        raise InputError(f"{path} has no sub-folders; wanted one for each class")
    return names


def _check_classes(
    path: Path, halves: Sequence[str], class_names: Sequence[str]
) -> None:
    train, test = halves
    odd = set(_class_names(path / test)) - set(class_names)
    if odd:
        raise InputError(
            f"folder:{path} has {test}/{min(odd)}/ and no {train}/{min(odd)}/; "
            "both must have the same classes"
        )


def _check_counts(
    path: Path,
    class_names: Sequence[str],
    halves: Sequence[str],
    train: Sequence[Labelled],
    test: Sequence[Labelled],
    notes: Sequence[str],
) -> list[str]:
    """Refuses classes without training images; names those without test images.

    Args:
      notes: notes on the set, for the message of a refusal.
    """
    counts, tests = (
        np.bincount([label for _, label in part], minlength=len(class_names))
        for part in (train, test)
    )
    place = path / halves[0] if halves else path
    if len(class_names) == 1:
        inner = _folders(place / class_names[0])
        hint = f"; did you mean folder:{place / class_names[0]}?" if inner else ""
        raise InputError(
            f"folder:{path} has one class, {class_names[0]!r} with {counts[0]} "
            f"training images; wanted two at least{hint}"
        )
    empty = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if empty:
        few = len(class_names) - len(empty)
        raise InputError(
            f"folder:{path} has no training images of {len(empty)} of its classes: "
            f"{_join_some(empty)} ({few} others have {counts.sum()}); add files that "
            f"end in {', '.join(SUFFIXES)}, or move these folders away"
            + "".join(f"; {line}" for line in notes)
        )
    untested = [n for n, count in zip(class_names, tests, strict=True) if not count]
    return [f"no test images of the classes {_join_some(untested)}"] if untested else []


def _files(
    path: Path,
    half: str,
    class_names: Sequence[str],
    left_out: collections.Counter[str],
) -> list[Labelled]:
    """Finds the images of a half in the order of their hashes.

    Args:
      half: the half's folder with a slash, or nothing.
      left_out: counts of other files by kind; updated.
    """
    found = []
    for label, name in enumerate(class_names):
        folder = path / half / name
        # A class may have images in one half alone; `_check_counts` names these.
        for file in _walk(folder) if folder.is_dir() else ():
            if Path(file).suffix.lower() in SUFFIXES:
                found.append((f"{half}{name}/{file}", label))
            else:
                ending = Path(file).suffix.lower()
                left_out[f"end in {ending}" if ending else "have no ending"] += 1
    for entry in _entries(path / half):
        if not _is_folder(entry):
            left_out["lie outside of the folders of classes"] += 1
    return sorted(found, key=lambda item: _hash_place(item[0].removeprefix(half)))


def _walk(path: Path) -> Iterator[str]:
    """Yields the paths of the files below a folder, relative to it."""
    pending = [""]
    seen = set()
    while pending:
        inner = pending.pop()
        here = inner if is_in_bucket(path) else os.path.realpath(path / inner)
        if here in seen:  # a link to a folder that it lies in
            continue
        seen.add(here)
        for entry in _entries(path / inner):
            if _is_folder(entry):
                pending.append(f"{inner}{entry.name}/")
            elif _is_file_or_broken(entry):
                yield f"{inner}{entry.name}"


def _is_folder(path: Path | _Entry) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to itself, or a name that is too long
        return False


def _is_file_or_broken(entry: _Entry) -> bool:
    """Returns whether an entry is a file or a broken link; pipes never end."""
    try:
        if entry.is_file() or isinstance(entry, BucketEntry):
            return entry.is_file()
        return entry.is_symlink() and not Path(entry.path).exists()
    except OSError:  # a link to itself
        return True


def _hash_place(class_and_file: str) -> bytes:
    return hashlib.sha256(os.fsencode(class_and_file)).digest()


def _split(files: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Takes every fifth file of a class to test on, from its first, if it has two."""
    of_class: dict[int, list[Labelled]] = {}
    for item in files:
        of_class.setdefault(item[1], []).append(item)
    chosen = {item for own in of_class.values() if len(own) > 1 for item in own[::5]}
    return (
        [item for item in files if item not in chosen],
        [item for item in files if item in chosen],
    )


def _find_unreadable(
    path: Path, files: Sequence[str], reading: Reading
) -> dict[str, str]:
    """Returns file -> message of the files that cannot be read."""

    def find_error(file: str) -> str:
        try:
            read_picture(path / file, file, reading)
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        errors = pool.map(find_error, files)
        return {file: line for file, line in zip(files, errors, strict=True) if line}


def _describe_unreadable(bad: dict[str, str]) -> list[str]:
    if not bad:
        return []
    return [f"left out {len(bad)} that cannot be read: {', '.join(sorted(bad))}"]


def _read_all(files: Sequence[Path], reading: Reading) -> np.ndarray:
    def read(file: Path) -> np.ndarray:
        picture = read_picture(file, str(file), reading, near=reading.size)
        if reading.channels:
            picture = picture.convert("L" if reading.channels == 1 else "RGB")
        if reading.size:
            picture = scale_picture(picture, reading.size, reading)
        return np.asarray(picture)

    with ThreadPoolExecutor() as pool:
        images = list(pool.map(read, files))
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            size = format_size(images[0].shape[:2])
            raise InputError(
                f"{file} is {image.shape[:2]} (height, width), must be "
                f"{images[0].shape[:2]} like {files[0]}; data.size={size} brings all "
                "images to one size, as stream:folder:PATH@SIDE does"
            )
    channels = 1 if all(image.ndim == 2 for image in images) else 3
    stacked = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for row, image in zip(stacked, images, strict=True):
        row[:] = image if image.ndim == 3 else image[..., None]
    return stacked


def _join_some(names: Iterable[str]) -> str:
    """Joins the first few of some names, with the number of the others."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
