"""Boxes on an image: overlap, assignment to locations, and suppression.

A box is (left, top, right, bottom) in pixels of the image, from the upper left corner
of the first pixel to the lower right of the last. Pure functions; every shape is fixed.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Boxes = Float[Array, "*any 4"]


class Grid(NamedTuple):
    """Places of the cells of a feature map on the image.

    Attributes:
      centres: (x, y) in pixels.
      stride: pixels from one centre to the next, along x and along y.
    """

    centres: Float[Array, "location 2"]
    stride: Float[Array, " 2"]


class Targets(NamedTuple):
    """Targets of the head's outputs at every location of an image.

    Attributes:
      labels: label of the box that the location belongs to; 0 without a box.
      boxes: that box.
      positive: whether the location belongs to a box.
      counted: False where it lies in a crowd, of which nothing is learned.
      centreness: 1 in the middle of the box, 0 on its sides (Tian et al., 2019, eq. 3).
    """

    labels: Int[Array, " location"]
    boxes: Float[Array, "location 4"]
    positive: Bool[Array, " location"]
    counted: Bool[Array, " location"]
    centreness: Float[Array, " location"]


def make_grid(image: tuple[int, int], cells: tuple[int, int]) -> Grid:
    """Returns equal cells that cover an image.

    Args:
      image: height and width of the image in pixels.
      cells: number of cells along the height and along the width.
    """
    height, width = (size / count for size, count in zip(image, cells, strict=True))
    y = (jnp.arange(cells[0], dtype=jnp.float32) + 0.5) * height
    x = (jnp.arange(cells[1], dtype=jnp.float32) + 0.5) * width
    y, x = jnp.meshgrid(y, x, indexing="ij")
    stride = jnp.array([width, height], jnp.float32)
    return Grid(jnp.stack([x.ravel(), y.ravel()], -1), stride)


def area(boxes: Boxes) -> Float[Array, "*any"]:
    """Returns the area of boxes; 0 where right is left of left.

    Args:
      boxes: [..., 4].
    """
    size = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return size[..., 0] * size[..., 1]


def overlaps(a: Boxes, b: Boxes) -> Float[Array, "*any"]:
    """Returns the intersection over union; 0 where both are empty.

    Args:
      a: boxes [..., 4].
      b: boxes [..., 4], broadcast with ``a``.
    """
    return _overlap(a, b)[0]


def generalized_overlaps(a: Boxes, b: Boxes) -> Float[Array, "*any"]:
    """Returns GIoU, in (-1, 1] (Rezatofighi et al., 2019, algorithm 1).

    It is the overlap less the share of the smallest box around both that is in neither.

    Args:
      a: boxes [..., 4].
      b: boxes [..., 4], broadcast with ``a``.
    """
    overlap, union = _overlap(a, b)
    hull = area(_corners(jnp.minimum(a, b)[..., :2], jnp.maximum(a, b)[..., 2:]))
    return overlap - (hull - union) / jnp.maximum(hull, _LEAST)


def _overlap(a: Boxes, b: Boxes) -> tuple[Array, Array]:
    common = area(_corners(jnp.maximum(a, b)[..., :2], jnp.minimum(a, b)[..., 2:]))
    union = area(a) + area(b) - common
    return common / jnp.maximum(union, _LEAST), union


def _corners(first: Array, last: Array) -> Array:
    return jnp.concatenate([first, last], -1)


def encode(grid: Grid, boxes: Boxes) -> Float[Array, "*any location 4"]:
    """Returns distances of each location to the sides of its box, in strides.

    Args:
      grid: locations.
      boxes: a box of each location [..., location, 4].
    """
    origin, unit = _frame(grid)
    return (boxes - origin) / unit


def decode(grid: Grid, sides: Float[Array, "*any location 4"]) -> Boxes:
    """Returns boxes from the distances to their sides; the inverse of `encode`.

    Args:
      grid: locations.
      sides: distances to the sides of the boxes [..., location, 4], in strides.
    """
    origin, unit = _frame(grid)
    return origin + sides * unit


def _frame(grid: Grid) -> tuple[Float[Array, "location 4"], Float[Array, " 4"]]:
    """Returns every location twice, and a stride towards each side."""
    unit = jnp.concatenate([-grid.stride, grid.stride])
    return jnp.tile(grid.centres, 2), unit


def assign(
    grid: Grid,
    boxes: Float[Array, "box 4"],
    labels: Int[Array, " box"],
    present: Bool[Array, " box"],
    crowd: Bool[Array, " box"],
    radius: float,
) -> Targets:
    """Assigns a box of an image to every location.

    A location belongs to a box if it lies within it and, along both axes, nearer than
    ``radius`` strides to its centre; to the smallest of several (Tian et al., 2019,
    section 3.2, with the centre sampling of its improvements).

    Args:
      grid: locations.
      boxes: boxes in pixels.
      labels: their classes.
      present: False where there is no box.
      crowd: True for a box around many objects.
      radius: in strides.
    """
    sides = encode(grid, boxes[:, None])
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    away = jnp.abs(grid.centres - middle) / grid.stride
    within = (sides > 0).all(-1) & present[:, None]
    owned = within & (away < radius).all(-1) & ~crowd[:, None]
    size = jnp.where(owned, area(boxes)[:, None], jnp.inf)
    chosen = jnp.argmin(size, 0)
    positive = owned.any(0)
    counted = positive | ~(within & crowd[:, None]).any(0)
    mine = jnp.take_along_axis(sides, chosen[None, :, None], 0)[0]
    return Targets(
        labels=jnp.where(positive, labels[chosen], 0),
        boxes=boxes[chosen],
        positive=positive,
        counted=counted,
        centreness=jnp.where(positive, _centreness(mine), 0),
    )


def _centreness(sides: Float[Array, "location 4"]) -> Float[Array, " location"]:
    before = sides[:, :2]
    behind = sides[:, 2:]
    larger = jnp.maximum(before, behind)
    ratio = jnp.minimum(before, behind) / jnp.maximum(larger, _LEAST)
    return jnp.sqrt(jnp.maximum(ratio.prod(-1), 0))


def suppress(
    boxes: Float[Array, "box 4"], labels: Int[Array, " box"], threshold: float
) -> Bool[Array, " box"]:
    """Returns the boxes that greedy non-maximum suppression keeps, as True.

    A box is dropped if it overlaps an earlier kept one of its class by more than the
    threshold.

    Args:
      boxes: boxes, the most certain first.
      labels: their classes.
      threshold: largest intersection over union of two boxes of a class.
    """
    overlap = overlaps(boxes[:, None], boxes[None])
    rivals = (overlap > threshold) & (labels[:, None] == labels[None])
    before = jnp.arange(len(boxes))

    def decide(i: Array, kept: Array) -> Array:
        dropped = (rivals[i] & kept & (before < i)).any()
        return kept.at[i].set(~dropped)

    return lax.fori_loop(0, len(boxes), decide, jnp.ones(len(boxes), bool))


_LEAST = 1e-9  # keeps a quotient of nothing by nothing finite
