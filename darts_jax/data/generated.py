"""Scenes made from a seed: small pictures of a known set on textured grounds."""

import numpy as np
from jaxtyping import Float, UInt

from darts_jax.data.dataset import Dataset
from darts_jax.data.scenes import Scene, SceneSet, stack_scenes
from darts_jax.types import Scenes

FAINTEST = 32
"""Lowest gray level, in 0..255, of an object in a picture; the rest is ground."""

_NOTE = (
    "Scenes are generated: objects of {name} of random size, place and colour on "
    "random textures, none upon another."
)
_TRIES = 20


def generate_scenes(
    source: Dataset, side: int, max_boxes: int, counts: tuple[int, int], seed: int
) -> SceneSet:
    """Generates a set of square RGB scenes with one to ``max_boxes`` objects each.

    Training and test scenes show the training and the test pictures of the source.

    Args:
      source: gray images of single objects.
      side: height and width of a scene in pixels.
      max_boxes: largest number of objects in a scene.
      counts: number of training scenes, and of test scenes.
      seed: seed of all draws.

    Returns:
      Scenes of uint8 [side, side, 3].
    """
    name = f"generated:{source.name}"

    def part(number: int, images: np.ndarray, labels: np.ndarray) -> Scenes:
        rng = np.random.default_rng([seed, number])
        scenes = [
            compose_scene(rng, images, labels, draw_texture(rng, side), max_boxes)
            for _ in range(counts[number])
        ]
        return stack_scenes(scenes, max_boxes, source.classes, name)

    return SceneSet(
        name=name,
        train=part(0, source.train_images, source.train_labels),
        test=part(1, source.test_images, source.test_labels),
        class_names=source.class_names,
        note=_NOTE.format(name=source.name),
        licence=source.licence,
    )


def compose_scene(
    rng: np.random.Generator,
    images: UInt[np.ndarray, "n height width 1"],
    labels: np.ndarray,
    ground: UInt[np.ndarray, "side side 3"],
    max_boxes: int,
) -> Scene:
    """Draws objects on a ground, each in a box that it touches on all sides.

    An object that finds no free place in a few tries is left out; the first always
    finds one.

    Args:
      rng: source of the draws.
      images: single objects, bright on black.
      labels: their classes, integers [n].
      ground: the scene without objects.
      max_boxes: largest number of objects.

    Returns:
      The scene, of the size of its ground.
    """
    side = len(ground)
    scene = ground.astype(np.float32)
    boxes: list[tuple[tuple[int, int, int, int], int, bool]] = []
    for _ in range(rng.integers(1, max_boxes + 1)):
        index = int(rng.integers(len(images)))
        longest = int(rng.integers(side // 4, side // 2))
        shape = _cut_object(images[index, ..., 0], longest)
        height, width = shape.shape
        colour = rng.uniform(150, 255, 3)
        for _ in range(_TRIES):
            top = int(rng.integers(0, side - height + 1))
            left = int(rng.integers(0, side - width + 1))
            box = left, top, left + width, top + height
            if all(_are_apart(box, other) for other, _, _ in boxes):
                region = scene[top : top + height, left : left + width]
                region += shape[..., None] * (colour - region)
                boxes.append((box, int(labels[index]), False))
                break
    return Scene(scene.round().astype(np.uint8), boxes, "a scene")


def draw_texture(
    rng: np.random.Generator, side: int
) -> UInt[np.ndarray, "side side 3"]:
    """Draws dark blotches and grain, below 110 everywhere.

    Args:
      rng: source of the draws.
      side: height and width of the texture in pixels.

    Returns:
      uint8 [side, side, 3].
    """
    coarse = rng.uniform(0, 80, (side // 8 + 2, side // 8 + 2, 3))
    place = np.linspace(0, len(coarse) - 1.001, side)
    at = place.astype(int)
    share = place % 1
    rows = coarse[at] + share[:, None, None] * (coarse[at + 1] - coarse[at])
    step = rows[:, at + 1] - rows[:, at]
    smooth = rows[:, at] + share[None, :, None] * step
    return (smooth + rng.uniform(0, 30, smooth.shape)).astype(np.uint8)


def _cut_object(
    picture: UInt[np.ndarray, "h w"], longest: int
) -> Float[np.ndarray, "height width"]:
    """Returns the object of a picture in units of 0..1, scaled to a longest side."""
    shape = _crop_empty(np.where(picture >= FAINTEST, picture, 0) / 255)
    factor = longest / max(shape.shape)
    sizes = [max(1, round(size * factor)) for size in shape.shape]
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(sizes, shape.shape, strict=True)
    )
    # A thin stroke at the edge may be the nearest pixel of none.
    return _crop_empty(shape[rows][:, columns])


def _crop_empty(shape: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "height width"]:
    """Crops empty rows and columns at the edges; a blank picture becomes all object."""
    if not shape.any():
        return np.ones_like(shape)
    rows, columns = (np.flatnonzero(shape.any(axis)) for axis in (1, 0))
    return shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _are_apart(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Returns whether at least one pixel lies between two boxes."""
    return a[0] > b[2] or b[0] > a[2] or a[1] > b[3] or b[1] > a[3]
