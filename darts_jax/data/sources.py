"""Data sets by name.

``SOURCES`` maps a name to the function that loads it from a directory; register
your own by ``SOURCES["mine"] = function``. Four prefixes load what has no name of its
own: ``tfds:NAME``, ``folder:PATH``, ``npz:PATH`` and ``csv:PATH``, which is of signals
and tables. The first two can also be streamed, as ``stream:tfds:NAME`` and
``stream:folder:PATH``, with ``@SIDE`` or ``@HEIGHTxWIDTH`` behind for another size of
images than 224x224.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path

from darts_jax.data import jpeg, tfds
from darts_jax.data.csv_files import load_csv
from darts_jax.data.dataset import Dataset
from darts_jax.data.embedded import breast_cancer, chirps, diabetes, digits, wine
from darts_jax.data.folder import load_folder, stream_folder
from darts_jax.data.idx import fashion_mnist
from darts_jax.data.npz import load_npz
from darts_jax.data.places import locate
from darts_jax.data.reading import PLAIN, Reading, fit_arrays, format_size, parse_size
from darts_jax.data.stream import AnyDataset, StreamedDataset
from darts_jax.errors import InputError, unknown_name_error
from darts_jax.files import open_place

PREFIXES = ("tfds:NAME", "folder:PATH", "npz:PATH", "csv:PATH")
STREAMS = ("stream:tfds:NAME", "stream:folder:PATH")
SIDE = 224  # of streamed images, as published for ImageNet


def load_dataset(
    name: str, directory: str | None = None, reading: Reading = PLAIN
) -> AnyDataset:
    """Loads a data set into memory, or opens one that is read while a program runs.

    Args:
      name: a key of ``SOURCES``, ``tfds:NAME``, ``folder:PATH``, ``npz:PATH``,
        ``csv:PATH``, or
        the bare name of a set that TFDS knows or that lies prepared in the directory:
        a `Dataset`. Or ``stream:tfds:NAME`` or ``stream:folder:PATH``: a
        `StreamedDataset` of RGB images of 224x224; ``@SIDE`` behind it, as in
        ``stream:tfds:imagenet2012@160``, makes them SIDExSIDE, ``@HEIGHTxWIDTH``
        something else.
      directory: where the data lie, by default ``$DARTS_JAX_DATA_DIR``.
      reading: the kind of data, and what labels are; the size, the channels and more
        that images are brought to.

    Returns:
      A `Dataset`; a `StreamedDataset` for a name that begins with ``stream:``.

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    place = find_data_directory(directory)
    if reading.short_side and not (reading.size or name.startswith("stream:")):
        raise InputError(
            f"data.short_side is {reading.short_side}, and no data.size says what is "
            "cropped out of it; want both, as data.size=224"
        )
    if name in SOURCES:
        return _fit_dataset(SOURCES[name](place), reading)
    prefix, _, rest = name.partition(":")
    if prefix in ("folder", "stream") and rest and reading.labels == "numbers":
        raise _no_numbers_error(name)
    if prefix == "folder" and rest:
        if reading.kind != "images":
            raise InputError(
                f"folder:{rest} is for images, and the space takes {reading.kind}; "
                f"want csv:{rest}"
            )
        return load_folder(locate(rest, place), reading)
    if prefix == "npz" and rest:
        return load_npz(locate(rest, place), reading)
    if prefix == "csv" and rest:
        return load_csv(locate(rest, place), reading)
    if prefix == "stream":
        return _open_stream(rest, place, reading)
    builder = tfds.find_builder(name.removeprefix("tfds:"), place)
    if builder is None:
        raise _unknown_set_error(name)
    if reading.labels == "numbers":
        raise _no_numbers_error(name)
    return tfds.load_builder(builder, reading)


def find_data_directory(directory: str | None) -> Path | None:
    """Returns the folder of data: as given, or as the environment says.

    Args:
      directory: path; None or empty asks ``$DARTS_JAX_DATA_DIR``.
    """
    given = directory or os.environ.get("DARTS_JAX_DATA_DIR")
    return open_place(given) if given else None


