"""Image sets of TensorFlow Datasets, read without TensorFlow."""

import dataclasses
import logging
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.licences import find_licence
from darts_jax.data.reading import PLAIN, Reading, fit, format_size, read_picture
from darts_jax.data.stream import StreamedDataset, from_sources, imagenet_statistics
from darts_jax.errors import InputError, first_line

FORMAT = "array_record"  # the one that can be read without TensorFlow
SECONDS = 4.0
NAME = re.compile(r"\w+(/[\w.+-]+)?(:\d+\.[\d*]+\.[\d*]+)?")  # set/config:version


def list_set_names() -> list[str]:
    """Returns the names of the sets that TFDS can build."""
    import tensorflow_datasets

    return tensorflow_datasets.list_builders(with_community_datasets=False)


def find_builder(name: str, directory: Path | None) -> Any:
    """Returns the TFDS builder of a set, or None if TFDS does not know the name.

    Args:
      directory: TFDS's ``data_dir``; by default its own, ``~/tensorflow_datasets``.

    Raises:
      InputError: the set is there in another format, or needs TensorFlow.
    """
    import tensorflow_datasets

    if not NAME.fullmatch(name):
        return None
    data_dir = None if directory is None else str(directory)
    # TFDS warns of every set that is not prepared yet.
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        return tensorflow_datasets.builder(name, data_dir=data_dir, file_format=FORMAT)
    except tensorflow_datasets.core.DatasetNotFoundError:
        return None
    except Exception as error:  # whatever the code of one of 250 builders raises
        raise InputError(
            f"TFDS cannot give {name} as {FORMAT}: {first_line(error)}"
        ) from error


def is_prepared(name: str, directory: Path | None) -> bool:
    """Returns whether a set lies on this machine, ready to be read.

    Args:
      name: as TFDS has it.
      directory: of data; None is TFDS's own.
    """
    builder = find_builder(name, directory)
    return builder is not None and builder.is_prepared()


def load_builder(builder: Any, reading: Reading = PLAIN) -> Dataset:
    """Reads a set, after preparing it if there is a network and need to.

    Args:
      builder: TFDS's, of the set.
      reading: the size and the channels that images are brought to.

    Returns:
      The data set, tested on its test split, or on its validation split if the test
      split has no labels.

    Raises:
      InputError: it is not on this machine and its host does not answer, or it is no
        image classification with images of one size and a train and a test (or
        validation) split.
    """
    keys, test = _ready(builder)
    train_images, train_labels = _read(builder, "train", keys, reading)
    test_images, test_labels = _read(builder, test, keys, reading)
    return from_arrays(
        train_images,
        train_labels,
        test_images,
        test_labels,
        name=builder.name,
        class_names=builder.info.features[keys.label].names,
        licence=find_licence(builder.name, builder.info.homepage),
    )


def stream_builder(
    builder: Any, image_shape: tuple[int, int, int], reading: Reading = PLAIN
) -> StreamedDataset:
    """Opens a set whose images are read when needed and may differ in size.

    Args:
      builder: TFDS's, of the set.
      image_shape: height, width and channels that every image is brought to.
      reading: how images are read.

    Returns:
      The stream, with the mean and deviation of ImageNet.

    Raises:
      InputError: as `load_builder`, but for the images themselves.
    """
    keys, test = _ready(builder)
    mean, std = imagenet_statistics(image_shape[2])
    return from_sources(
        _Encoded.open(builder, "train", keys),
        _Encoded.open(builder, test, keys),
        name=builder.name,
        class_names=builder.info.features[keys.label].names,
        licence=find_licence(builder.name, builder.info.homepage),
        image_shape=image_shape,
        mean=mean,
        std=std,
        reading=reading,
    )


class _Keys(NamedTuple):
    """Names of the features that are the image and its label."""

    image: str
    label: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Encoded:
    """Image files and labels of a split by number, for a stream."""

    examples: Any
    what: str
    keys: _Keys

    @classmethod
    def open(cls, builder: Any, split: str, keys: _Keys) -> "_Encoded":
        from tensorflow_datasets.core.decode import SkipDecoding

        # TFDS decodes by OpenCV or Pillow, whichever there is: other pixels by each.
        examples = builder.as_data_source(split, decoders={keys.image: SkipDecoding()})
        return cls(examples, f"{builder.name} {split}", keys)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        try:
            example = self.examples[index]
        except Exception as error:  # whatever its reader raises for a damaged file
            raise InputError(
                f"cannot read {self.what} example {index}: {first_line(error)}"
            ) from None
        return bytes(example[self.keys.image]), int(example[self.keys.label])


