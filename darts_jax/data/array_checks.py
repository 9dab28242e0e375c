"""Checks of arrays of data and labels; a refusal says how to mend the arrays."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from darts_jax.errors import DataWarning, InputError, first_line

_NAMED = 5  # classes that a message names
_COARSEST = 1e-3  # of a deviation: the step of float32 between numbers to be predicted
_RENUMBER = (
    "number them from 0 without gaps: classes, labels = np.unique(labels, "
    "return_inverse=True)"
)


def check_images(images: Any, what: str) -> np.ndarray:
    """Returns images as uint8 [n, height, width, channel].

    Args:
      images: uint8 [n, height, width, channel], or [n, height, width] if gray.
      what: their name in messages.

    Raises:
      InputError: they have another type or shape; the message says how to mend that.
    """
    images = _as_array(images, what, "images of one size; scale them to one size first")
    if images.dtype != np.uint8:
        raise InputError(
            f"{what} are {images.dtype}, must be uint8 in 0..255; {_bytes_hint(images)}"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise InputError(
            f"{what} have shape {images.shape}, must be [n, height, width, channel] "
            f"or [n, height, width]{_shape_hint(images.shape)}"
        )
    if not images.size:
        raise InputError(f"{what} are empty: shape {images.shape}")
    _, first, second, last = images.shape
    # One row of many channels may be a signal; square planes are images.
    if last > 4 and (first == 3 or (first == 1 and second == last)):
        raise InputError(
            f"{what} have shape {images.shape}, which is [n, channel, height, width], "
            "must be [n, height, width, channel]; try images.transpose(0, 2, 3, 1)"
        )
    return np.ascontiguousarray(images)


def check_signals(signals: Any, what: str) -> np.ndarray:
    """Returns signals as float32 [n, 1, length, channel].

    Args:
      signals: numbers [n, length, channel], or [n, length] of one channel.
      what: their name in messages.

    Raises:
      InputError: they have another type or shape, or a value is no finite number.
    """
    signals = _as_array(signals, what, "signals of one length; cut or pad them first")
    if signals.dtype.kind not in "iuf":
        raise InputError(f"{what} are {signals.dtype}, must be numbers")
    if signals.ndim == 2:
        signals = signals[..., None]
    if signals.ndim != 3:
        raise InputError(
            f"{what} have shape {signals.shape}, must be [n, length, channel] or "
            "[n, length]"
        )
    if not signals.size:
        raise InputError(f"{what} are empty: shape {signals.shape}")
    numbers = np.ascontiguousarray(signals, np.float32)[:, None]
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        number, _, step, channel = wrong[0].tolist()
        raise InputError(
            f"{what} hold {len(wrong)} values that are no finite numbers, the first in "
            f"signal {number} at step {step}, channel {channel}; fill the gaps, or "
            "leave these signals out"
        )
    return numbers


def check_labels(labels: Any, count: int, what: str) -> np.ndarray:
    """Returns labels as integers [n].

    Args:
      labels: integers [n] or [n, 1].
      count: number of images.
      what: their name in messages.

    Raises:
      InputError: they have another type, shape or length; the message says
        how to mend it.
    """
    labels = _as_array(labels, what, "one number for each image")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(
            f"{what} have shape {labels.shape}, must be [n]; "
            f"{_label_shape_hint(labels)}"
        )
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"{what} are {labels.dtype}, must be integers; {_integers_hint(labels)}"
        )
    if len(labels) != count:
        raise InputError(f"{what} are {len(labels)} for {count} images")
    return labels


def check_targets(targets: Any, count: int, what: str) -> np.ndarray:
    """Returns numbers to be predicted as float64 [n].

    Args:
      targets: finite numbers [n] or [n, 1].
      count: number of examples.
      what: their name in messages.

    Raises:
      InputError: they have another type, shape or length, or one is no finite number.
    """
    targets = _as_array(targets, what, "one number for each example")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1:
        raise InputError(
            f"{what} have shape {targets.shape}, must be [n]; want one number for each "
            "example: several at once cannot be predicted"
        )
    if targets.dtype.kind not in "iuf":
        raise InputError(f"{what} are {targets.dtype}, must be numbers to be predicted")
    if len(targets) != count:
        raise InputError(f"{what} are {len(targets)} for {count} examples")
    numbers = targets.astype(np.float64)
    with np.errstate(over="ignore"):
        wrong = np.flatnonzero(~np.isfinite(numbers.astype(np.float32)))
    if len(wrong):
        raise InputError(
            f"{what}: {targets[wrong[0]]} in place {wrong[0] + 1} is no finite number; "
            "leave such examples out"
        )
    return numbers


def require_spread(targets: np.ndarray, name: str) -> None:
    """Refuses numbers to be predicted that are all alike, or are so in float32.

    Args:
      targets: of the training examples, float64 [n].
      name: of the data set.

    Raises:
      InputError: no network could tell them apart.
    """
    largest = float(np.abs(targets).max())
    if np.ptp(targets) == 0:
        raise InputError(
            f"{name}: all {len(targets)} training labels are {targets[0]:g}; wanted "
            "numbers that differ"
        )
    if np.spacing(np.float32(largest)) > _COARSEST * targets.std():
        raise InputError(
            f"{name}: training labels up to {largest:g} differ by {targets.std():.2g} "
            "alone, which float32 rounds away; subtract a constant from all of them"
        )


def require_classes(
    train: np.ndarray,
    test: np.ndarray,
    class_names: Sequence[str] | None,
    name: str,
) -> Sequence[str]:
    """Returns the names of the classes, after a check that labels agree with them.

    Warns of classes without training images by a `DataWarning`.

    Args:
      train: labels of the training images, integers [n].
      test: labels of the test images, integers [n].
      class_names: one for each class; None for the numbers from 0 to the largest
        training label.
      name: of the data set.

    Raises:
      InputError: a label is out of range, a number below the largest has no training
        images and the classes no names, or all training images are of one class.
    """
    found, counts = np.unique(train, return_counts=True)
    least = int(found[0])
    most = int(found[-1])
    if class_names is None:
        if least < 0:
            raise _out_of_range(least, most + 1, f"{name}: train labels")
        if most >= len(found):
            # Not by a list of all numbers, of which there may be 2**60.
            gap = next(i for i, label in enumerate(found) if i != label)
            raise InputError(
                f"{name}: train labels have gaps: they are "
                f"{_format_counts(found, counts)}, and class {gap} has no images; "
                f"{_RENUMBER}"
            )
        class_names = [str(label) for label in range(most + 1)]
    classes = len(class_names)
    _check_range(train, classes, f"{name}: train labels")
    _check_range(test, classes, f"{name}: test labels")
    if len(found) == 1:
        raise InputError(
            f"{name}: all {len(train)} training images are of one class, "
            f"{class_names[most]}; wanted two classes at least"
        )
    missing = sorted(set(range(classes)) - set(found.tolist()))
    if missing:
        named = ", ".join(str(class_names[label]) for label in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        warnings.warn(
            f"{name}: no training images of {len(missing)} of {classes} classes: "
            f"{named}{more}",
            DataWarning,
            stacklevel=3,
        )
    return class_names


def _as_array(values: Any, what: str, wanted: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except Exception as error:  # ragged lists, and whatever a foreign array raises
        reason = _unequal_shapes(values) or first_line(error)
        raise InputError(f"{what} are no array: {reason}; want {wanted}") from None
    if array.dtype.kind == "O":
        raise InputError(
            f"{what} are objects, no numbers: "
            f"{_unequal_shapes(values) or array.shape}; want {wanted}"
        )
    return array


def _unequal_shapes(values: Any) -> str:
    """Says which two shapes stand in a list of unequal arrays."""
    try:
        shapes = [np.shape(value) for value in values]
    except Exception:  # a list of lists of unequal lengths
        return ""
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    return "" if other is None else f"of shapes {shapes[0]} and {other}"


def _bytes_hint(images: np.ndarray) -> str:
    """Says how numbers of another type become bytes, without harm to them."""
    if images.dtype.kind == "b":
        return "convert by images.astype('uint8') * 255"
    if images.dtype.kind not in "iuf" or not images.size:
        return "want the pixels as they are stored"
    least = float(images.min())
    most = float(images.max())
    span = f"they lie in {least:g}..{most:g}"
    if not math.isfinite(most - least):
        return "they hold NaN or infinity"
    if images.dtype.kind == "f":
        if least >= 0 and most <= 1:
            return "convert floats in 0..1 by (255 * images).round().astype('uint8')"
        if least >= 0 and most <= 255:
            return f"{span}: convert by images.round().astype('uint8')"
        if least >= -1 and most <= 1:
            return (
                f"{span}: convert floats in -1..1 by (127.5 * (images + 1)).round()"
                ".astype('uint8')"
            )
        return (
            f"{span}: bring them into 0..255 as they were before normalization; "
            "signals and tables are given by kind='signals' or kind='tables'"
        )
    if least >= 0 and most <= 255:
        return f"{span}: convert by images.astype('uint8')"
    if least < 0:
        return f"{span}: bring them into 0..255"
    white = 2 ** int(most).bit_length() - 1
    return (
        f"{span}: if white is {white}, convert by (images * (255 / {white})).round()"
        ".astype('uint8')"
    )


def _shape_hint(shape: tuple[int, ...]) -> str:
    """Says how rows of numbers become images, where their length is that of one."""
    if len(shape) != 2:
        return ""
    for planes in (1, 3):
        side = math.isqrt(shape[1] // planes)
        if side > 1 and planes * side**2 == shape[1]:
            if planes == 1:
                return f"; try images.reshape(-1, {side}, {side})"
            return (
                f"; try images.reshape(-1, 3, {side}, {side}).transpose(0, 2, 3, 1), "
                "as CIFAR's files are"
            )
    return ""


def _label_shape_hint(labels: np.ndarray) -> str:
    if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "iufb":
        return "want one number for each image"
    sums = labels.astype(np.float64).sum(axis=1)
    if np.allclose(sums, 1) and labels.min() >= 0:
        return "one column for each class is labels.argmax(axis=1)"
    return "want one class for each image; several at once cannot be learned"


def _integers_hint(labels: np.ndarray) -> str:
    if labels.dtype.kind == "b":
        return "convert by labels.astype(int)"
    if labels.dtype.kind == "f" and labels.size and np.all(labels == np.floor(labels)):
        return "convert by labels.astype(int)"
    if labels.dtype.kind == "f":
        return (
            "want the number of a class for each example, or task=regression, by which "
            "numbers are predicted"
        )
    return (
        _RENUMBER + ", class_names=classes"
        if labels.dtype.kind in "US"
        else ("want the number of a class for each image")
    )


def _format_counts(found: np.ndarray, counts: np.ndarray) -> str:
    pairs = zip(found[:_NAMED].tolist(), counts[:_NAMED].tolist(), strict=True)
    listed = ", ".join(f"{label} ({count} images)" for label, count in pairs)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return listed + more


def _check_range(labels: np.ndarray, classes: int, what: str) -> None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise _out_of_range(wrong[0], classes, what)


def _out_of_range(label: int, classes: int, what: str) -> InputError:
    return InputError(
        f"{what} out of range: {label} is not in [0, {classes}), "
        f"as there are {classes} classes"
    )
