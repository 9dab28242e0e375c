"""Image sets larger than memory, read and decoded while a program runs.

The order of an epoch depends on the seed and the epoch alone. So a run that was stopped
goes on at the same batch without reading the ones before it, and each of several
processes reads its own part of every batch and nothing else.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from darts_jax.data.dataset import Dataset
from darts_jax.data.licences import USERS_OWN
from darts_jax.data.random_crop import RandomCrop
from darts_jax.data.reading import PLAIN, Reading, crop_to_fit, fit
from darts_jax.errors import InputError

# Statistics of ImageNet's training pixels in units of 0..1, as in nearly all code.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GRAY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue, as Pillow mixes them

THREADS = 16  # that read and decode at once; Pillow lets go of the interpreter's lock
PADDING = -1  # label of an image that only fills a batch up

Batch = tuple[np.ndarray, np.ndarray]


class Source(Protocol):
    """Labelled images by number, read on demand, from any thread."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedDataset:
    """Images and labels to train and to test on, read when they are needed.

    Build it with `from_sources`, which checks what this class takes for granted.

    Attributes:
      name: used in reports.
      train: index -> (uint8 [height, width, channel], label in [0, classes)).
      test: like ``train``.
      class_names: the name of every label.
      image_shape: height, width, channels of all images, whatever the stored ones are.
      mean: of the training pixels in units of 0..1: float32 [channel].
      std: like ``mean``, above 0.
      note: as of `Dataset`.
      licence: as of `Dataset`.
    """

    name: str
    train: Source
    test: Source
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: np.ndarray
    std: np.ndarray
    note: str = ""
    licence: str = USERS_OWN

    @property
    def kind(self) -> str:
        """A name of `KINDS`."""
        return "images"

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def train_size(self) -> int:
        """The number of training images."""
        return len(self.train)

    def train_label(self, index: int) -> int:
        """Returns the label of a training image without decoding the image.

        Args:
          index: number of the image.
        """
        return _read_label(self.train, index)

    def first(self, images: int) -> "StreamedDataset":
        """Returns the set with the first images of either part.

        Args:
          images: number of images; a part with fewer keeps all.
        """
        return dataclasses.replace(
            self,
            train=_FirstImages(self.train, images),
            test=_FirstImages(self.test, images),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _FirstImages:
    """First images of a source; workers get a copy of it by pickle."""

    source: Source
    images: int

    def __len__(self) -> int:
        return min(self.images, len(self.source))

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.source[index]


def _read_cropped(
    source: Source, index: int, crop: RandomCrop
) -> tuple[np.ndarray, int]:
    """Reads an image as a `_Fitted` source does, but a part that is chosen at random.

    Args:
      source: of a `StreamedDataset`.
      index: number of the image.
      crop: chooses the part.
    """
    if isinstance(source, _FirstImages):
        return _read_cropped(source.source, index, crop)
    if not isinstance(source, _Fitted):
        raise InputError(
            f"a {type(source).__name__} has no images as they are stored, to crop at "
            "random; want a data set of from_sources"
        )
    image, label = source.source[index]
    cropped = crop_to_fit(
        image,
        source.image_shape,
        f"{source.what} {index}",
        source.reading,
        lambda height, width: crop.choose(index, height, width),
    )
    return cropped, source.check_label(label, index)


def _read_label(source: Source, index: int) -> int:
    if isinstance(source, _FirstImages):
        return _read_label(source.source, index)
    if isinstance(source, _Fitted):
        return source.check_label(source.source[index][1], index)
    return int(source[index][1])


AnyDataset = Dataset | StreamedDataset


def from_sources(
    train: Source,
    test: Source,
    *,
    name: str = "sources",
    class_names: Sequence[str],
    image_shape: Sequence[int] = (224, 224, 3),
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    note: str = "",
    licence: str = USERS_OWN,
    reading: Reading = PLAIN,
) -> StreamedDataset:
    """Returns a data set whose sources give one stored image at a time.

    Args:
      train: index -> (image, label). The image is as `fit` takes it, the label an
        integer in [0, classes). Called from several threads; other processes get a
        copy by pickle.
      test: like ``train``.
      name: of the data set, in records and messages.
      class_names: one for each class.
      image_shape: height, width and channels (1 or 3) that every image is brought to.
      mean: of the pixels, by channel, 0 to 1; by default ImageNet's, as the set's own
        would ask for reading all of it first.
      std: standard deviation, likewise.
      note: what a reader of results on this set must know.
      licence: the terms under which the images may be used.
      reading: how images are read; its size and channels are those of ``image_shape``.

    Raises:
      InputError: a part is empty, or the shape or the statistics do not fit.
    """
    if not len(train) or not len(test):
        raise InputError(
            f"{name}: {len(train)} train and {len(test)} test images; both are needed"
        )
    shape = tuple(int(side) for side in image_shape)
    if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3):
        raise InputError(
            f"{name}: image shape {shape} must be (height, width, channels), "
            "each at least 1, with 1 or 3 channels"
        )
    reading = dataclasses.replace(reading, size=shape[:2], channels=shape[2])
    for what, values in (("mean", mean), ("std", std)):
        if len(values) != shape[2] or (what == "std" and min(values) <= 0):
            raise InputError(
                f"{name}: {what} {tuple(values)} must be {shape[2]} values, one for "
                "each channel, in units of 0..1; a std above 0"
            )
    return StreamedDataset(
        name=name,
        train=_Fitted(train, f"{name} train image", shape, len(class_names), reading),
        test=_Fitted(test, f"{name} test image", shape, len(class_names), reading),
        class_names=tuple(str(class_name) for class_name in class_names),
        image_shape=shape,
        mean=np.asarray(mean, np.float32),
        std=np.asarray(std, np.float32),
        note=note,
        licence=licence,
    )


