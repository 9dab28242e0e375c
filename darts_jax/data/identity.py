"""Identity of the data of a run, by which other data are compared.

Data of a type of your own need ``identify.register(Mine, function)``, and likewise
`remembered.apply_identity`.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from darts_jax.data.dataset import Dataset
from darts_jax.data.licences import USERS_OWN
from darts_jax.data.scenes import SceneSet
from darts_jax.data.stream import Source, StreamedDataset, unwrap_source
from darts_jax.data.text import Corpus
from darts_jax.errors import InputError
from darts_jax.types import Scenes

SAMPLED = 16
"""Number of images of either part of a stream whose bytes its fingerprint reads."""

_PARTS = {"train": "training", "valid": "validation", "test": "test"}
_UNITS = {
    **dict.fromkeys(("images", "stream", "scenes"), "images"),
    "signals": "signals",
    "tables": "rows",
    "text": "tokens",
    "examples": "examples",
}
_LISTED = 6  # names in one line
_CHANNELS = {1: "gray images", 3: "RGB images"}


@runtime_checkable
class ListedSource(Protocol):
    """A source that knows the names and labels of its images without reading them."""

    files: Sequence[str]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Identity:
    """Facts about the data that a run began with, as they are stored.

    Attributes:
      kind: "images", "signals", "tables", "stream", "scenes", "text" or "examples".
      name: used in reports; a folder that moved may have another.
      counts: part -> number of images, or of tokens of a text.
      classes: name of every label; of a text its vocabulary.
      shape: height, width, channels; empty for a text and for examples.
      mean: of every channel in units of 0..1, float32 values; empty like ``shape``.
      std: like ``mean``.
      fingerprints: part -> name of a fact -> its digest; in memory of all pixels.
      note: as of `Dataset`.
      licence: as of `Dataset`.
      columns: as of `Dataset`.
      target: mean and deviation of the numbers to be predicted; empty without such.
    """

    kind: str
    name: str
    counts: Mapping[str, int]
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprints: Mapping[str, Mapping[str, str]]
    note: str = ""
    licence: str = USERS_OWN
    columns: tuple[str, ...] = ()
    target: tuple[float, ...] = ()

    def differences(self, other: "Identity") -> list[str]:
        """Lists the differences of other data, such as "60 training images -> 80".

        Args:
          other: identity of the other data.

        Returns:
          An empty list if the data are the same, wherever they lie.
        """
        if self.kind != other.kind:
            return [f"{describe_kind(self.kind)} -> {describe_kind(other.kind)}"]
        differences = []
        if self.shape != other.shape:
            here = describe_shape(other.shape, other.kind)
            differences.append(f"{describe_shape(self.shape, self.kind)} -> {here}")
        elif self.columns != other.columns:
            differences.append("a table of other columns")
        if bool(self.target) != bool(other.target):
            differences.append(f"{_describe_labels(self)} -> {_describe_labels(other)}")
        elif self.classes != other.classes:
            differences.append(
                f"{_describe_labels(self)} -> {_describe_labels(other)}"
                if self.target
                else _describe_classes(self.kind, self.classes, other.classes)
            )
        unit = _UNITS[self.kind]
        for part, count in self.counts.items():
            now = other.counts.get(part, 0)
            if count != now:
                differences.append(f"{count:,} {_PARTS[part]} {unit} -> {now:,}")
        # Other sizes or classes imply other digests, which say less.
        differences = differences or [
            f"other {what} of the {_PARTS[part]} {unit}"
            for part, digests in self.fingerprints.items()
            for what, digest in digests.items()
            if other.fingerprints.get(part, {}).get(what) != digest
        ]
        if not differences and (self.mean, self.std) != (other.mean, other.std):
            differences = ["another mean or deviation of the channels"]
        if not differences and self.target != other.target:
            differences = ["another mean or deviation of the numbers to be predicted"]
        return differences

    def to_json(self) -> str:
        """Returns the content of the file that `read_identity` reads."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def read_identity(path: Path) -> Identity | None:
    """Reads the file of an identity; None without one.

    Args:
      path: of the file, written by `Identity.to_json`.

    Returns:
      The identity; None if there is no such file.

    Raises:
      InputError: the file is damaged.
    """
    try:
        tree = json.loads(path.read_text())
        return Identity(
            kind=_UNITS[tree["kind"]] and tree["kind"],
            name=str(tree["name"]),
            counts={
                _PARTS[part] and part: int(n) for part, n in tree["counts"].items()
            },
            classes=tuple(map(str, tree["classes"])),
            shape=tuple(map(int, tree["shape"])),
            mean=tuple(map(float, tree["mean"])),
            std=tuple(map(float, tree["std"])),
            fingerprints={
                _PARTS[part] and part: {str(k): str(v) for k, v in digests.items()}
                for part, digests in tree["fingerprints"].items()
            },
            note=str(tree["note"]),
            licence=str(tree["licence"]),
            columns=tuple(map(str, tree.get("columns", ()))),
            target=tuple(map(float, tree.get("target", ()))),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"{path}, what the run remembers of its data, is damaged ({reason}); "
            "choose another --run"
        ) from None


