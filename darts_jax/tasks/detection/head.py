"""Detection head: class, box and centreness at every location of a feature map.

Without anchors and in a single stage, after FCOS (Tian et al., 2019), on the last state
of a network. `detect` reads boxes off its outputs.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, Int

from darts_jax.models.operations.layers import Conv, Image, ReLUConvBN, at_least_float32
from darts_jax.tasks.detection import boxes

PRIOR = 0.01
"""Probability of a class before anything is learned (Lin et al., 2017, section 4.1)."""


class Located(NamedTuple):
    """Outputs of a head at every location.

    Attributes:
      classes: logits, a yes-or-no question each.
      sides: distances to the box's sides, in strides; above 0.
      centreness: logit of the location's nearness to the middle of its box.
    """

    classes: Float[Array, "batch row column class"]
    sides: Float[Array, "batch row column 4"]
    centreness: Float[Array, "batch row column 1"]


class Detections(NamedTuple):
    """Boxes found in images, the most certain first.

    Attributes:
      boxes: left, top, right, bottom in pixels.
      scores: square root of the class's probability times centreness; 0 where there
        is no detection.
    """

    boxes: Float[Array, "batch detection 4"]
    labels: Int[Array, "batch detection"]
    scores: Float[Array, "batch detection"]


class DetectionHead(nn.Module):
    """A projection, then a convolution for the class and one for the box."""

    classes: int
    channels: int

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Located:
        x = ReLUConvBN(self.channels, name="neck")(x, train)
        what, where = (
            nn.relu(ReLUConvBN(self.channels, (3, 3), name=name)(x, train))
            for name in ("what", "where")
        )
        # Locations without an object are many: they must not begin as a coin's toss.
        shift = math.log((1 - PRIOR) / PRIOR)
        classes = _read(self.classes, "classes")(what) - shift
        sides = nn.softplus(_read(4, "sides")(where))
        located = Located(classes, sides, _read(1, "centreness")(where))
        return jax.tree.map(lambda y: y.astype(at_least_float32(y.dtype)), located)


def _read(features: int, name: str) -> Conv:
    return Conv(features, (3, 3), use_bias=True, name=name)


@dataclasses.dataclass(frozen=True)
class Reading:
    """Rules that read boxes off a head.

    Attributes:
      candidates: number of the most certain (location, class) of an image.
      least: smallest score of a detection.
      overlap: largest overlap with a more certain box of the same class.
    """

    candidates: int
    least: float
    overlap: float


def detect(located: Located, image: tuple[int, int], reading: Reading) -> Detections:
    """Returns the boxes in images, as many as there are candidates.

    Args:
      located: outputs of a head.
      image: height and width of the images in pixels.
      reading: rules that read boxes off the head.
    """
    grid = grid_of(located, image)
    height, width = image
    limit = jnp.array([width, height, width, height], jnp.float32)

    def one(located: Located) -> Detections:
        count = located.classes.shape[-1]
        sure = nn.sigmoid(located.classes) * nn.sigmoid(located.centreness)
        most = min(reading.candidates, sure.size)
        scores, places = lax.top_k(jnp.sqrt(sure).ravel(), most)
        labels = places % count
        found = boxes.decode(grid, located.sides.reshape(-1, 4))[places // count]
        found = jnp.clip(found, 0, limit)
        kept = boxes.suppress(found, labels, reading.overlap)
        kept &= scores >= reading.least
        return Detections(found, labels, jnp.where(kept, scores, 0))

    return jax.vmap(one)(located)


def grid_of(located: Located, image: tuple[int, int]) -> boxes.Grid:
    """Returns the places of a head's locations on images.

    Args:
      located: outputs of the head.
      image: height and width of the images in pixels.
    """
    rows, columns = located.classes.shape[1:3]
    return boxes.make_grid(image, (rows, columns))
