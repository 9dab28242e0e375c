"""Scenes from files: a folder of images and an annotation file in COCO's JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darts_jax.data.reading import PLAIN, Reading
from darts_jax.data.scenes import Scene, SceneSet, letterbox, read_scene, stack_scenes
from darts_jax.errors import InputError
from darts_jax.types import Scenes

TRAIN = ("train", "train2017", "train2014")
TEST = ("test", "val", "val2017", "val2014")
"""Names of the two parts; COCO's own test images have no annotations."""

_FILES = ("{part}.json", "annotations/instances_{part}.json")


def load_coco(
    path: Path, side: int, max_boxes: int, images: int, reading: Reading = PLAIN
) -> SceneSet:
    """Loads ``path/train.json`` with ``path/train/``; ``test`` or ``val`` likewise.

    COCO's own places, ``annotations/instances_train2017.json`` with ``train2017/``, are
    found too. Images become RGB and are scaled so that their longer side is ``side``,
    black beside the shorter one. Boxes without area are left out; those marked
    ``iscrowd`` or ``ignore`` are crowds.

    Args:
      path: folder of the set.
      side: height and width of a scene in pixels.
      max_boxes: largest number of boxes in an image.
      images: number of images of either part, the first ones; 0: all.
      reading: how images are read; its size and channels are not asked.

    Returns:
      Training and test scenes in the order of the annotation files.

    Raises:
      InputError: a file is missing or damaged, or `stack_scenes` refuses what it says.
    """
    train_file, train = _read_part(path, TRAIN)
    test_file, test = _read_part(path, TEST)
    names = _category_names(train_file, train)
    if _category_names(test_file, test) != names:
        raise InputError(f"{test_file} and {train_file} have other categories")
    numbers = {category: number for number, category in enumerate(names)}

    def load(file: Path, content: Mapping[str, Any]) -> Scenes:
        scenes = _read_scenes(file, content, numbers, side, images, reading)
        return stack_scenes(scenes, max_boxes, classes=len(names), what=str(file))

    return SceneSet(
        name=path.resolve().name,
        train=load(train_file, train),
        test=load(test_file, test),
        class_names=tuple(names.values()),
    )


def _read_part(path: Path, names: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Finds the annotation file of a part and reads it."""
    files = [path / file.format(part=part) for part in names for file in _FILES]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise InputError(
            f"coco:{path} has none of {', '.join(_FILES)} for {' or '.join(names)}"
        )
    try:
        content = json.loads(file.read_text())
        missing = {"images", "annotations", "categories"} - set(content)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} is not readable JSON: {error}") from None
    if missing:
        raise InputError(f"{file} lacks {', '.join(sorted(missing))}")
    return file, content


def _category_names(file: Path, content: Mapping[str, Any]) -> dict[int, str]:
    """Returns category -> name, in the order of their numbers."""
    try:
        named = {int(c["id"]): str(c["name"]) for c in content["categories"]}
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{file}: a category lacks its id or name") from None
    return dict(sorted(named.items()))


def _read_scenes(
    file: Path,
    content: Mapping[str, Any],
    numbers: Mapping[int, int],
    side: int,
    images: int,
    reading: Reading,
) -> list[Scene]:
    folder = file.parent / file.stem
    if file.parent.name == "annotations":
        folder = file.parents[1] / file.stem.removeprefix("instances_")
    try:
        listed = content["images"][: images or None]
        boxes: dict[Any, list[Any]] = {image["id"]: [] for image in listed}
        for mark in content["annotations"]:
            if mark["image_id"] not in boxes or not min(mark["bbox"][2:]):
                continue
            left, top, width, height = (float(x) for x in mark["bbox"])
            crowd = bool(mark.get("iscrowd") or mark.get("ignore"))
            box = left, top, left + width, top + height
            label = numbers[mark["category_id"]]
            boxes[mark["image_id"]].append((box, label, crowd))
        return [
            letterbox(picture, boxes[image["id"]], side, str(path))
            for image in listed
            for path in [folder / image["file_name"]]
            for picture in [read_scene(path, str(path), reading)]
        ]
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} is no COCO file of boxes: {type(error).__name__} {error}"
        ) from None
