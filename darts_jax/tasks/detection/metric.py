"""Average precision of all detections in the images of a test."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from darts_jax.engine.job import Score
from darts_jax.engine.program import Examination
from darts_jax.tasks.detection.average_precision import (
    THRESHOLDS,
    Found,
    Truth,
    average_precision,
)
from darts_jax.tasks.detection.criterion import boxes_and_labels, image_size
from darts_jax.tasks.detection.head import Detections, Located, Reading, detect
from darts_jax.types import Scenes


def record_detections(
    locate: Callable[[Any, Array], Located],
    reading: Reading,
    scenes: Scenes,
    size: int,
) -> Examination:
    """Makes the test that records the boxes found in every image, and the true ones.

    Average precision is no sum over images, so all of both goes to the host.

    Args:
      locate: (model, stored images) -> outputs of the head.
      reading: rules that read boxes off the head.
      scenes: the images that are looked at, and the boxes in them.
      size: images of a batch.
    """
    rows = -(-len(scenes.images) // size) * size
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), scenes
    )

    def judge(model: Any, scenes: Scenes) -> tuple[Detections, Any]:
        located = locate(model, jnp.asarray(scenes.images))
        return detect(located, image_size(scenes), reading), boxes_and_labels(scenes)

    def begin(model: Any) -> Any:
        shapes = jax.eval_shape(judge, model, batch)
        return jax.tree.map(
            lambda leaf: jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype), shapes
        )

    def examine(model: Any, carried: Any, batch: Scenes, i: Any) -> Any:
        def write(all_: Array, some: Array) -> Array:
            return lax.dynamic_update_slice_in_dim(all_, some, i * size, 0)

        return jax.tree.map(write, carried, judge(model, batch))

    return Examination(begin, examine, lambda carried: carried)


def _precision(
    sums: Any, count: int, thresholds: Float[np.ndarray, " threshold"] = THRESHOLDS
) -> float:
    # Images behind the first ``count`` only fill a batch up.
    found, truth = jax.tree.map(lambda x: np.asarray(x)[:count], sums)
    boxes, labels, scores = found
    true_boxes, true_labels, present, crowd = truth
    return average_precision(
        Found(boxes, labels, scores),
        Truth(true_boxes, true_labels, present.astype(bool), crowd.astype(bool)),
        thresholds,
    )


def _precision_at_half(sums: Any, count: int) -> float:
    return _precision(sums, count, THRESHOLDS[:1])


AVERAGE_PRECISION = Score(
    name="ap",
    compute=_precision,
    scale=100,
    unit="%",
    extras={"ap_50": _precision_at_half},
)