@functools.singledispatch
def identify(dataset: Any) -> Identity | None:
    """Returns the identity of a data set; None if its type is unknown.

    Args:
      dataset: as a task loads it. All bytes in memory are read; of a stream the names
        and labels, if its source lists them, and ``SAMPLED`` images.

    Raises:
      InputError: a sampled image of a stream cannot be read.
    """
    del dataset
    return None


@identify.register
def _(dataset: Dataset) -> Identity:
    return _identify_images(
        dataset,
        kind=dataset.kind,
        columns=dataset.columns,
        target=dataset.target_scale if dataset.has_numbers else (),
        counts={"train": len(dataset.train_labels), "test": len(dataset.test_labels)},
        fingerprints={
            "train": {
                "pixels": _digest([dataset.train_images]),
                "labels": _digest([dataset.train_labels]),
            },
            "test": {
                "pixels": _digest([dataset.test_images]),
                "labels": _digest([dataset.test_labels]),
            },
        },
    )


@identify.register
def _(dataset: SceneSet) -> Identity:
    parts = {"train": dataset.train, "test": dataset.test}
    return _identify_images(
        dataset,
        kind="scenes",
        counts={part: len(scenes.images) for part, scenes in parts.items()},
        fingerprints={part: _scene_digests(scenes) for part, scenes in parts.items()},
    )


@identify.register
def _(dataset: StreamedDataset) -> Identity:
    parts = {"train": dataset.train, "test": dataset.test}
    return _identify_images(
        dataset,
        kind="stream",
        counts={part: len(source) for part, source in parts.items()},
        fingerprints={part: _stream_digests(source) for part, source in parts.items()},
    )


@identify.register
def _(corpus: Corpus) -> Identity:
    parts = {"train": corpus.train, "valid": corpus.valid, "test": corpus.test}
    return Identity(
        kind="text",
        name=corpus.name,
        counts={part: len(tokens) for part, tokens in parts.items()},
        classes=corpus.vocabulary,
        shape=(),
        mean=(),
        std=(),
        fingerprints={
            part: {"words or characters": _digest([tokens])}
            for part, tokens in parts.items()
        },
        note=corpus.note,
    )


def _identify_images(
    dataset: Dataset | SceneSet | StreamedDataset,
    kind: str,
    counts: Mapping[str, int],
    fingerprints: Mapping[str, Mapping[str, str]],
    columns: tuple[str, ...] = (),
    target: tuple[float, ...] = (),
) -> Identity:
    return Identity(
        kind=kind,
        name=dataset.name,
        counts=counts,
        classes=dataset.class_names,
        shape=tuple(dataset.image_shape),
        mean=tuple(float(value) for value in dataset.mean),
        std=tuple(float(value) for value in dataset.std),
        fingerprints=fingerprints,
        note=dataset.note,
        licence=dataset.licence,
        columns=columns,
        target=target,
    )