def is_reachable(url: str) -> bool:
    """Returns whether the host of an address answers within seconds.

    Args:
      url: the address.
    """
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def prepare(builder: Any) -> None:
    """Downloads a set if it does not lie here.

    Args:
      builder: TFDS's, of the set.

    Raises:
      InputError: it cannot be downloaded.
    """
    if builder.is_prepared():
        return
    # TFDS retries for minutes where there is no network, so it is asked for first.
    url = next(iter(builder.url_infos or ()), builder.info.homepage)
    if url and not is_reachable(url):
        raise InputError(
            f"{builder.name} is not prepared as {FORMAT} in {builder.data_path} and "
            f"{url} cannot be reached; prepare it where there is a network"
        )
    try:
        builder.download_and_prepare(file_format=FORMAT)
    except Exception as error:  # each builder downloads and unpacks in its own way
        raise InputError(
            f"TFDS cannot prepare {builder.name}: {first_line(error)}"
        ) from error


def _ready(builder: Any) -> tuple[_Keys, str]:
    """Prepares a set and returns its features and the split to test on."""
    prepare(builder)
    keys = _keys(builder)
    splits = builder.info.splits
    # ImageNet's test split has -1 for labels: it is tested on its validation split.
    labelled = [
        split
        for split in ("test", "validation")
        if split in splits
        and splits[split].num_examples
        and _Encoded.open(builder, split, keys)[0][1] >= 0
    ]
    if "train" not in splits or not labelled:
        raise InputError(
            f"{builder.name} has the splits {', '.join(splits) or 'none'}; "
            "wanted train and test (or validation), with labels"
        )
    return keys, labelled[0]


def _keys(builder: Any) -> _Keys:
    from tensorflow_datasets import features as kinds

    features = dict(builder.info.features.items())
    match builder.info.supervised_keys or ("image", "label"):
        case (str(image), str(label)) if isinstance(
            features.get(image), kinds.Image
        ) and isinstance(features.get(label), kinds.ClassLabel):
            return _Keys(image, label)
    raise InputError(
        f"{builder.name} is no image classification: its features are "
        f"{', '.join(features)}"
    )


def _read(
    builder: Any, split: str, keys: _Keys, reading: Reading
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images and labels of a split."""
    if reading.size or reading.channels:
        return _read_fitted(builder, split, keys, reading)
    source = builder.as_data_source(split=split)
    first = source[0][keys.image]
    images = np.empty((len(source), *first.shape), first.dtype)
    labels = np.empty(len(source), np.int64)
    for index in range(len(source)):
        example = source[index]
        image = example[keys.image]
        if image.shape != first.shape:
            raise InputError(
                f"{builder.name}: {split} image {index} is {image.shape}, "
                f"must be {first.shape} as the first; only one size can be used: "
                f"data.size={format_size(first.shape[:2])} brings all to it"
            )
        images[index] = image
        labels[index] = example[keys.label]
    return images, labels


def _read_fitted(
    builder: Any, split: str, keys: _Keys, reading: Reading
) -> tuple[np.ndarray, np.ndarray]:
    source = _Encoded.open(builder, split, keys)
    stored = builder.info.features[keys.image].shape
    channels = reading.channels or (1 if stored[2] == 1 else 3)
    images = []
    labels = np.empty(len(source), np.int64)
    for index in range(len(source)):
        encoded, labels[index] = source[index]
        what = f"{builder.name} {split} image {index}"
        size = reading.size or read_picture(encoded, what, reading).size[::-1]
        images.append(fit(encoded, (size[0], size[1], channels), what, reading))
        if images[-1].shape != images[0].shape:
            raise InputError(
                f"{what} is {images[-1].shape}, must be {images[0].shape} as the "
                f"first; data.size={format_size(images[0].shape[:2])} brings all to it"
            )
    return np.stack(images), labels
