"""Sets of scenes by name: generated, files in COCO's JSON, or TFDS's."""

from collections.abc import Callable
from pathlib import Path

from darts_jax.data import tfds, tfds_scenes
from darts_jax.data.coco import load_coco
from darts_jax.data.dataset import Dataset
from darts_jax.data.embedded import digits
from darts_jax.data.generated import generate_scenes
from darts_jax.data.idx import fashion_mnist
from darts_jax.data.places import locate
from darts_jax.data.reading import PLAIN, Reading
from darts_jax.data.scenes import SceneSet
from darts_jax.errors import InputError, unknown_name_error

NAMES = ("generated:NAME", "coco:PATH", "tfds:NAME")

OBJECTS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
}
"""Sets whose pictures are objects of generated scenes: gray, bright on black."""


def load_scenes(
    name: str,
    place: Path | None,
    *,
    side: int,
    max_boxes: int,
    images: int,
    counts: tuple[int, int],
    seed: int,
    reading: Reading = PLAIN,
) -> SceneSet:
    """Loads a set of scenes into memory, each a square of RGB.

    Args:
      name: ``generated:NAME`` by a key of ``OBJECTS``, ``coco:PATH`` or ``tfds:NAME``.
      place: where data lie.
      side: height and width of an image in pixels.
      max_boxes: largest number of boxes in an image.
      images: number of images of either part, the first ones; 0: all.
      counts: number of generated training scenes, and of test scenes.
      seed: seed of the generated scenes.
      reading: how files and their bytes are read.

    Returns:
      The set; its images are uint8 [n, side, side, 3].

    Raises:
      InputError: the name is unknown, or the data are missing or damaged.
    """
    prefix, _, rest = name.partition(":")
    if prefix == "generated":
        if rest not in OBJECTS:
            raise unknown_name_error("set of objects", rest, list(OBJECTS))
        fewer = [min(images or count, count) for count in counts]
        return generate_scenes(
            OBJECTS[rest](place), side, max_boxes, (fewer[0], fewer[1]), seed
        )
    if prefix == "coco" and rest:
        return load_coco(locate(rest, place), side, max_boxes, images, reading)
    builder = tfds.find_builder(rest, place) if prefix == "tfds" else None
    if builder is None:
        raise InputError(f"no set of scenes {name!r}; want {', '.join(NAMES)}")
    return tfds_scenes.load_scene_builder(builder, side, max_boxes, images, reading)