def cifar10(directory: Path | None) -> Dataset:
    """Loads 50,000 + 10,000 RGB images of 32x32 in 10 classes (Krizhevsky, 2009).

    As prepared by TFDS in the directory, else from the JPEG archive there, whose note
    says that it is lossy, else downloaded by TFDS.

    Args:
      directory: where the data lie.

    Returns:
      The data set.

    Raises:
      InputError: the data are nowhere, or damaged.
    """
    archive = None if directory is None else directory / jpeg.ARCHIVE
    if archive and archive.is_file() and not tfds.is_prepared("cifar10", directory):
        return jpeg.load_archive(archive)
    try:
        return tfds.load_builder(tfds.find_builder("cifar10", directory))
    except InputError as error:
        looked = archive or f"{jpeg.ARCHIVE}, as no directory is given"
        raise InputError(f"{error}; nor is there {looked}") from error


def cifar100(directory: Path | None) -> Dataset:
    """Loads 50,000 + 10,000 RGB images of 32x32 in 100 classes, by TFDS.

    Args:
      directory: where the data lie.

    Returns:
      The data set.
    """
    return tfds.load_builder(tfds.find_builder("cifar100", directory))


def _fit_dataset(dataset: AnyDataset, reading: Reading) -> AnyDataset:
    """Brings the images of a named set to a size; a stream keeps its own size."""
    if dataset.kind != "images":
        return dataset
    if isinstance(dataset, Dataset):
        train, test = (
            fit_arrays(images, reading)
            for images in (dataset.train_images, dataset.test_images)
        )
        if train is dataset.train_images and test is dataset.test_images:
            return dataset
        return dataclasses.replace(dataset, train_images=train, test_images=test)
    height, width, channels = dataset.image_shape
    wanted = (*(reading.size or (height, width)), reading.channels or channels)
    if wanted != dataset.image_shape:
        raise InputError(
            f"the stream {dataset.name!r} has images of {dataset.image_shape}, which "
            f"data.size and data.channels cannot make {wanted}"
        )
    return dataset


def _open_stream(rest: str, place: Path | None, reading: Reading) -> StreamedDataset:
    # The last @ counts: a path that ends in @SIZE itself needs a size behind it.
    front, _, behind = rest.rpartition("@")
    sized = bool(front) and re.fullmatch(r"\d+(x\d+)?", behind, re.ASCII)
    bare = rest
    size = reading.size
    if sized:
        bare = front
        size = parse_size(behind)
        if reading.size not in (None, size):
            raise InputError(
                f"stream:{rest} names a size, and data.size is "
                f"{format_size(reading.size)}; want one of them"
            )
    image_shape = (*(size or (SIDE, SIDE)), reading.channels or 3)
    prefix, _, target = bare.partition(":")
    if prefix == "folder" and target:
        return stream_folder(locate(target, place), image_shape, reading)
    if prefix == "tfds" and target:
        builder = tfds.find_builder(target, place)
        if builder is None:
            raise _unknown_set_error(target)
        return tfds.stream_builder(builder, image_shape, reading)
    raise InputError(
        f"cannot stream {rest!r}; wanted {' or '.join(STREAMS)}, perhaps with @SIDE"
    )


def _no_numbers_error(name: str) -> InputError:
    return InputError(
        f"data {name} are images by class, and numbers are to be predicted; want "
        "csv:PATH or npz:PATH, or task=classification"
    )


def _unknown_set_error(name: str) -> InputError:
    prefixes = [*PREFIXES, *STREAMS]
    everything = [*SOURCES, *prefixes, *tfds.list_set_names()]
    bare = name.removeprefix("tfds:")
    near = difflib.get_close_matches(bare, everything, n=1)
    return unknown_name_error("data set", bare, near or [*SOURCES, *prefixes])


SOURCES: dict[str, Callable[[Path | None], AnyDataset]] = {
    "digits": digits,
    "chirps": chirps,
    "breast_cancer": breast_cancer,
    "wine": wine,
    "diabetes": diabetes,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}
"""Name of a data set -> function that loads it from a directory."""
