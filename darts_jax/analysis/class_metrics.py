"""Results by class, computed from a confusion matrix.

A confusion matrix counts images: its rows are true classes, its columns predicted ones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

Confusion = Int[np.ndarray, "true predicted"]


def recalls(confusion: Confusion) -> Float[np.ndarray, " class"]:
    """Returns the share of each class's images that is predicted right.

    Args:
      confusion: number of images [true class, predicted class].

    Returns:
      The shares, NaN for a class without images.
    """
    return _shares(confusion, confusion.sum(axis=1))


def precisions(confusion: Confusion) -> Float[np.ndarray, " class"]:
    """Returns the share of each class's predictions that is right.

    Args:
      confusion: number of images [true class, predicted class].

    Returns:
      The shares, NaN for a class that is never predicted.
    """
    return _shares(confusion, confusion.sum(axis=0))


def balanced_accuracy(confusion: Confusion) -> float:
    """Returns the mean recall of the classes that have images (Brodersen et al., 2010).

    A network that gives every image the same class has 1 / classes, however common that
    class is.

    Args:
      confusion: number of images [true class, predicted class].
    """
    return float(np.nanmean(recalls(confusion)))


@dataclasses.dataclass(frozen=True)
class ClassResult:
    """Results of a network on one class.

    Attributes:
      name: name of the class.
      images: number of its images that were tested.
      predicted: number of images that were predicted as it.
      recall: share of ``images`` predicted right; None where there is none.
      precision: share of ``predicted`` that is right; None where there is none.
      taken_for: the other class as which most of its images are predicted; None if
        there is no such image.
      taken: number of the images that are predicted as that class.
    """

    name: str
    images: int
    predicted: int
    recall: float | None
    precision: float | None
    taken_for: str | None
    taken: int


def class_results(confusion: Confusion, names: Sequence[str]) -> list[ClassResult]:
    """Returns the results of every class, in the order of the labels.

    Args:
      confusion: number of images [true class, predicted class].
      names: name of every class.
    """
    wrong = confusion - np.diag(np.diag(confusion))
    most = wrong.argmax(axis=1)
    recall = recalls(confusion)
    precision = precisions(confusion)
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
    """Returns the results of the classes that have images, by rising recall.

    Args:
      results: results by class; of equal recalls the class with more images is first.
    """
    tested = [result for result in results if result.recall is not None]
    return sorted(tested, key=lambda result: (result.recall or 0.0, -result.images))


def _shares(
    confusion: Confusion, counts: Int[np.ndarray, " class"]
) -> Float[np.ndarray, " class"]:
    shares = np.diag(confusion) / np.maximum(counts, 1)
    return np.where(counts > 0, shares, np.nan)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
