"""Data sets from one file of arrays, under the names that are in use."""

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np

from darts_jax.data.array_checks import check_images
from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.reading import PLAIN, Reading, fit_arrays
from darts_jax.errors import DataWarning, InputError, first_line
from darts_jax.files import seekable

NAMES = (("{}_images", "{}_labels"), ("x_{}", "y_{}"), ("X_{}", "y_{}"))
"""Names of the images and labels of a part, of this project and MedMNIST, of Keras and
of scikit-learn."""

VALIDATION = ("val", "valid", "validation")


def load_npz(path: Path, reading: Reading = PLAIN) -> Dataset:
    """Loads ``{train,test}_{images,labels}``, or Keras's ``{x,y}_{train,test}``.

    Signals and tables go by the same names, and so do labels that are numbers to be
    predicted.

    The arrays are as `from_arrays` takes them. Without a part named ``test``, ``val``
    is tested on. A `DataWarning` and the ``note`` name the arrays that are not used.

    Args:
      path: of the file.
      reading: what arrays and labels are; size and channels that images are brought to.

    Returns:
      The data set, under the name of the file.

    Raises:
      InputError: the file cannot be read, lacks an array, or an array is not right.
    """
    try:
        archive = np.load(seekable(path), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(
                f"npz:{path} is one array, no file of several; save them by "
                "np.savez(path, train_images=..., train_labels=..., test_images=..., "
                "test_labels=...)"
            )
        with archive:
            keys, note = _keys(path, archive.files)
            arrays = [archive[key] for key in keys]
    except InputError:
        raise
    except Exception as error:  # a damaged zip raises half a dozen types
        raise InputError(f"cannot read npz:{path}: {first_line(error)}") from error
    if note:
        warnings.warn(f"npz:{path}: {note}", DataWarning, stacklevel=3)
    if reading.kind == "images":
        for i in (0, 2):
            images = check_images(arrays[i], f"npz:{path}: {keys[i]}")
            arrays[i] = fit_arrays(images, reading)
    train, labels, test, test_labels = arrays
    return from_arrays(
        train,
        labels,
        test,
        test_labels,
        name=path.stem,
        note=note,
        kind=reading.kind,
        target="target" if reading.labels == "numbers" else "",
    )


def _keys(path: Path, there: Collection[str]) -> tuple[list[str], str]:
    """Finds the four arrays by the names that most of them have.

    Returns:
      The names of the training images, training labels, test images and test labels;
      a note on arrays that are not used or stand in for others.

    Raises:
      InputError: one of them is missing.
    """
    options = [
        [name.format(part) for part in ("train", test) for name in names]
        for names in NAMES
        for test in ("test", *VALIDATION)
    ]
    # The first of the best: a part to test on goes before one to validate on.
    keys = max(options, key=lambda keys: sum(key in there for key in keys))
    missing = [key for key in keys if key not in there]
    if missing:
        raise InputError(
            f"npz:{path} lacks {', '.join(missing)}; it has "
            f"{', '.join(there) or 'nothing'}; wanted train_images, train_labels, "
            "test_images, test_labels, or x_train, y_train, x_test, y_test"
        )
    unused = [key for key in there if key not in keys]
    notes = []
    if not any("test" in key for key in keys):
        notes.append(f"tested on {keys[2]}, as there is no part named test")
    if unused:
        notes.append(f"not used: {', '.join(unused)}")
    return keys, "; ".join(notes)
