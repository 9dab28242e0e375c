"""Random resized crop (Szegedy et al., 2015), as PyTorch's vision library draws it."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from darts_jax.types import AnyArray

TRIES = 10
"""Boxes that are drawn for an image, of which the first within it is taken."""

WIDEST = 4 / 3
"""Largest width by height of a box; the smallest is its inverse."""


class Box(NamedTuple):
    """Part of an image, in whole pixels.

    Attributes:
      top: rows above it.
      left: columns to the left of it.
      height: its rows.
      width: its columns.
    """

    top: Any
    left: Any
    height: Any
    width: Any


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """Choice of a part of each image of a pass, repeatable and in any order.

    Attributes:
      least_area: share of an image that a part has at least, above 0, below 1.
      seed: numbers, 0 or more, that stand for the pass.
    """

    least_area: float
    seed: tuple[int, ...]

    def choose(self, index: int, height: int, width: int) -> Box:
        """Returns the part of an image, as `choose_box` does.

        Args:
          index: number of the image in its data set.
          height: of the image in pixels.
          width: of the image in pixels.
        """
        words = np.random.SeedSequence([*self.seed, index])
        draws = np.random.default_rng(words).random((TRIES, 4))
        box = choose_box(draws, height, width, self.least_area)
        return Box._make(int(side) for side in box)


def choose_box(
    draws: Float[AnyArray, "try 4"], height: int, width: int, least_area: float
) -> Box:
    """Returns the box of one random resized crop.

    Its area is uniform between the least and the image's, the logarithm of its width by
    height between those of 3/4 and 4/3, and its place uniform. If no box that is drawn
    lies within the image, it is the largest of such a shape, at the centre.

    Args:
      draws: uniform numbers in [0, 1) of NumPy or JAX: area, shape, row and column of
        each of `TRIES` boxes.
      height: of the image in pixels.
      width: of the image in pixels.
      least_area: share of the image's area, above 0 and at most 1.

    Returns:
      Integers of the library that ``draws`` are of.
    """
    xp = draws.__array_namespace__()
    area = height * width * (least_area + (1 - least_area) * draws[:, 0])
    shape = xp.exp((2 * draws[:, 1] - 1) * math.log(WIDEST))
    heights = xp.round(xp.sqrt(area / shape))
    widths = xp.round(xp.sqrt(area * shape))
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    # A product may be rounded up to the first place that is too far.
    tops = xp.minimum(xp.floor(draws[:, 2] * (height - heights + 1)), height - heights)
    lefts = xp.minimum(xp.floor(draws[:, 3] * (width - widths + 1)), width - widths)
    central = _central_box(height, width)

    def take(sides: Any, spare: int) -> Any:
        return xp.where(xp.any(fits), sides[xp.argmax(fits)], float(spare)).astype(int)

    return Box(
        top=take(tops, central.top),
        left=take(lefts, central.left),
        height=take(heights, central.height),
        width=take(widths, central.width),
    )


def _central_box(height: int, width: int) -> Box:
    tall = min(height, round(width * WIDEST))
    wide = min(width, round(height * WIDEST))
    return Box((height - tall) // 2, (width - wide) // 2, tall, wide)
