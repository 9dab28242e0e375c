"""Data with the statistics and class numbers that a trained network knows."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from darts_jax.data.dataset import KINDS, Dataset
from darts_jax.data.identity import (
    Identity,
    describe_channels,
    describe_differing_names,
    describe_kind,
    describe_shape,
    list_names,
)
from darts_jax.data.scenes import SceneSet
from darts_jax.data.stream import Source, StreamedDataset
from darts_jax.data.text import UNKNOWN, Corpus
from darts_jax.errors import InputError
from darts_jax.types import Scenes

_KINDS: dict[type, str] = {
    Dataset: "images",
    StreamedDataset: "images",
    SceneSet: "scenes",
    Corpus: "text",
}


def match_training_data(dataset: Any, known: Identity) -> Any:
    """Returns data as a trained network knows them.

    Mean and deviation are those of its training. Classes and words get the numbers of
    its training, whatever their order here. A word that it does not know is ``<unk>``,
    if it knows that.

    Args:
      dataset: of the known data's kind; images and a stream of them are one.

    Raises:
      InputError: the images are gray and those were not, or the classes are others.
    """
    if known.kind == "examples":
        return dataset  # It has neither statistics nor names of classes.
    wanted = {"stream": "images"}.get(known.kind, known.kind)
    here = [kind for type_, kind in _KINDS.items() if isinstance(dataset, type_)]
    if isinstance(dataset, Dataset):
        here = [dataset.kind]
    if here and wanted not in here:
        raise InputError(
            f"the network was trained on {describe_kind(wanted)}; these data are "
            f"{describe_kind(here[0])}: want the run's own task and data.name"
        )
    if isinstance(dataset, Corpus):
        return _renumber_tokens(dataset, known.classes)
    shape = dataset.image_shape
    if shape[2] != known.shape[2]:
        wanted_shape = describe_shape(known.shape, known.kind)
        raise InputError(
            f"the network was trained on {wanted_shape}; these are "
            f"{describe_shape(shape, known.kind)}: want "
            f"{describe_channels(known.shape, known.kind)}"
        )
    if isinstance(dataset, Dataset) and dataset.columns != known.columns:
        raise InputError(
            "the network was trained on a table of other columns"
            f"{describe_differing_names(known.columns, dataset.columns)}: want the "
            "same in the same order"
        )
    has_numbers = isinstance(dataset, Dataset) and dataset.has_numbers
    if has_numbers or known.target:
        _require_same_target(dataset, known, has_numbers)
    order = _find_order(known.classes, dataset.class_names)
    seen = apply_identity(dataset, known, order)
    return dataclasses.replace(seen, class_names=known.classes)


@functools.singledispatch
def apply_identity(dataset: Any, known: Identity, order: np.ndarray | None) -> Any:
    """Returns a data set with the mean, deviation and class numbers of a training.

    Args:
      dataset: the data at hand.
      known: identity of the data of the training.
      order: int32 [class], number of every class in the training; None if all keep
        theirs.

    Raises:
      InputError: the data are of an unknown type.
    """
    raise InputError(
        f"the network was trained on {describe_kind(known.kind)}, and data of type "
        f"{type(dataset).__name__} are unknown: "
        "data.remembered.apply_identity.register makes them known"
    )


@apply_identity.register
def _(dataset: Dataset, known: Identity, order: np.ndarray | None) -> Dataset:
    changed = dataclasses.replace(dataset, statistics=_statistics(known))
    if known.target:
        mean, deviation = known.target
        return dataclasses.replace(changed, target_statistics=(mean, deviation))
    if order is None:
        return changed
    return dataclasses.replace(
        changed,
        train_labels=order[dataset.train_labels],
        test_labels=order[dataset.test_labels],
    )


@apply_identity.register
def _(dataset: SceneSet, known: Identity, order: np.ndarray | None) -> SceneSet:
    changed = dataclasses.replace(dataset, statistics=_statistics(known))
    if order is None:
        return changed
    return dataclasses.replace(
        changed,
        train=_relabel_scenes(dataset.train, order),
        test=_relabel_scenes(dataset.test, order),
    )


@apply_identity.register
def _(
    dataset: StreamedDataset, known: Identity, order: np.ndarray | None
) -> StreamedDataset:
    mean, std = _statistics(known)
    changed = dataclasses.replace(dataset, mean=mean, std=std)
    if order is None:
        return changed
    return dataclasses.replace(
        changed,
        train=_Relabelled(dataset.train, order),
        test=_Relabelled(dataset.test, order),
    )


def make_blank_dataset(known: Identity) -> Dataset:
    """Returns images of zeros, which take no memory, in place of the data of a run.

    Networks made for either have the same shapes, names, mean and deviation.

    Args:
      known: identity of the data.
    """
    classes = len(known.classes)

    def part(name: str) -> tuple[np.ndarray, np.ndarray]:
        count = known.counts[name]
        zero = np.uint8(0) if known.kind == "images" else np.float32(0)
        images = np.broadcast_to(zero, (count, *known.shape))
        if known.target:
            return images, np.zeros(count, np.float32)
        return images, np.arange(count, dtype=np.int32) % classes

    train, train_labels = part("train")
    test, test_labels = part("test")
    return Dataset(
        name=known.name,
        train_images=train,
        train_labels=train_labels,
        test_images=test,
        test_labels=test_labels,
        class_names=known.classes,
        note=known.note,
        licence=known.licence,
        statistics=_statistics(known),
        kind=known.kind if known.kind in KINDS else "images",
        columns=known.columns,
        target_statistics=(known.target[0], known.target[1]) if known.target else None,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Relabelled:
    """Source whose labels have other numbers; workers get a copy of it by pickle."""

    source: Source
    order: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.source[index]
        return image, int(self.order[label])


def _relabel_scenes(scenes: Scenes, order: np.ndarray) -> Scenes:
    return scenes.replace(labels=order[np.asarray(scenes.labels)])


def _statistics(known: Identity) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(known.mean, np.float32), np.asarray(known.std, np.float32)


def _require_same_target(dataset: Any, known: Identity, has_numbers: bool) -> None:
    """Refuses classes where numbers were predicted, and the other way round."""
    (here, *_) = dataset.class_names
    if not (has_numbers and known.target):
        words = ["classes", "numbers"] if has_numbers else ["numbers", "classes"]
        raise InputError(
            f"the network was trained to predict {words[0]}; the labels of these data "
            f"are {words[1]}: want data of the run's own task"
        )
    if here != known.classes[0]:
        raise InputError(
            f"the network was trained to predict {known.classes[0]!r}; these data have "
            f"{here!r}: want the same number under the same name"
        )


def _find_order(known: Sequence[str], here: Sequence[str]) -> np.ndarray | None:
    """Returns the known number of every class; None if all keep theirs."""
    if tuple(known) == tuple(here):
        return None
    if len(known) != len(here):
        raise InputError(
            f"the network was trained on {len(known)} classes; these data have "
            f"{len(here)}{describe_differing_names(known, here)}: want the same classes"
        )
    if Counter(known) != Counter(here) or len(set(known)) < len(known):
        raise InputError(
            f"the network was trained on other classes than these data have"
            f"{describe_differing_names(known, here)}: want the same names"
        )
    return np.array([known.index(name) for name in here], np.int32)


def _renumber_tokens(corpus: Corpus, vocabulary: tuple[str, ...]) -> Corpus:
    if corpus.vocabulary == vocabulary:
        return corpus
    numbers = {word: number for number, word in enumerate(vocabulary)}
    other = numbers.get(UNKNOWN)
    strange = [word for word in corpus.vocabulary if word not in numbers]
    if strange and other is None:
        raise InputError(
            f"the network was trained on a vocabulary of {len(vocabulary):,}; these "
            f"data have {list_names([repr(word) for word in strange])} besides, and "
            f"it knows no {UNKNOWN}: want a text of its vocabulary"
        )
    order = np.array([numbers.get(w, other) for w in corpus.vocabulary], np.int32)
    return dataclasses.replace(
        corpus,
        train=order[corpus.train],
        valid=order[corpus.valid],
        test=order[corpus.test],
        vocabulary=vocabulary,
    )