def _digest(arrays: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _scene_digests(scenes: Scenes) -> dict[str, str]:
    marks = scenes.boxes, scenes.labels, scenes.present, scenes.crowd
    return {"pixels": _digest([scenes.images]), "boxes": _digest(marks)}


def _stream_digests(source: Source) -> dict[str, str]:
    """Returns digests of listed names and labels, and of images across the whole."""
    stored = unwrap_source(source)
    count = len(source)
    digests = {}
    if isinstance(stored, ListedSource):
        names = "\n".join(map(str, stored.files[:count])).encode()
        digests["file names"] = hashlib.sha256(names).hexdigest()
        digests["labels"] = _digest([stored.labels[:count]])
    sampled = hashlib.sha256()
    for index in np.unique(np.linspace(0, count - 1, SAMPLED).astype(int)):
        image, label = stored[int(index)]
        # Stored bytes: decoded ones differ from one version of a decoder to the next.
        sampled.update(f"{label}:{_stored_digest(image)}".encode())
    return {**digests, "sampled files": sampled.hexdigest()}


def _stored_digest(image: Any) -> str:
    if isinstance(image, Path):
        try:
            image = image.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the image {image}: {error}") from None
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    return _digest([image])


def describe_kind(kind: str) -> str:
    """Describes the kind of data for people.

    Args:
      kind: as of `Identity`.

    Returns:
      Words such as "images by class".
    """
    return {
        "images": "images by class",
        "signals": "signals",
        "tables": "a table",
        "stream": "a stream of images",
        "scenes": "images with boxes",
        "text": "a text",
        "examples": "examples of a network of one's own",
    }[kind]


def describe_shape(shape: Sequence[int], kind: str = "images") -> str:
    """Describes channels and size of images, or of the like, for people.

    Args:
      shape: height, width and channels.
      kind: as of `Identity`.

    Returns:
      Words such as "RGB images of 32x32".
    """
    height, width, channels = shape
    if kind == "signals":
        return f"signals of {width} steps in {channels} channels"
    if kind == "tables":
        return f"a table of {channels} columns"
    return f"{describe_channels(shape)} of {height}x{width}"


def describe_channels(shape: Sequence[int], kind: str = "images") -> str:
    """Describes the channels of images, or of the like, for people.

    Args:
      shape: height, width and channels.
      kind: as of `Identity`.

    Returns:
      Words such as "RGB images".
    """
    if kind in ("signals", "tables"):
        return f"{shape[2]} {'channels' if kind == 'signals' else 'columns'}"
    return _CHANNELS.get(shape[2], f"images of {shape[2]} channels")


def _describe_labels(known: Identity) -> str:
    if known.target:
        return f"numbers to be predicted ({known.classes[0]})"
    return f"{len(known.classes)} classes"


def _describe_classes(kind: str, known: Sequence[str], here: Sequence[str]) -> str:
    if kind == "text":
        return f"a vocabulary of {len(known):,} -> another of {len(here):,}"
    if sorted(known) == sorted(here):
        return "the same classes in another order"
    return f"{len(known)} classes -> {len(here)}{describe_differing_names(known, here)}"


def describe_differing_names(known: Sequence[str], here: Sequence[str]) -> str:
    """Lists the classes that only one of two lists has.

    Args:
      known: names of classes of the run.
      here: names of classes of other data.

    Returns:
      Words such as " (without cat, with dog)"; empty if both lists have the same names.
    """
    sides = ("without", known, here), ("with", here, known)
    differences = []
    for word, some, others in sides:
        there = set(others)
        alone = [name for name in some if name not in there]
        if alone:
            differences.append(f"{word} {list_names(alone)}")
    return f" ({', '.join(differences)})" if differences else ""


def list_names(names: Sequence[str]) -> str:
    """Lists some names in one line.

    Args:
      names: all of them.

    Returns:
      The first few names, and the number of the others.
    """
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
