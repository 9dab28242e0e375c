"""Detection sets of TensorFlow Datasets, read without TensorFlow."""

import itertools
from collections.abc import Iterator
from typing import Any

from darts_jax.data import tfds
from darts_jax.data.licences import find_licence
from darts_jax.data.reading import PLAIN, Reading
from darts_jax.data.scenes import Scene, SceneSet, letterbox, read_scene, stack_scenes
from darts_jax.errors import InputError
from darts_jax.types import Scenes

CROWDS = ("is_crowd", "is_difficult")
"""Features that mark an object as neither learned nor counted, in COCO and in VOC."""

_LOOKED_AT = 20  # images of a split, to see whether any has objects


def load_scene_builder(
    builder: Any, side: int, max_boxes: int, images: int, reading: Reading = PLAIN
) -> SceneSet:
    """Reads a set, after preparing it if there is a network and need to.

    Its images are scaled as `letterbox` does; objects without area are left out.

    Args:
      builder: TFDS's, of the set.
      side: height and width of a scene in pixels.
      max_boxes: largest number of boxes in an image.
      images: number of images of either part, the first ones; 0: all.
      reading: how images are read; its size and channels are not asked.

    Returns:
      The set, tested on its test split, or on its validation split if the test split
      has no objects.

    Raises:
      InputError: it is not on this machine and its host does not answer, or it has no
        objects with boxes and labels, or no train and test (or validation) split that
        has.
    """
    tfds.prepare(builder)
    names = _class_names(builder)
    splits = builder.info.splits
    # COCO's test images have no objects: it is tested on its validation images.
    tests = [
        split
        for split in ("test", "validation")
        if split in splits and _has_objects(builder, split)
    ]
    if "train" not in splits or not tests:
        raise InputError(
            f"{builder.name} has the splits {', '.join(splits) or 'none'}; "
            "wanted train and test (or validation), with objects"
        )

    def load(split: str) -> Scenes:
        scenes = list(_read_scenes(builder, split, side, images, reading))
        return stack_scenes(scenes, max_boxes, classes=len(names), what=builder.name)

    return SceneSet(
        name=builder.name,
        train=load("train"),
        test=load(tests[0]),
        class_names=names,
        licence=find_licence(builder.name, builder.info.homepage),
    )


def _class_names(builder: Any) -> tuple[str, ...]:
    features = builder.info.features
    try:
        kinds = features["objects"].feature
        _ = features["image"], kinds["bbox"]
        return tuple(kinds["label"].names)
    except (KeyError, AttributeError, TypeError):
        raise InputError(
            f"{builder.name} has no objects with bbox and label: its features are "
            f"{', '.join(features)}"
        ) from None


def _source(builder: Any, split: str) -> Any:
    from tensorflow_datasets.core.decode import SkipDecoding

    return builder.as_data_source(split, decoders={"image": SkipDecoding()})


def _has_objects(builder: Any, split: str) -> bool:
    source = _source(builder, split)
    seen = range(min(len(source), _LOOKED_AT))
    return any(len(source[i]["objects"]["label"]) for i in seen)


def _read_scenes(
    builder: Any, split: str, side: int, images: int, reading: Reading
) -> Iterator[Scene]:
    source = _source(builder, split)
    for i in itertools.islice(range(len(source)), images or None):
        example = source[i]
        what = f"{builder.name} {split} image {i}"
        picture = read_scene(bytes(example["image"]), what, reading)
        width, height = picture.size
        objects = example["objects"]
        crowds = [objects[name] for name in CROWDS if name in objects]
        boxes = [
            (
                (left * width, top * height, right * width, bottom * height),
                int(label),
                any(bool(crowd[j]) for crowd in crowds),
            )
            for j, ((top, left, bottom, right), label) in enumerate(
                zip(objects["bbox"], objects["label"], strict=True)
            )
            if right > left and bottom > top
        ]
        yield letterbox(picture, boxes, side, what)
