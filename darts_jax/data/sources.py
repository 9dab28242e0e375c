"""Data sets by name.

``SOURCES`` maps a name to the function that loads it from a directory; register
your own by ``SOURCES["mine"] = function``. Three prefixes load what has no name of
its own: ``tfds:NAME``, ``folder:PATH`` and ``npz:PATH``. The first two may be streamed
rather than loaded, as ``stream:tfds:NAME`` and ``stream:folder:PATH``, with ``@SIDE``
behind for another size of images than 224x224.
"""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from darts_jax.data import jpeg, tfds
from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.folder import load_folder, stream_folder
from darts_jax.data.idx import fashion_mnist
from darts_jax.data.licences import LICENCES
from darts_jax.data.stream import AnyDataset, StreamedDataset
from darts_jax.errors import InputError, unknown_name
from darts_jax.files import local_path

PREFIXES = ("tfds:NAME", "folder:PATH", "npz:PATH")
STREAMS = ("stream:tfds:NAME", "stream:folder:PATH")
SIDE = 224  # of streamed images, as published for ImageNet


def load_dataset(name: str, directory: str | None = None) -> AnyDataset:
    """Loads a data set into memory, or opens one that is read while a program runs.

    Args:
      name: a key of ``SOURCES``, ``tfds:NAME``, ``folder:PATH``, ``npz:PATH``, or
        the bare name of a set that TFDS knows or that lies prepared in the directory:
        a `Dataset`. Or ``stream:tfds:NAME`` or ``stream:folder:PATH``: a
        `StreamedDataset` of RGB images of 224x224; ``@SIDE`` behind it, as in
        ``stream:tfds:imagenet2012@160``, makes them SIDExSIDE.
      directory: where the data lie, by default ``$DARTS_JAX_DATA_DIR``.

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    place = data_place(directory)
    if name in SOURCES:
        return SOURCES[name](place)
    prefix, _, rest = name.partition(":")
    if prefix in ("folder", "npz") and rest:
        load = load_folder if prefix == "folder" else load_npz
        return load(local_path(rest).expanduser())
    if prefix == "stream":
        return _open_stream(rest, place)
    builder = tfds.find_builder(name.removeprefix("tfds:"), place)
    if builder is None:
        raise _unknown(name)
    return tfds.load_builder(builder)


def data_place(directory: str | None) -> Path | None:
    """Where data lie: as given, or as the environment says."""
    given = directory or os.environ.get("DARTS_JAX_DATA_DIR")
    return local_path(given).expanduser() if given else None


def digits(directory: Path | None = None) -> Dataset:
    """1,437 + 360 gray images of 8x8 in 10 classes, shipped with scikit-learn.

    Values 0..16 become 0..255. The set has no official split: of a permutation with
    seed 0, sorted by class, every fifth image is a test image. Both parts stand in
    the order of the permutation.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    by_class = order[np.argsort(bunch.target[order], kind="stable")]
    chosen = np.isin(order, by_class[::5])
    train, test = order[~chosen], order[chosen]
    return from_arrays(
        images[train],
        bunch.target[train],
        images[test],
        bunch.target[test],
        name="digits",
        class_names=[str(digit) for digit in bunch.target_names],
        licence=LICENCES["digits"],
    )


def cifar10(directory: Path | None) -> Dataset:
    """50,000 + 10,000 RGB images of 32x32 in 10 classes (Krizhevsky, 2009).

    As prepared by TFDS in the directory, else from the JPEG archive there, whose note
    says that it is lossy, else downloaded by TFDS.
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
    """50,000 + 10,000 RGB images of 32x32 in 100 classes, by TFDS."""
    return tfds.load_builder(tfds.find_builder("cifar100", directory))


def load_npz(path: Path) -> Dataset:
    """A data set from ``{train,test}_{images,labels}``, as `from_arrays` takes them.

    Raises:
      InputError: the file cannot be read, lacks an array, or an array is not right.
    """
    wanted = ("train_images", "train_labels", "test_images", "test_labels")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in wanted if key not in archive]
            if missing:
                raise InputError(
                    f"npz:{path} lacks {', '.join(missing)}; "
                    f"it has {', '.join(archive) or 'nothing'}"
                )
            arrays = [archive[key] for key in wanted]
    except InputError:
        raise
    except Exception as error:  # a damaged zip raises half a dozen types
        raise InputError(f"cannot read npz:{path}: {error}") from error
    return from_arrays(*arrays, name=path.stem)


def _open_stream(rest: str, place: Path | None) -> StreamedDataset:
    # The last @ counts: a path that ends in @NUMBER itself needs a size behind it.
    front, _, behind = rest.rpartition("@")
    sized = bool(front) and behind.isdecimal()
    bare, side = (front, int(behind)) if sized else (rest, SIDE)
    if side < 1:
        raise InputError(f"stream:{rest} has images of side 0, must be 1 or more")
    image_shape = (side, side, 3)
    prefix, _, target = bare.partition(":")
    if prefix == "folder" and target:
        return stream_folder(local_path(target).expanduser(), image_shape)
    if prefix == "tfds" and target:
        builder = tfds.find_builder(target, place)
        if builder is None:
            raise _unknown(target)
        return tfds.stream_builder(builder, image_shape)
    raise InputError(
        f"cannot stream {rest!r}; wanted {' or '.join(STREAMS)}, perhaps with @SIDE"
    )


def _unknown(name: str) -> InputError:
    prefixes = [*PREFIXES, *STREAMS]
    everything = [*SOURCES, *prefixes, *tfds.known_names()]
    bare = name.removeprefix("tfds:")
    near = difflib.get_close_matches(bare, everything, n=1)
    return unknown_name("data set", bare, near or [*SOURCES, *prefixes])


SOURCES: dict[str, Callable[[Path | None], AnyDataset]] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}
