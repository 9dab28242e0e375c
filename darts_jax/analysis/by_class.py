"""Results by class from a confusion matrix, in NumPy.

A confusion matrix counts images: its rows are true classes, its columns predicted ones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

Confusion = Int[np.ndarray, "true predicted"]


def recalls(confusion: Confusion) -> Float[np.ndarray, " class"]:
    """Returns the share of each class's images that is predicted right.

    It is NaN for a class of which there is no image.
    """
    return _shares(confusion, confusion.sum(axis=1))


def precisions(confusion: Confusion) -> Float[np.ndarray, " class"]:
    """Returns the share of each class's predictions that is right.

    It is NaN for a class that is never predicted.
    """
    return _shares(confusion, confusion.sum(axis=0))


def balanced_accuracy(confusion: Confusion) -> float:
    """Returns the mean recall of the classes that have images.

    Brodersen et al. (2010); a network that answers the same to every image has
    1 / classes, however common that class is.
    """
    return float(np.nanmean(recalls(confusion)))


@dataclasses.dataclass(frozen=True)
class ClassResult:
    """How a network does on one class.

    Attributes:
      images: of the class that were tested.
      predicted: images that were taken for it.
      recall: share of ``images`` predicted right; None where there is none.
      precision: share of ``predicted`` that is right; None where there is none.
      taken_for: the other class that most of its images are taken for; None if none is.
      taken: how many these are.
    """

    name: str
    images: int
    predicted: int
    recall: float | None
    precision: float | None
    taken_for: str | None
    taken: int


def class_results(confusion: Confusion, names: Sequence[str]) -> list[ClassResult]:
    """Returns the results of every class, in the order of the labels."""
    wrong = confusion - np.diag(np.diag(confusion))
    most = wrong.argmax(axis=1)
    recall, precision = recalls(confusion), precisions(confusion)
    return [
        ClassResult(
            name=name,
            images=int(confusion[i].sum()),
            predicted=int(confusion[:, i].sum()),
            recall=_number(recall[i]),
            precision=_number(precision[i]),
            taken_for=names[most[i]] if wrong[i].any() else None,
            taken=int(wrong[i, most[i]]),
        )
        for i, name in enumerate(names)
    ]


def worst_first(results: Sequence[ClassResult]) -> list[ClassResult]:
    """Returns the classes that have images, those of least recall first."""
    tested = [result for result in results if result.recall is not None]
    return sorted(tested, key=lambda result: (result.recall or 0.0, -result.images))


def _shares(
    confusion: Confusion, counts: Int[np.ndarray, " class"]
) -> Float[np.ndarray, " class"]:
    shares = np.diag(confusion) / np.maximum(counts, 1)
    return np.where(counts > 0, shares, np.nan)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
