"""Average precision as COCO defines it, on the host, in NumPy.

Detections of a class are taken from the most to the least certain. Each is given the
free box of its image that it overlaps most, if by the threshold at least, and is right
then. Precision at a recall is the best at that recall or above; its mean over 101
recalls, 0 to 1, is the average precision of the class (Lin et al., 2014, and the
evaluation code of its authors, for objects of every size).
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Detections in images, padded to one number an image.

    Attributes:
      scores: above 0; 0 where there is no detection.
    """

    boxes: Float[np.ndarray, "image detection 4"]
    labels: Int[np.ndarray, "image detection"]
    scores: Float[np.ndarray, "image detection"]


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """True boxes in images, padded to one number an image.

    Attributes:
      present: False where there is no box.
      crowd: boxes that any number of detections may lie in, which are neither right
        nor wrong for it.
    """

    boxes: Float[np.ndarray, "image box 4"]
    labels: Int[np.ndarray, "image box"]
    present: Bool[np.ndarray, "image box"]
    crowd: Bool[np.ndarray, "image box"]


def average_precision(
    found: Found, truth: Truth, thresholds: Float[np.ndarray, " threshold"] = THRESHOLDS
) -> float:
    """Returns the mean over thresholds and over the classes present; 0 without any.

    Args:
      found: detections.
      truth: true boxes of the same images.
      thresholds: smallest overlaps of a right detection.
    """
    there = truth.labels[truth.present & ~truth.crowd]
    each = [class_precisions(found, truth, c, thresholds) for c in np.unique(there)]
    return float(np.mean(each)) if each else 0.0


def class_precisions(
    found: Found, truth: Truth, label: int, thresholds: Float[np.ndarray, " threshold"]
) -> Float[np.ndarray, " threshold"]:
    """Returns the average precision of one class at each threshold.

    Args:
      found: detections.
      truth: true boxes of the same images.
      label: the class.
      thresholds: smallest overlaps of a right detection.
    """
    scores = []
    right = []
    ignored = []
    count = 0
    for image in range(len(found.scores)):
        here = (found.labels[image] == label) & (found.scores[image] > 0)
        mine = truth.present[image] & (truth.labels[image] == label)
        crowd = truth.crowd[image][mine]
        # Equal scores keep their order, here and below.
        order = np.argsort(-found.scores[image][here], kind="stable")
        overlap = _overlaps(
            found.boxes[image][here][order], truth.boxes[image][mine], crowd
        )
        matched, skipped = _match(overlap, crowd, thresholds)
        scores.append(found.scores[image][here][order])
        right.append(matched)
        ignored.append(skipped)
        count += int((~crowd).sum())
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.concatenate(right, 1)[:, order]
    counted = ~np.concatenate(ignored, 1)[:, order]
    return np.array([_area(h[c], count) for h, c in zip(hits, counted, strict=True)])


def _overlaps(
    found: Float[np.ndarray, "detection 4"],
    boxes: Float[np.ndarray, "box 4"],
    crowd: Bool[np.ndarray, " box"],
) -> Float[np.ndarray, "detection box"]:
    """Returns intersection over union; over the detection's own area for a crowd."""
    a = found[:, None].astype(np.float64)
    b = boxes[None].astype(np.float64)
    size = np.minimum(a, b)[..., 2:] - np.maximum(a, b)[..., :2]
    common = np.maximum(size, 0).prod(-1)
    own, other = ((x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b))
    return common / np.maximum(np.where(crowd, own, own + other - common), 1e-12)


def _match(
    overlap: Float[np.ndarray, "detection box"],
    crowd: Bool[np.ndarray, " box"],
    thresholds: Float[np.ndarray, " threshold"],
) -> tuple[
    Bool[np.ndarray, "threshold detection"], Bool[np.ndarray, "threshold detection"]
]:
    """Returns the right detections of an image, and those that are not counted."""
    right = np.zeros((len(thresholds), len(overlap)), bool)
    ignored = np.zeros_like(right)
    for t, threshold in enumerate(thresholds):
        free = ~crowd
        for d, shares in enumerate(overlap):
            own = np.where(free, shares, -1.0)
            # Of equals the last, as the authors' code has it.
            best = len(own) - 1 - int(np.argmax(own[::-1])) if len(own) else -1
            if best >= 0 and own[best] >= threshold:
                right[t, d] = True
                free[best] = False
            else:
                ignored[t, d] = bool((shares[crowd] >= threshold).any())
    return right, ignored


def _area(hits: Bool[np.ndarray, " detection"], count: int) -> float:
    """Returns the area below the curve of precision over recall, by 101 points."""
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(right / count, _RECALLS, side="left")
    return float(np.append(best, 0.0)[np.minimum(at, len(hits))].mean())