def imagenet_statistics(channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Returns ImageNet's mean and deviation of RGB (3 channels) or of gray (1) images.

    The gray mean is exact; the gray deviation is that of channels which change
    together, and the true one is a little below it.

    Args:
      channels: 1 or 3.
    """
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    weights = np.array(GRAY_WEIGHTS)
    return [float(weights @ IMAGENET_MEAN)], [float(weights @ IMAGENET_STD)]


def batches(
    source: Source,
    *,
    seed: int,
    epoch: int,
    start: int = 0,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    prefetch: int = 2,
    rows: np.ndarray | None = None,
    fill_last: bool = False,
    crop: RandomCrop | None = None,
) -> Iterator[Batch]:
    """Reads one process's part of an epoch's batches, from batch ``start`` on.

    Batch k is the same set of images in the same order whatever ``start``, ``workers``
    and ``prefetch`` are; the parts of all processes, one after another, are the batch
    that one process alone would read.

    Args:
      source: such as `StreamedDataset.train`; all its images have one shape.
      seed: with the epoch it fixes the order, a permutation of the rows.
      start: the first batch, at most the number of batches.
      epoch: number of the epoch.
      batch_size: images of one batch in all processes, a multiple of
        ``process_count``; those that fill no batch are left out of this epoch.
      process_index: number of this process.
      process_count: number of processes.
      workers: processes that decode, started anew by each call, which takes seconds;
        0 for threads of this one.
      prefetch: batches that are read ahead once the first is asked for, with workers
        at least one by each; 0 reads when asked for.
      rows: integers [n], the images to take, such as one of `split_train`'s halves; by
        default all.
      fill_last: keep the images that fill no batch: images that do not count fill up
        theirs, with the label -1. For a test, which must see each image once.
      crop: chooses a part of each image at random; None reads it as it is stored.

    Returns:
      An iterator of (uint8 [local, height, width, channel], int32 [local]), where
      local is ``batch_size // process_count``. Reading ahead stops when it is dropped,
      or by its ``close()``.

    Raises:
      InputError: a number is out of its range, or grain is not installed. The iterator
        raises it for an image that cannot be read.
    """
    _check_numbers(
        1, batch_size=batch_size, process_count=process_count, images=len(source)
    )
    _check_numbers(0, seed=seed, epoch=epoch, workers=workers, prefetch=prefetch)
    chosen = _check_rows(rows, len(source))
    grain = require_grain()
    order = grain.MapDataset.range(len(chosen)).shuffle(seed=_order_seed(seed, epoch))
    part = _Part(
        source=source,
        rows=chosen,
        order=order,
        start=start,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        fill_last=fill_last,
        crop=crop,
    )
    local = batch_size // process_count
    images = grain.MapDataset.source(part)
    if workers:
        _parse_flags()
        # Worker i of n takes elements i, i + n, ...: only whole batches stay together.
        one_by_one = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
        ahead = max(1, math.ceil(prefetch / workers))
        options = grain.MultiprocessingOptions(workers, ahead)
        whole = images.batch(local).to_iter_dataset(one_by_one)
        return iter(whole.mp_prefetch(options))
    ahead = prefetch * local
    options = grain.ReadOptions(min(THREADS, ahead), ahead)
    return iter(images.to_iter_dataset(options).batch(local))


def require_grain() -> Any:
    """Returns the module `grain`.

    Raises:
      InputError: it is not installed.
    """
    try:
        import grain
    except ImportError:
        raise InputError(
            "streams need grain, which is not here; pip install 'darts-jax[stream]'"
        ) from None
    return grain


@dataclasses.dataclass(frozen=True, eq=False)
class _Fitted:
    """Source whose images are brought to one shape and whose labels are checked."""

    source: Source
    what: str
    image_shape: tuple[int, int, int]
    classes: int
    reading: Reading

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        image, label = self.source[index]
        label = self.check_label(label, index)
        what = f"{self.what} {index}"
        return fit(image, self.image_shape, what, self.reading), label

    def check_label(self, label: int, index: int) -> int:
        """Returns the label; raises InputError if there is no such class."""
        if not 0 <= label < self.classes:
            raise InputError(
                f"{self.what} {index} has the label {label}, must be in "
                f"[0, {self.classes})"
            )
        return int(label)


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Images of one process's part of the rest of an epoch, one after another."""

    source: Source
    rows: np.ndarray
    order: Any  # position in the epoch -> position in the rows
    start: int
    batch_size: int
    process_index: int
    process_count: int
    fill_last: bool
    crop: RandomCrop | None

    def __post_init__(self) -> None:
        if not 0 <= self.process_index < self.process_count:
            raise InputError(
                f"process_index={self.process_index} must be in "
                f"[0, {self.process_count}), as process_count={self.process_count}"
            )
        if self.batch_size % self.process_count:
            raise InputError(
                f"batch_size={self.batch_size} must be a multiple of "
                f"process_count={self.process_count}"
            )
        if not self.steps:
            raise InputError(
                f"batch size {self.batch_size} is more than the {len(self.rows)} images"
            )
        if not 0 <= self.start <= self.steps:
            raise InputError(
                f"start={self.start} must be in [0, {self.steps}]: an epoch has "
                f"{self.steps} batches"
            )

    @property
    def steps(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (self.fill_last and rest > 0)

    @property
    def local(self) -> int:
        return self.batch_size // self.process_count

    def __len__(self) -> int:
        return (self.steps - self.start) * self.local

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int32]:
        step, place = divmod(index, self.local)
        position = (self.start + step) * self.batch_size
        position += self.process_index * self.local + place
        row = int(self.rows[self.order[position % len(self.rows)]])
        if self.crop is None:
            image, label = self.source[row]
        else:
            image, label = _read_cropped(self.source, row, self.crop)
        return image, np.int32(label if position < len(self.rows) else PADDING)


def _order_seed(seed: int, epoch: int) -> int:
    # grain adds epochs to a seed, by which seed 1 would begin where seed 0 goes on.
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _check_numbers(least: int, **numbers: int) -> None:
    for name, value in numbers.items():
        if value < least:
            raise InputError(f"{name}={value} must be {least} or more")


def _check_rows(rows: np.ndarray | None, size: int) -> np.ndarray:
    if rows is None:
        return np.arange(size)
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows):
        raise InputError(
            f"rows are {rows.dtype} {rows.shape}, must be integers [n] of one or more"
        )
    if rows.min() < 0 or rows.max() >= size:
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise InputError(f"row {wrong} is not in [0, {size}), the images there are")
    return rows


def _parse_flags() -> None:
    from absl import flags

    # grain asks absl for a flag as it starts a worker, and absl refuses before a parse.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def unwrap_source(source: Source) -> Source:
    """Returns the source of images as they are stored.

    Args:
      source: may bring them to a size, or leave some out.
    """
    while isinstance(source, _FirstImages | _Fitted):
        source = source.source
    return source
