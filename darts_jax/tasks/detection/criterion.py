"""Loss and rewards of detections (Tian et al., 2019)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from darts_jax.bilevel.losses import Criterion, focal_loss
from darts_jax.tasks.detection import boxes
from darts_jax.tasks.detection.head import Located, grid_of
from darts_jax.types import Metrics, Scalars, Scenes

METRICS = ("loss", "count")


def make_detection_criterion(settings: ConfigDict) -> Criterion:
    """Makes the criterion of detections.

    The loss is the focal loss of the classes, 1 - GIoU of the boxes and the cross
    entropy of the centreness, each summed over the locations of a batch and divided by
    the number of locations that belong to a box. The reward of an image is the mean,
    over these locations, of the probability of their class times the overlap with their
    box.

    Args:
      settings: section ``detection`` of the config.
    """

    def targets(located: Located, scenes: Scenes) -> tuple[boxes.Grid, boxes.Targets]:
        grid = grid_of(located, image_size(scenes))
        assign = functools.partial(boxes.assign, grid, radius=settings.radius)
        around, labels, present, crowd = boxes_and_labels(scenes)
        return grid, jax.vmap(assign)(around, labels, present, crowd)

    def loss(located: Located, scenes: Scenes, scalars: Scalars) -> Float[Array, ""]:
        del scalars
        grid, wanted = targets(located, scenes)
        classes, sides, centreness = (_flat(x) for x in located)
        asked = _one_hot(wanted, classes)
        focal = jnp.where(wanted.counted[..., None], focal_loss(classes, asked), 0)
        found = boxes.decode(grid, sides)
        apart = 1 - boxes.generalized_overlaps(found, wanted.boxes)
        entropy = _entropy(centreness[..., 0], wanted.centreness)
        box_loss = settings.box_weight * apart + entropy
        box_loss = jnp.where(wanted.positive, box_loss, 0)
        count = jnp.sum(wanted.positive, dtype=focal.dtype)
        return (focal.sum() + box_loss.sum()) / jnp.maximum(count, 1)

    def rewards(located: Located, scenes: Scenes) -> Float[Array, " batch"]:
        grid, wanted = targets(located, scenes)
        classes, sides, _ = (_flat(x) for x in located)
        sure = (jax.nn.sigmoid(classes) * _one_hot(wanted, classes)).sum(-1)
        close = boxes.overlaps(boxes.decode(grid, sides), wanted.boxes)
        count = jnp.sum(wanted.positive, -1, dtype=sure.dtype)
        return jnp.sum(sure * close, -1) / jnp.maximum(count, 1)

    return Criterion(lambda scenes: scenes.images, loss, _metrics, rewards)


def image_size(scenes: Scenes) -> tuple[int, int]:
    """Returns height and width of the images.

    Args:
      scenes: images and the boxes in them.
    """
    height, width = scenes.images.shape[1:3]
    return height, width


def boxes_and_labels(scenes: Scenes) -> tuple[Array, Array, Array, Array]:
    """Returns ``boxes``, ``labels``, ``present`` and ``crowd`` as arrays on the device.

    Args:
      scenes: images and the boxes in them.
    """
    return (
        jnp.asarray(scenes.boxes),
        jnp.asarray(scenes.labels),
        jnp.asarray(scenes.present),
        jnp.asarray(scenes.crowd),
    )


def _flat(x: Array) -> Float[Array, "batch location value"]:
    return x.reshape(x.shape[0], -1, x.shape[-1])


def _one_hot(wanted: boxes.Targets, classes: Array) -> Array:
    hot = jax.nn.one_hot(wanted.labels, classes.shape[-1], dtype=classes.dtype)
    return jnp.where(wanted.positive[..., None], hot, 0)


def _entropy(logits: Array, targets: Array) -> Array:
    """Computes the cross entropy of yes-or-no questions answered by a probability."""
    log_yes = jax.nn.log_sigmoid(logits)
    log_no = jax.nn.log_sigmoid(-logits)
    return -(targets * log_yes + (1 - targets) * log_no)


def _metrics(loss: Array, located: Located, scenes: Scenes) -> Metrics:
    del located
    count = jnp.asarray(scenes.images.shape[0], jnp.float32)
    return {"loss": loss.astype(jnp.float32) * count, "count": count}
