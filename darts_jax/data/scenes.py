"""Images with boxes around their objects, held in memory in bytes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt

from darts_jax.data.dataset import InMemory
from darts_jax.data.reading import Image, Reading, read_picture
from darts_jax.errors import InputError
from darts_jax.types import Scenes

Box = Float[np.ndarray, " 4"]


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Image with its boxes.

    Attributes:
      image: uint8 [height, width, channel].
      boxes: ((left, top, right, bottom) in pixels, label, is it a crowd) of each.
      what: its name in messages.
    """

    image: UInt[np.ndarray, "height width channel"]
    boxes: Sequence[tuple[Any, int, bool]]
    what: str


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SceneSet(InMemory):
    """Scenes to train and to test on.

    Build its parts with `stack_scenes`, which checks what this class takes for granted.

    Attributes:
      train: scenes to train on.
      test: scenes to test on.
    """

    train: Scenes
    test: Scenes

    @property
    def _pixels(self) -> np.ndarray:
        return np.asarray(self.train.images)


def stack_scenes(
    scenes: Sequence[Scene], max_boxes: int, classes: int, what: str
) -> Scenes:
    """Stacks scenes of one size, their boxes padded to the same number.

    Args:
      scenes: one for each image.
      max_boxes: number of boxes of each image after padding.
      classes: number of classes.
      what: name of the scenes in messages.

    Returns:
      Images uint8 [n, height, width, channel], boxes float32 [n, max_boxes, 4], labels
      int32, and presence and crowd bool [n, max_boxes]; zeros behind the boxes.

    Raises:
      InputError: none has a box, there are too many in one, or a label is no class.
    """
    if not any(scene.boxes for scene in scenes):
        raise InputError(
            f"{what}: {len(scenes)} images have no boxes; want one at least"
        )
    shape = len(scenes), max_boxes
    boxes = np.zeros((*shape, 4), np.float32)
    labels = np.zeros(shape, np.int32)
    present = np.zeros(shape, bool)
    crowd = np.zeros(shape, bool)
    for i, scene in enumerate(scenes):
        if len(scene.boxes) > max_boxes:
            raise InputError(
                f"{what}: {scene.what} has {len(scene.boxes)} boxes, and "
                f"detection.boxes is {max_boxes}: want as many"
            )
        for j, (box, label, crowded) in enumerate(scene.boxes):
            boxes[i, j] = box
            if not 0 <= label < classes:
                raise InputError(
                    f"{what}: {scene.what} has label {label}, not in [0, {classes})"
                )
            labels[i, j] = label
            present[i, j] = True
            crowd[i, j] = crowded
    images = np.stack([scene.image for scene in scenes])
    return Scenes(images, boxes, labels, present, crowd)


def read_scene(image: Image, what: str, reading: Reading) -> Any:
    """Reads Pillow's RGB image without turning it: boxes are in the pixels as stored.

    Args:
      image: see `reading.Image`.
      what: its name in messages.
      reading: how images are read.

    Returns:
      The image, of the size that is stored.

    Raises:
      InputError: as `read_picture`.
    """
    lying = dataclasses.replace(reading, upright=False)
    return read_picture(image, what, lying).convert("RGB")


def letterbox(
    picture: Any,
    boxes: Sequence[tuple[Sequence[float], int, bool]],
    side: int,
    what: str,
) -> Scene:
    """Scales a picture to a square, with black below or at its right.

    Args:
      picture: as `read_scene` gives it.
      boxes: in pixels of the picture, with label and whether it is a crowd.
      side: height and width of the square in pixels.
      what: name of the picture in messages.

    Returns:
      The scene, uint8 [side, side, 3], its boxes scaled likewise.

    Raises:
      InputError: a box lies outside the picture, or has no area.
    """
    from PIL.Image import Resampling

    scale = side / max(picture.size)
    width, height = (max(1, round(size * scale)) for size in picture.size)
    square = np.zeros((side, side, 3), np.uint8)
    square[:height, :width] = picture.resize((width, height), Resampling.BILINEAR)
    scaled = [
        (scale * clip_box(box, picture.size, what), label, crowd)
        for box, label, crowd in boxes
    ]
    return Scene(square, scaled, what)


def clip_box(box: Sequence[float], size: tuple[int, int], what: str) -> Box:
    """Clips a box to its image.

    A side may lie up to one pixel beyond the edge, as rounding may put it there.

    Args:
      box: left, top, right, bottom in pixels.
      size: width and height of the image.
      what: name of the image in messages.

    Returns:
      float32 [4]: left, top, right, bottom in pixels.

    Raises:
      InputError: it lies outside, or has no area.
    """
    given = np.asarray(box, np.float32)
    near = np.clip(given, 0, np.array([*size, *size], np.float32))
    if not np.all(np.abs(near - given) <= 1):
        width, height = size
        raise InputError(
            f"{what} is {width}x{height} pixels and has a box {_format_box(given)} "
            "outside of it"
        )
    if not np.all(near[2:] > near[:2]):
        raise InputError(f"{what} has a box {_format_box(given)} without area")
    return near


def _format_box(box: np.ndarray) -> str:
    return ", ".join(f"{side:g}" for side in box)
